"""How answers are shown in the report: labels as chips, entities and spans marked, texts side by side.

Long texts are cut, and say so; `predictions/SPLIT.jsonl` has them whole. A task declares one of the displays at
the end of this file, or makes its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tunesmith.tasks._capabilities import Cell, Display, Piece

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_CONTEXT_CHARACTERS = 160
_MOST_CHARACTERS = 600


def _has_text(line: JsonObject) -> bool:
    """Whether a text was generated for the row, or none was called for."""
    return "bits_per_byte" not in line["prediction"] or len(line["prediction"]) > 1


def _plainly(line: JsonObject, inputs: Sequence[str]) -> list[Cell]:
    prediction = ", ".join(f"{key}: {_plain(value)}" for key, value in line["prediction"].items())
    return [_text(line, inputs), [(_cut(_plain(line["gold"])), "", "")], [(_cut(prediction), "", "")]]


def _one_label(line: JsonObject, inputs: Sequence[str]) -> list[Cell]:
    prediction = line["prediction"]
    return [
        _text(line, inputs),
        [(str(line["gold"]), "label", "")],
        [(str(prediction["label"]), "label", f"{prediction['score']:.3f}" if "score" in prediction else "")],
    ]


def _several_labels(line: JsonObject, inputs: Sequence[str]) -> list[Cell]:
    given = [(item["label"], item["score"]) for item in line["prediction"]["labels"]]
    return [
        _text(line, inputs),
        [(label, "label", "") for label in line["gold"]],
        [(label, "label" if label in line["gold"] else "wrong", f"{score:.2f}") for label, score in given],
    ]


def _number(line: JsonObject, inputs: Sequence[str]) -> list[Cell]:
    return [
        _text(line, inputs),
        [(f"{line['gold']:.3g}", "", "")],
        [(f"{line['prediction']['score']:.3g}", "", "")],
    ]


def _entities(line: JsonObject, inputs: Sequence[str]) -> list[Cell]:
    text = line["text"]
    gold = {(e["start"], e["end"], e["entity_group"]) for e in line["gold"]}
    found = {(e["start"], e["end"], e["entity_group"]) for e in line["prediction"]["entities"]}
    return [
        marked(text, [(*span, "right" if span in found else "missed") for span in sorted(gold)]),
        marked(text, [(*span, "right" if span in gold else "wrong") for span in sorted(found)]),
    ]


def _answers(line: JsonObject, inputs: Sequence[str]) -> list[Cell]:
    prediction, gold = line["prediction"], line["gold"]
    start, end = prediction["start"], prediction["end"]
    style = "right" if line["correct"] else "wrong"
    context = marked(line["context"], [(start, end, "", style)]) if end > start else []
    return [
        [(line["question"], "", "")],
        [(text, "missed" if not line["correct"] else "right", "") for text in gold]
        or [("no answer", "soft", "")],
        _around(context) if context else [("no answer", style, "")],
    ]


def _texts(line: JsonObject, inputs: Sequence[str]) -> list[Cell]:
    written = next((v for k, v in line["prediction"].items() if k.endswith("_text") or k == "message"), None)
    gold = line["gold"]
    golds = gold if isinstance(gold, list) else [gold]
    return [
        _text(line, inputs),
        [(_cut(_plain(text)), "", "") for text in golds if text],
        [(_cut(_plain(written)), "right" if line["correct"] else "", "") if written else ("–", "soft", "")],
    ]


def _pairs(line: JsonObject, inputs: Sequence[str]) -> list[Cell]:
    return [
        _text(line, inputs),
        *(
            [(_cut(_plain(line["gold"][which])), "", ""), _gain(line["prediction"][f"{which}_gain"])]
            for which in ("chosen", "rejected")
        ),
    ]


def _gain(nats: float) -> Piece:
    return (f" {nats:+.1f}", "soft", "")


def marked(text: str, spans: Sequence[tuple[int, int, str, str]]) -> Cell:
    """A text with spans (start, end, note, kind) marked in it; spans do not overlap."""
    pieces: Cell = []
    at = 0
    for start, end, note, kind in spans:
        pieces += [(text[at:start], "", "")] if start > at else []
        pieces.append((text[start:end], kind, note))
        at = end
    return [*pieces, (text[at:], "", "")] if at < len(text) else pieces


def _around(pieces: Cell) -> Cell:
    """The marked piece with some of the text before and after it."""
    shown: Cell = []
    for position, (text, kind, note) in enumerate(pieces):
        if kind:
            shown.append((text, kind, note))
        elif position == 0 and len(pieces) > 1:
            cut = text[-_CONTEXT_CHARACTERS:]
            shown.append(("… " * (len(cut) < len(text)) + cut, "soft", ""))
        else:
            cut = text[:_CONTEXT_CHARACTERS]
            shown.append((cut + " …" * (len(cut) < len(text)), "soft", ""))
    return shown


def _text(line: JsonObject, inputs: Sequence[str]) -> Cell:
    values = [line[name] for name in inputs if line.get(name)]
    is_conversation = any(isinstance(value, list) for value in values)
    shown = " ⏐ ".join(map(_plain, values))
    return [(_cut(shown, keep_end=is_conversation), "", "")]


def _cut(text: str, *, keep_end: bool = False) -> str:
    """The beginning of a long text; of a conversation the end, which the reply answers."""
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"… {text[-_MOST_CHARACTERS:]}" if keep_end else f"{text[:_MOST_CHARACTERS]} …"


def _plain(value: object) -> str:
    """A text, or messages as `role: content`."""
    if isinstance(value, Mapping):
        return f"{value.get('role', '')}: {value.get('content', '')}"
    if isinstance(value, list):
        return "\n".join(_plain(item) for item in value)
    return str(value)


_LABEL_TITLES = ("text", "true", "predicted")

PLAIN = Display(_LABEL_TITLES, _plainly)
"""Every entry of the prediction with its value; what a task has that declares nothing."""
ONE_LABEL = Display(_LABEL_TITLES, _one_label)
SEVERAL_LABELS = Display(_LABEL_TITLES, _several_labels)
NUMBER = Display(_LABEL_TITLES, _number)
ENTITIES = Display(("true entities", "predicted entities"), _entities)
ANSWERS = Display(("question", "true answer", "predicted, in its context"), _answers)
TEXTS = Display(("read", "reference", "generated"), _texts, ranks_unjudged=False, is_shown=_has_text)
PAIRS = Display(("prompt", "chosen, and what it gained", "rejected, and what it gained"), _pairs)
