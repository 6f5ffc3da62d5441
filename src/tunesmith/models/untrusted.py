"""What a model's folder must be before any of it is loaded: no links out of it, and sizes that its weights have.

A config of a few bytes can ask for a table of a petabyte, which would be taken from the memory before anybody
compares it with the weights. So the sizes in the config are compared with the headers of the safetensors files, or
with the table of a GGUF file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ModelError
from tunesmith.links import links_out
from tunesmith.models.quiet import quiet

if TYPE_CHECKING:
    from tunesmith.types import Config, JsonObject

_MOST_CONFIG_BYTES = 50_000_000
_MOST_HEADER_BYTES = 100_000_000
"""As in safetensors itself."""
_WIDTHS = re.compile(
    r"(vocab|hidden|intermediate|embedding|ffn|ff|model|mlp)_(size|dim)|(encoder|decoder)_ffn_dim|d_model|d_ff|d_kv|dim"
    r"|n_embd|n_inner|hidden_dim|max_position_embeddings|n_positions|type_vocab_size|head_dim|d_head"
    r"|(num_)?(attention_|key_value_|encoder_attention_|decoder_attention_)?heads|n_heads?"
    r"|(num_|n_)?(local_|routed_|shared_)?experts"
    r"|(\w+\.)?(embedding|feed_forward|expert_feed_forward|context|(attention\.)?(key|value))_length"
    r"|\w+\.(vocab_size|expert_count|attention\.head_count(_kv)?)"
)
_LAYERS = re.compile(
    r"(num_)?(hidden_|encoder_|decoder_)?layers|n_layers?|num_hidden_groups|\w+\.block_count"
)
_ROOM = 4
"""A tensor may hold a part of what the config names, but not less than a quarter."""
_MOST_NEW = 10_000_000
"""Parameters that a head may have beyond that."""
_POSITIONS = re.compile(r"max_position_embeddings|n_positions|\w+\.context_length")
_MOST_POSITIONS = 2**24
"""Positions that are computed and not stored have no tensor; no model has more of them."""


def refuse_links(folder: Path) -> None:
    """Raises ModelError where a file of a model's folder is a link to another place.

    A snapshot of the Hub's cache has links to the `blobs` beside it, and these stay.
    """
    for path, target in links_out(folder):
        raise ModelError(
            f"a model's folder must hold its files itself, and `{path.name}` is a link to `{target}`.",
            location=str(folder),
            remedy="Copy the file into the folder, if it is the one that you want.",
        )


def refuse_impossible_sizes(config_file: Path, weights: list[Path]) -> None:
    """Raises ModelError where a config asks for larger tensors, or more layers, than the weights have.

    Args:
        config_file: config.json of the model.
        weights: safetensors files of the whole model.
    """
    config = _object_in(config_file)
    shapes = [shape for path in weights for shape in tensor_shapes(path).values()]
    refuse_impossible_numbers(_numbers(config), shapes, config_file)


def refuse_impossible_numbers(
    numbers: Iterable[tuple[str, int]], shapes: Sequence[Sequence[int]], file: Path
) -> None:
    """Raises ModelError where a number asks for larger tensors, or more of them, than the weights have.

    Args:
        numbers: keys of a config, or of the metadata of a GGUF file, with their values.
        shapes: shapes of all tensors.
        file: file of the numbers, for the message.
    """
    widest = max((max(shape, default=1) for shape in shapes), default=1)
    for name, value in numbers:
        most = _ROOM * widest
        if _POSITIONS.fullmatch(name):
            most = max(most, _MOST_POSITIONS)
        if _WIDTHS.fullmatch(name) and value > most:
            raise _problem(
                file, f"`{name}` is {value:,}, and no tensor of the weights is wider than {widest:,}"
            )
        if _LAYERS.fullmatch(name) and value > len(shapes):
            raise _problem(file, f"`{name}` is {value:,}, and the weights are {len(shapes):,} tensors")


def refuse_impossible_adapter(folder: Path) -> None:
    """Raises ModelError where an adapter's config asks for larger matrices, or more layers, than its weights have.

    Args:
        folder: folder of the adapter.
    """
    file, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise _problem(file, f"`{weights.name}` is not there")
    shapes = list(tensor_shapes(weights).values())
    config = _object_in(file)
    ranks = {"r": config.get("r"), **dict(config.get("rank_pattern") or {})}
    widest = max((max(shape, default=1) for shape in shapes), default=1)
    for name, rank in ranks.items():
        if isinstance(rank, int) and rank > widest:
            raise _problem(
                file, f"`{name}` is {rank:,}, and no matrix of the weights is wider than {widest:,}"
            )
    if config.get("layer_replication"):
        raise _problem(file, "`layer_replication` makes layers that the base model does not have")


def refuse_more_parameters(auto_class: Any, config: Config, folder: Path) -> None:
    """Raises ModelError where the model of a config has far more parameters than its weights.

    The sizes of a config may each be a size of some tensor, and their products that of no model. The model is made
    without memory for its weights; a head for new labels may be larger than the old one.

    Args:
        auto_class: class of transformers that makes the model.
        config: its config.
        folder: folder of the model.
    """
    import torch

    try:
        with quiet(), torch.device("meta"):
            sketch = auto_class.from_config(config, trust_remote_code=False)
    except Exception:  # loading says what is wrong with a config of which no model can be made
        return
    n_asked = sum(parameter.numel() for parameter in sketch.parameters())
    shapes = [shape for path in folder.glob("*.safetensors") for shape in tensor_shapes(path).values()]
    n_stored = sum(map(math.prod, shapes))
    if n_asked > _ROOM * n_stored + _MOST_NEW:
        raise _problem(
            folder / "config.json", f"it asks for {n_asked:,} parameters, and the weights are {n_stored:,}"
        )


def refuse_shards_elsewhere(folder: Path) -> None:
    """Raises ModelError where the index of the weights names a file that is not in the folder itself."""
    for index in sorted(folder.glob("*.index.json")):
        names = _object_in(index).get("weight_map", {})
        for name in sorted({str(name) for name in names.values()} if isinstance(names, dict) else ()):
            if Path(name).name != name:
                raise _problem(index, f"`{name}` is not a file of the folder")


def _object_in(file: Path) -> JsonObject:
    """The JSON object in a file of moderate size."""
    if file.stat().st_size > _MOST_CONFIG_BYTES:
        raise _problem(file, f"it has {file.stat().st_size:,} bytes")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise _problem(file, "it is not JSON") from None
    if not isinstance(content, dict):
        raise _problem(file, "it is not a JSON object")
    return content


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """The shapes of the tensors of a safetensors file, from its header, which must fit the size of the file.

    Raises:
        ModelError: the file is damaged, cut, or has something else in it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        if not 2 <= n_header <= min(size - 8, _MOST_HEADER_BYTES):
            raise _problem(path, "its header is longer than the file")
        header = file.read(n_header)
    try:
        tensors: JsonObject = {n: v for n, v in json.loads(header).items() if n != "__metadata__"}
        shapes = {name: [int(n) for n in tensor["shape"]] for name, tensor in tensors.items()}
        end = max((int(tensor["data_offsets"][1]) for tensor in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise _problem(path, "its header is no header of safetensors") from None
    if 8 + n_header + end != size:
        raise _problem(path, f"its tensors end at byte {8 + n_header + end:,}, and it has {size:,}")
    return shapes


def _numbers(config: object) -> Iterator[tuple[str, int]]:
    """Every whole number of a config, with its key; also those of its parts."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            if isinstance(value, int) and not isinstance(value, bool):
                yield str(name), value
            elif isinstance(value, Mapping):
                yield from _numbers(value)


def _problem(path: Path, what: str) -> ModelError:
    return ModelError(
        f"the model cannot be what `{path.name}` says: {what}.",
        location=str(path.parent),
        remedy="The file is damaged or was made to do harm: get the model again from where you trust it.",
    )
