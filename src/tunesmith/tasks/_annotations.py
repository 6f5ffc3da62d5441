"""Exports of annotation tools: doccano, Label Studio, Prodigy, and spaCy's training data.

The functions `recognise_*` find the tool from the column names and some rows. Their `convert` changes the shape of
a row, and checks only the tool's own marks: an annotation that was rejected, skipped or cancelled, or made by
several people with different results, is not an example. (brat and CoNLL-U have their own file formats, in
`data/formats`.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.tasks import Recognised, RowError, Values

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

Row = Values

_ANSWERS = {"accept", "reject", "ignore"}
_DOCCANO_COLUMNS = ("label", "labels", "entities")


def recognise_entities(header: Collection[str], rows: Sequence[Row]) -> Recognised | None:
    """The tool that wrote spans of characters; None if unknown."""
    readers = (_label_studio_entities, _prodigy_entities, _label_studio_min, _doccano)
    return next((found for reader in readers if (found := reader(header, rows))), None)


def recognise_labels(header: Collection[str], rows: Sequence[Row], *, several: bool) -> Recognised | None:
    """The tool that wrote labels of texts; None if unknown.

    Args:
        header: names of the columns.
        rows: some rows of the file.
        several: whether a text may have any number of labels.
    """
    readers = (_label_studio_labels, _prodigy_labels)
    return next((found for reader in readers if (found := reader(header, rows, several))), None)


def _doccano(header: Collection[str], rows: Sequence[Row]) -> Recognised | None:
    """`{text, label: [[start, end, name]]}`, and the form with relations: `entities` of `start_offset`, …."""
    text = "text" if "text" in header else "data"
    column = next((name for name in _DOCCANO_COLUMNS if name in header and _holds_spans(rows, name)), None)
    if text not in header or column is None or {"tokens", "tags"} & set(header):
        return None
    if column == "entities" and all(
        isinstance(span, list) and len(span) == 3 for span in _all_spans(rows, column)
    ):
        return None  # the task's own form

    def convert(row: Row) -> JsonObject:
        spans = row.get(column)
        found = [_span(span) for span in spans] if isinstance(spans, list) else spans
        return {"text": row.get(text), "entities": found}

    return Recognised("doccano", (text, column), convert, read_inputs=lambda row: {"text": row.get(text)})


def _all_spans(rows: Sequence[Row], column: str) -> list[object]:
    return [span for row in rows if isinstance(row.get(column), list) for span in row[column]]


def _holds_spans(rows: Sequence[Row], column: str) -> bool:
    """Whether the lists in a column hold spans in doccano's notation; some rows may have none."""
    spans = _all_spans(rows, column)
    is_listed = all(isinstance(row.get(column), list | None) for row in rows)
    return bool(spans) and is_listed and all(map(_is_doccano_span, spans))


def _is_doccano_span(span: object) -> bool:
    if isinstance(span, Mapping):
        return "start_offset" in span and "end_offset" in span
    return isinstance(span, list) and len(span) >= 3 and isinstance(span[0], int) and isinstance(span[2], str)


def _span(span: Any) -> Any:
    if isinstance(span, Mapping):
        return {"start": span["start_offset"], "end": span["end_offset"], "label": span.get("label")}
    return list(span[:3])


def _prodigy_entities(header: Collection[str], rows: Sequence[Row]) -> Recognised | None:
    if not {"text", "answer"} <= set(header) or not _has_answers(rows) or "spans" not in header:
        return None

    def convert(row: Row) -> JsonObject:
        _refuse_answer(row)
        return {"text": row.get("text"), "entities": row.get("spans") or []}

    return Recognised("Prodigy", ("text", "spans", "answer"), convert, read_inputs=_only_text)


def _prodigy_labels(header: Collection[str], rows: Sequence[Row], several: bool) -> Recognised | None:
    """A label to accept or reject, or choices in `accept`."""
    if not {"text", "answer"} <= set(header) or not _has_answers(rows):
        return None
    column = next((name for name in ("accept", "label") if name in header), None)
    if column is None:
        return None

    def convert(row: Row) -> JsonObject:
        _refuse_answer(row)
        return {"text": row.get("text"), **_labelled(row.get(column), several)}

    return Recognised("Prodigy", ("text", column, "answer"), convert, read_inputs=_only_text)


def _only_text(row: Row) -> JsonObject:
    return {"text": row.get("text")}


def _has_answers(rows: Sequence[Row]) -> bool:
    answers = [row.get("answer") for row in rows]
    return all(isinstance(answer, str) and answer in _ANSWERS for answer in answers)


def _refuse_answer(row: Row) -> None:
    if row.get("answer") != "accept":
        raise RowError(
            f"Prodigy's answer is `{row.get('answer')}`: only accepted rows are examples.",
            hint="Export without them, or set them aside with `data.bad_rows=set_aside`.",
        )


def _labelled(names: object, several: bool) -> JsonObject:
    """Names as a column of the task: `labels`, or exactly one `label`."""
    names = names if isinstance(names, list) else [] if names is None else [names]
    if several:
        return {"labels": names}
    if len(names) > 1:
        raise RowError(f"{len(names)} labels for one text; several labels are `multi-label-classification`.")
    return {"label": names[0] if names else None}


