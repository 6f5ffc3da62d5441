"""What a model's folder must be before any of it is loaded: no links out of it, and sizes that its weights have.

A config of a few bytes can ask for a table of a petabyte, which would be taken from the memory before anybody
compares it with the weights. So the sizes in the config are compared with the headers of the safetensors files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import ModelError

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_MOST_CONFIG_BYTES = 50_000_000
_MOST_HEADER_BYTES = 100_000_000
"""As in safetensors itself."""
_WIDTHS = re.compile(
    r"(vocab|hidden|intermediate|embedding|ffn|ff|model|mlp)_(size|dim)|(encoder|decoder)_ffn_dim|d_model|d_ff|d_kv|dim"
    r"|n_embd|n_inner|hidden_dim|max_position_embeddings|n_positions|type_vocab_size"
)
_LAYERS = re.compile(r"(num_)?(hidden_|encoder_|decoder_)?layers|n_layers?|num_hidden_groups")
_ROOM = 4
"""A tensor may hold a part of what the config names, but not less than a quarter."""
_POSITIONS = re.compile(r"max_position_embeddings|n_positions")
_MOST_POSITIONS = 2**24
"""Positions that are computed and not stored have no tensor; no model has more of them."""


def refuse_links(folder: Path) -> None:
    """Raises ModelError where a file of a model's folder is a link to another place.

    A snapshot of the Hub's cache has links to the `blobs` beside it, and these stay.
    """
    home = folder.resolve()
    allowed = (home, home.parents[1] / "blobs") if len(home.parents) > 1 else (home,)
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in allowed):
            raise ModelError(
                f"a model's folder must hold its files itself, and `{path.name}` is a link to `{path.resolve()}`.",
                location=str(folder),
                remedy="Copy the file into the folder, if it is the one that you want.",
            )


def refuse_impossible_sizes(config_file: Path, weights: list[Path]) -> None:
    """Raises ModelError where a config asks for larger tensors, or more layers, than the weights have.

    Args:
        config_file: config.json of the model.
        weights: safetensors files of the whole model.
    """
    if config_file.stat().st_size > _MOST_CONFIG_BYTES:
        raise _problem(config_file, f"it has {config_file.stat().st_size:,} bytes")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise _problem(config_file, "it is not JSON") from None
    if not isinstance(config, dict):
        raise _problem(config_file, "it is not a JSON object")
    shapes = [shape for path in weights for shape in tensor_shapes(path).values()]
    widest = max((max(shape, default=1) for shape in shapes), default=1)
    for name, value in _numbers(config):
        most = _ROOM * widest
        if _POSITIONS.fullmatch(name):
            most = max(most, _MOST_POSITIONS)
        if _WIDTHS.fullmatch(name) and value > most:
            raise _problem(
                config_file, f"`{name}` is {value:,}, and no tensor of the weights is wider than {widest:,}"
            )
        if _LAYERS.fullmatch(name) and value > len(shapes):
            raise _problem(config_file, f"`{name}` is {value:,}, and the weights are {len(shapes):,} tensors")


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
