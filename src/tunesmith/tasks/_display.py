"""How answers are shown in the report: labels as chips, entities and spans marked, texts side by side.

Long texts are cut, and say so; `predictions/SPLIT.jsonl` has them whole. A task declares one of the displays at
the end of this file, or makes its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith.metrics import percent, spans
from tunesmith.tasks._answer_capabilities import Cell, Display, Piece
from tunesmith.tasks._message_text import message_text

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
    style = "label" if line["correct"] else "wrong"
    return [
        _text(line, inputs),
        [(str(line["gold"]), "label", "")],
        [(str(prediction["label"]), style, percent(prediction["score"]) if "score" in prediction else "")],
    ]


def _several_labels(line: JsonObject, inputs: Sequence[str]) -> list[Cell]:
    given = [(item["label"], item["score"]) for item in line["prediction"]["labels"]]
    return [
        _text(line, inputs),
        [(label, "label" if label in dict(given) else "missed", "") for label in line["gold"]] or [_NO_LABEL],
        [(label, "label" if label in line["gold"] else "wrong", percent(score)) for label, score in given]
        or [_NO_LABEL],
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
    lost, wrong = spans.error_kinds(gold, found)
    return [
        marked(text, [_entity(span, lost.get(span), "missed") for span in sorted(gold)]),
        marked(text, [_entity(span, wrong.get(span), "wrong") for span in sorted(found)]),
    ]


def _entity(span: tuple[int, int, str], kind: str | None, style: str) -> tuple[int, int, str, str]:
    """A span for `marked`, with its label and what is wrong with it."""
    start, end, label = span
    return (start, end, label, "right") if kind is None else (start, end, f"{label}, {kind}", style)


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
    return [_text(line, inputs), *_reference_and_generated(line)]


def texts_after(prompt: Callable[[JsonObject], object]) -> Display:
    """Texts that were generated after a prompt, which is a part of the row: only this part is shown.

    Args:
        prompt: from a line of the predictions to what the model was given: a text, or messages.
    """

    def cells(line: JsonObject, inputs: Sequence[str]) -> list[Cell]:
        given = prompt(line)
        shown = _cut(_plain(given), keep_end=isinstance(given, list))
        return [[(shown, "", "")], *_reference_and_generated(line)]

    return replace(TEXTS, cells=cells)


def _reference_and_generated(line: JsonObject) -> list[Cell]:
    written = next((v for k, v in line["prediction"].items() if k.endswith("_text") or k == "message"), None)
    gold = line["gold"]
    golds = gold if isinstance(gold, list) else [gold]
    return [
        [
            (_cut(_plain(text)) + "\n" * (number < len(golds)), "", "")
            for number, text in enumerate(golds, 1)
            if text
        ],
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
    """What was read; of several columns each on lines of its own, with its name."""
    values = {name: line[name] for name in inputs if line.get(name)}
    cell: Cell = []
    for name, value in values.items():
        shown = _cut(_plain(value), keep_end=isinstance(value, list))
        if len(values) > 1:
            cell += [(name, "name", ""), (f"{shown}\n", "", "")]
        else:
            cell.append((shown, "", ""))
    return cell


def _cut(text: str, *, keep_end: bool = False) -> str:
    """The beginning of a long text; of a conversation the end, which the reply answers."""
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"… {text[-_MOST_CHARACTERS:]}" if keep_end else f"{text[:_MOST_CHARACTERS]} …"


def _plain(value: object) -> str:
    """A text, or messages as `role: content`."""
    if isinstance(value, Mapping):
        return f"{value.get('role', '')}: {message_text(value)}"
    if isinstance(value, list):
        return "\n".join(_plain(item) for item in value)
    return str(value)


_LABEL_TITLES = ("text", "true", "predicted")

_NO_LABEL: Piece = ("none", "soft", "")
_RIGHT = "right"
_MISSED = "missed: in the data, not given by the model"
_WRONG = "wrong: given by the model, not in the data"

PLAIN = Display(_LABEL_TITLES, _plainly)
"""Every entry of the prediction with its value; what a task has that declares nothing."""
ONE_LABEL = Display(_LABEL_TITLES, _one_label)
SEVERAL_LABELS = Display(
    _LABEL_TITLES, _several_labels, legend={"label": _RIGHT, "missed": _MISSED, "wrong": _WRONG}
)
NUMBER = Display(_LABEL_TITLES, _number)
ENTITIES = Display(
    ("true entities", "predicted entities"),
    _entities,
    legend={"right": _RIGHT, "missed": _MISSED, "wrong": _WRONG},
)
ANSWERS = Display(
    ("question", "true answer", "predicted, in its context"),
    _answers,
    legend={"right": _RIGHT, "missed": _MISSED, "wrong": _WRONG},
)
TEXTS = Display(("read", "reference", "generated"), _texts, ranks_unjudged=False, is_shown=_has_text)
PAIRS = Display(("prompt", "chosen, and what it gained", "rejected, and what it gained"), _pairs)
