"""Well-known open models and their facts, from `catalogue.yaml`, and the facts of a model on this machine.

A base model is chosen by its kind, languages, licence, length, size and cost. The list holds what is known of each
without a download; what its config says is enough to build the same architecture with random weights, and so to
measure what its training costs (`pipeline/model_costs.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import UnknownNameError, nearest

if TYPE_CHECKING:
    from tunesmith.models.resolve import ModelFiles
    from tunesmith.types import JsonObject

ENCODER, DECODER, ENCODER_DECODER = "encoder", "decoder", "encoder-decoder"
UNKNOWN = "unknown"

_FILE = Path(__file__).with_suffix(".yaml")
_HUB = "https://huggingface.co"
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len")


@dataclass(frozen=True)
class KnownModel:
    """The facts of a model.

    Args:
        id: Hub id, or local folder.
        kind: `encoder`, `decoder` or `encoder-decoder`.
        parameters: number of weights without a task's head.
        licence: licence as the card names it, or `unknown`.
        languages: codes of its languages; empty if they are not known.
        context: tokens that it reads at once; None if that is not known.
        config: entries of config.json that decide about its size.
        weights: `safetensors`, `pickle` or `unknown`: what the Hub has.
        gated: whether the Hub asks for a consent before a download.
        sentence: whether it was made for the similarity of texts.
        chat: whether it has a chat template.
        bytes: whether it reads bytes instead of pieces of words.
        domain: texts that it was made for.
        writes: what it was fine-tuned to write.
        sources: address of each fact, by the name of the fact.
    """

    id: str
    kind: str
    parameters: int
    licence: str
    languages: tuple[str, ...]
    context: int | None
    config: JsonObject
    weights: str = UNKNOWN
    gated: bool = False
    sentence: bool = False
    chat: bool = False
    bytes: bool = False
    domain: str = ""
    writes: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """`model_type` of the config."""
        return str(self.config["model_type"])

    def facts(self) -> JsonObject:
        """The facts for `--json`."""
        return {
            "id": self.id,
            "family": self.family,
            "kind": self.kind,
            "parameters": self.parameters,
            "licence": self.licence,
            "languages": list(self.languages),
            "context": self.context,
            "gated": self.gated,
            "weights": self.weights,
            "sentence": self.sentence,
            "chat": self.chat,
            "domain": self.domain or None,
            "writes": self.writes or None,
        }


@cache
def catalogue() -> tuple[KnownModel, ...]:
    """The models of the list, in its order."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(_FILE.read_text(encoding="utf-8"), Loader=loader)
    return tuple(_known(dict(entry), content["languages"]) for entry in content["models"])


def _known(entry: JsonObject, sets: Mapping[str, Mapping[str, str]]) -> KnownModel:
    paper, languages = entry.pop("paper", None), entry.pop("languages")
    sources = _hub_sources(entry["id"]) | ({"paper": paper} if paper else {})
    if isinstance(languages, str):
        sources["languages"], languages = sets[languages]["source"], sets[languages]["codes"].split()
    return KnownModel(**entry, languages=tuple(languages), sources=sources)


def _hub_sources(hub_id: str) -> dict[str, str]:
    card, config = f"{_HUB}/{hub_id}", f"{_HUB}/{hub_id}/blob/main/config.json"
    of_card = ("licence", "languages", "gated", "weights")
    return dict.fromkeys(of_card, card) | dict.fromkeys(("family", "parameters", "context", "config"), config)


def find_known(name: str) -> KnownModel | None:
    """The model of the list with this Hub id; None if there is none."""
    return next((model for model in catalogue() if model.id.lower() == name.lower()), None)


def refuse_unknown_model(name: str) -> UnknownNameError:
    """The error for a name that is neither in the list nor a model on this machine."""
    near = nearest(name, [model.id for model in catalogue()]) or nearest(name, _by_short_name())
    near = _by_short_name().get(near, near)
    return UnknownNameError(
        f"`{name}` is not in the list of models, and no model on this machine has this name.",
        remedy=f"Did you mean `{near}`?"
        if near
        else "`tunesmith models --all` shows the list. "
        "A model that was downloaded, or a folder with config.json and model.safetensors, joins it by `--add`.",
    )


def _by_short_name() -> dict[str, str]:
    """Ids by their part after the slash."""
    return {model.id.rpartition("/")[2]: model.id for model in catalogue()}


def describe_files(files: ModelFiles) -> KnownModel:
    """The facts of a model on this machine, read from its files; of a model of the list, those of the list.

    Args:
        files: files from `resolve_model`.
    """
    from tunesmith.models.languages import card_languages

    known = find_known(files.name)
    if known is not None:
        return known
    config = files.config()
    path = files.path
    return KnownModel(
        files.name,
        kind_of(str(config.get("model_type"))),
        _count_weights(path),
        _licence(files),
        tuple(card_languages(path)),
        next((int(config[key]) for key in _CONTEXT_KEYS if config.get(key)), None),
        config,
        weights="safetensors",
        sentence=(path / "modules.json").is_file(),
        chat=_has_template(path),
        sources=dict.fromkeys(("family", "parameters", "context", "config", "weights"), str(path))
        | dict.fromkeys(("licence", "languages"), str(path / "README.md")),
    )


def kind_of(model_type: str) -> str:
    """The kind of a family, by the classes that transformers has for it."""
    from transformers.models.auto import modeling_auto

    if model_type in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return ENCODER_DECODER
    is_encoder = model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    is_decoder = model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return DECODER if is_decoder and not is_encoder else ENCODER


def _count_weights(folder: Path) -> int:
    """Number of weights in the files of a folder, from their headers."""
    import math

    from safetensors import safe_open

    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total


def _licence(files: ModelFiles) -> str:
    from tunesmith.models.base_card import read_base_card

    found = read_base_card(files).get("license", UNKNOWN)
    return ", ".join(found) if isinstance(found, Sequence) and not isinstance(found, str) else str(found)


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text("utf-8")).get("chat_template"))
    except (OSError, ValueError):
        return False
