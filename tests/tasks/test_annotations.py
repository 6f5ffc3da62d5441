"""Exports of annotation tools, as each writes them."""

import pytest

from tunesmith.data.columns import choose_view
from tunesmith.tasks import TASKS, RowError

NER, ONE, MANY = (TASKS.get(f"{name}-classification") for name in ("token", "text", "multi-label"))
TEXT = "Ada sees Lindau"
SPANS = [[0, 3, "PER"], [9, 15, "LOC"]]


def read(task, rows, *, need_targets=True):
    """What is read of each row, or why it is not."""
    view = choose_view(task, rows, location="a.jsonl", need_targets=need_targets)
    found = []
    for row in rows:
        try:
            found.append(task.read(view.values(row)))
        except RowError as error:
            found.append(str(error))
    return view.chosen, found


def studio(text=TEXT, results=None, **annotation):
    results = [span(0, 3, "PER", "Ada"), span(9, 15, "LOC", "Lindau")] if results is None else results
    return {"id": 1, "data": {"text": text}, "annotations": [{"result": results, **annotation}]}


def span(start, end, label, text):
    value = {"start": start, "end": end, "text": text, "labels": [label]}
    return {"value": value, "from_name": "label", "to_name": "text", "type": "labels"}


def choice(*names):
    return {"value": {"choices": list(names)}, "from_name": "topic", "to_name": "text", "type": "choices"}


NEW_DOCCANO = [{"id": 7, "label": "PER", "start_offset": 0, "end_offset": 3},
               {"id": 8, "label": "LOC", "start_offset": 9, "end_offset": 15}]  # fmt: skip
PRODIGY = [{"start": 0, "end": 3, "label": "PER", "token_start": 0}, {"start": 9, "end": 15, "label": "LOC"}]
SHORT = [{"start": 0, "end": 3, "labels": ["PER"], "text": "Ada"}, {"start": 9, "end": 15, "labels": ["LOC"]}]


@pytest.mark.parametrize(
    ("tool", "row"),
    [
        ("doccano", {"id": 0, "text": TEXT, "label": SPANS, "Comments": []}),
        ("doccano", {"id": 0, "text": TEXT, "entities": NEW_DOCCANO, "relations": []}),
        ("doccano", {"id": 0, "data": TEXT, "labels": SPANS}),
        ("doccano", {"text": TEXT, "entities": [[*item, "Q7259"] for item in SPANS]}),
        ("Prodigy", {"text": TEXT, "spans": PRODIGY, "tokens": [{"text": "Ada"}], "answer": "accept"}),
        ("Label Studio", studio()),
        ("Label Studio's short form", {"text": TEXT, "label": SHORT, "id": 1, "annotator": 1}),
    ],
)
def test_spans_of_every_tool(tool, row):
    chosen, found = read(NER, [row])
    assert chosen["rows"].startswith(f"{tool} (")
    assert found[0]["entities"] == SPANS


def test_the_tasks_own_form_is_read_by_its_columns():
    chosen, found = read(NER, [{"text": TEXT, "entities": SPANS}])
    assert chosen == {"text": "text", "entities": "entities"}
    assert found[0]["entities"] == SPANS


@pytest.mark.parametrize("answer", ["reject", "ignore"])
def test_what_was_not_accepted_in_prodigy_is_no_example(answer):
    rows = [
        {"text": TEXT, "spans": PRODIGY, "answer": "accept"},
        {"text": TEXT, "spans": [], "answer": answer},
    ]
    assert read(NER, rows)[1][1].startswith(f"Prodigy's answer is `{answer}`")
    assert read(NER, rows, need_targets=False)[1][1]["text"] == TEXT


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": 1, "data": {"text": TEXT}, "annotations": []}, "no finished annotation"),
        (studio(was_cancelled=True), "no finished annotation"),
        (studio(results=[span(0, 4, "PER", "Adam")]), "the span 0 to 4 is not `Adam` in its text"),
        ({**studio(), "data": {"a": "x", "b": "y"}}, "it is not known which of `a`, `b` is the text"),
        (
            {**studio(), "annotations": [studio()["annotations"][0], {"result": []}]},
            "2 annotations that do not agree",
        ),
    ],
)
def test_tasks_of_label_studio_that_are_no_examples(row, reason):
    assert reason in read(NER, [studio(), row])[1][1]
    assert (
        "agree" in reason
        or "which of" in reason
        or read(NER, [studio(), row], need_targets=False)[1][1]["text"]
    )


def test_ground_truth_wins_and_equal_annotations_agree():
    row = {**studio(), "annotations": [{"result": []}, {**studio()["annotations"][0], "ground_truth": True}]}
    twice = {**studio(), "annotations": studio()["annotations"] * 2}
    assert [found["entities"] for found in read(NER, [row, twice])[1]] == [SPANS, SPANS]


def test_offsets_that_a_browser_counted_are_known_by_the_text_of_the_span():
    found = read(NER, [studio("🚲🚲 Ada", [span(5, 8, "PER", "Ada")])])[1]
    assert found[0]["entities"] == [[3, 6, "PER"]]


def test_labels_of_texts():
    assert read(ONE, [studio(results=[choice("waste")])])[1][0]["label"] == "waste"
    assert read(MANY, [studio(results=[choice("waste", "noise")])])[1][0]["labels"] == ["waste", "noise"]
    rows = [{"text": TEXT, "accept": ["waste", "noise"], "options": [], "answer": "accept"}]
    assert "2 labels for one text" in read(ONE, rows)[1][0]
    assert read(MANY, rows)[1][0]["labels"] == ["waste", "noise"]
    assert read(ONE, [{"text": TEXT, "label": "waste", "answer": "accept"}])[1][0]["label"] == "waste"