def _is_label_studio(header: Collection[str], rows: Sequence[Row]) -> bool:
    column = "annotations" if "annotations" in header else "completions"
    return {"data", column} <= set(header) and all(
        isinstance(row.get("data"), Mapping) and isinstance(row.get(column), list | None) for row in rows
    )


def _label_studio_entities(header: Collection[str], rows: Sequence[Row]) -> Recognised | None:
    if not _is_label_studio(header, rows):
        return None

    def convert(row: Row) -> JsonObject:
        results = _results(row)
        text = _text_of(row, results)
        return {"text": text, "entities": [_studio_span(r["value"], text) for r in results if _is_span(r)]}

    return Recognised(
        "Label Studio", ("data", "annotations"), convert, read_inputs=lambda row: {"text": _text_of(row, [])}
    )


def _label_studio_labels(header: Collection[str], rows: Sequence[Row], several: bool) -> Recognised | None:
    if not _is_label_studio(header, rows):
        return None

    def convert(row: Row) -> JsonObject:
        results = _results(row)
        chosen = [name for result in results for name in result["value"].get("choices") or ()]
        return {"text": _text_of(row, results), **_labelled(chosen, several)}

    return Recognised(
        "Label Studio", ("data", "annotations"), convert, read_inputs=lambda row: {"text": _text_of(row, [])}
    )


def _label_studio_min(header: Collection[str], rows: Sequence[Row]) -> Recognised | None:
    """The short export, JSON-MIN: the data beside a column with the annotation's spans."""
    column = next(
        (
            name
            for name in header
            if (spans := _all_spans(rows, name))
            and all(isinstance(span, Mapping) and {"start", "end", "labels"} <= set(span) for span in spans)
        ),
        None,
    )
    text = next(
        (name for name in ("text", "sentence", "content", "body", "document") if name in header), None
    )
    if column is None or text is None:
        return None

    def convert(row: Row) -> JsonObject:
        words = row.get(text)
        return {"text": words, "entities": [_studio_span(span, words) for span in row.get(column) or ()]}

    return Recognised(
        "Label Studio's short form", (text, column), convert, read_inputs=lambda row: {"text": row.get(text)}
    )


def _results(row: Row) -> list[Row]:
    """The annotation of a task.

    Raises:
        RowError: there is none, or several do not agree.
    """
    made = row.get("annotations", row.get("completions")) or []
    done = [one for one in made if isinstance(one, Mapping) and not one.get("was_cancelled")]
    chosen = [one for one in done if one.get("ground_truth")] or done
    if not chosen:
        raise RowError("the task has no finished annotation.")
    said = [
        [r for r in one.get("result") or [] if isinstance(r, Mapping) and _has_value(r)] for one in chosen
    ]
    if any(_comparable(other) != _comparable(said[0]) for other in said[1:]):
        raise RowError(
            f"the task has {len(said)} annotations that do not agree; leave one, or mark it as ground truth."
        )
    return said[0]


def _has_value(result: Row) -> bool:
    return isinstance(result.get("value"), Mapping)


def _comparable(results: Sequence[Row]) -> list[str]:
    return sorted(f"{r.get('from_name')} {sorted(r['value'].items(), key=str)}" for r in results)


def _is_span(result: Row) -> bool:
    return {"start", "end", "labels"} <= set(result["value"])


def _text_of(row: Row, results: Sequence[Row]) -> object:
    """The text of a task: the annotated one, else its only text."""
    data = row["data"]
    named = next((r["to_name"] for r in results if isinstance(data.get(r.get("to_name")), str)), None)
    texts = [name for name, value in data.items() if isinstance(value, str)]
    name = named or ("text" if "text" in texts else texts[0] if len(texts) == 1 else None)
    if name is None:
        raise RowError(
            f"it is not known which of {', '.join(f'`{text}`' for text in texts) or 'its data'} is the text."
        )
    return data[name]


def _studio_span(value: Row, text: object) -> JsonObject:
    """A span in characters; its own text shows whether the browser counted UTF-16 units."""
    labels = value.get("labels")
    if not isinstance(labels, list) or len(labels) != 1:
        raise RowError(
            f"a span has {len(labels) if isinstance(labels, list) else 'no'} labels, and must have one."
        )
    start, end, covered = value.get("start"), value.get("end"), value.get("text")
    for begin, stop in ((start, end), (_in_characters(text, start), _in_characters(text, end))):
        if isinstance(text, str) and _is_covered(text, begin, stop, covered):
            return {"start": begin, "end": stop, "label": labels[0]}
    raise RowError(f"the span {start} to {end} is not `{covered}` in its text.")


def _is_covered(text: str, start: object, end: object, covered: object) -> bool:
    if not isinstance(start, int) or not isinstance(end, int):
        return False
    return covered is None or text[start:end] == covered


def _in_characters(text: object, position: object) -> object:
    """An offset in characters, from one in UTF-16 units, as browsers count."""
    if not isinstance(text, str) or not isinstance(position, int):
        return position
    return len(text.encode("utf-16-le", "surrogatepass")[: 2 * position].decode("utf-16-le", "replace"))
