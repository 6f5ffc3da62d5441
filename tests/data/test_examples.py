import json

import numpy as np
import pytest

from tunesmith.data.examples import fingerprint, read_examples
from tunesmith.data.invalid_rows import refuse_invalid_rows, set_invalid_rows_aside
from tunesmith.data.read_options import ReadOptions
from tunesmith.errors import DataError
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import tiny_rows, write_rows

TASK = TASKS.get("text-classification")


@pytest.fixture
def messy(tmp_path):
    file = tmp_path / "messy.csv"
    file.write_bytes(
        b"text,label,shop\n"
        b"first,a,north\n"
        b",a,north\n"
        b"no label,,south\n"
        b"nan label,NaN,south\n"
        b"NaN,a,south\n"
        b"bad \xff byte,a,south\n"
        b"too few\n"
        b"last,b,north\n"
    )
    return file


def test_bad_rows_are_named_by_file_line_and_reason(messy):
    reading = read_examples(TASK, [str(messy)])
    assert [(f.line, f.reason) for f in reading.invalid_rows] == [
        (3, "text is empty."),
        (4, "label is empty."),
        (5, "no label (`NaN`)."),
        (6, "text is `NaN`, an exported missing value."),
        (7, "not UTF-8."),
        (8, "1 fields, the header has 3."),
    ]
    assert reading.examples.columns == {"text": ["first", "last"], "label": ["a", "b"]}
    assert [reading.examples.location(i) for i in (0, 1)] == [f"{messy}, line 2", f"{messy}, line 9"]
    assert reading.examples.row_id(1) == "messy.csv:9"


def test_missing_values_of_json_are_faults(tmp_path):
    file = tmp_path / "a.jsonl"
    rows = ['{"text": "ok", "label": "a"}', '{"text": null, "label": "a"}', '{"text": NaN, "label": "a"}',
            '{"text": "ok", "label": NaN}', '{"text": 3, "label": "a"}', '{"text": "ok", "label": ["a"]}',
            '{"text": "ok", "label": 1.5}', '{"label": "a"}']  # fmt: skip
    file.write_text("\n".join(rows))
    reading = read_examples(TASK, [str(file)])
    assert [problem.line for problem in reading.invalid_rows] == [2, 3, 4, 5, 6, 7, 8]


def test_stopping_names_the_first_rows_and_the_remedy(messy):
    invalid_rows = read_examples(TASK, [str(messy)]).invalid_rows
    with pytest.raises(DataError) as caught:
        refuse_invalid_rows(invalid_rows, 2, remedy="Fix them.")
    assert "6 of 8 rows cannot be used" in str(caught.value)
    assert "messy.csv, line 3: text is empty." in str(caught.value)
    assert str(caught.value).endswith("Fix them.")
    with pytest.raises(DataError, match="No usable row is left"):
        refuse_invalid_rows(invalid_rows, 0, remedy="Fix them.")


def test_setting_aside_keeps_what_stood_there(messy, tmp_path):
    invalid_rows = read_examples(TASK, [str(messy)]).invalid_rows
    set_invalid_rows_aside(invalid_rows, tmp_path / "data" / "bad.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "data" / "bad.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert lines[1]["values"] == {"text": "no label", "label": "", "shop": "south"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b'[{"text": "caf\xe9", "label": "a"}]'),
        ("a.json", b'[{"text": "fine", "label": "caf\xe9"}]'),
        ("a.jsonl", b'{"text": "half an emoji \\ud83d", "label": "a"}\n'),
    ],
)
def test_what_is_not_utf8_is_a_fault_in_every_format_and_can_be_set_aside(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    invalid_rows = read_examples(TASK, [str(tmp_path / name)]).invalid_rows
    assert [problem.reason[-10:] for problem in invalid_rows] == ["not UTF-8."]
    set_invalid_rows_aside(invalid_rows, tmp_path / "bad.jsonl")
    assert "not UTF-8" in json.loads((tmp_path / "bad.jsonl").read_text())["reason"]


def test_take_keeps_rows_and_their_places_together(messy):
    examples = read_examples(TASK, [str(messy)], ReadOptions(extra=["shop"])).examples
    taken = examples.take(np.array([1, 0]))
    assert taken.columns["text"] == ["last", "first"]
    assert taken.extra["shop"] == ["north", "north"]
    assert taken.lines.tolist() == [9, 2]


def test_a_missing_extra_column_is_refused(messy):
    with pytest.raises(DataError, match="no column `region`"):
        read_examples(TASK, [str(messy)], ReadOptions(extra=["region"]))


def test_several_files_are_one_set(tmp_path):
    for name, text in (("a.csv", "one"), ("b.csv", "two")):
        (tmp_path / name).write_text(f"text,label\n{text} text,x\nmore {text},y\n")
    examples = read_examples(TASK, [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]).examples
    assert [examples.row_id(i) for i in range(4)] == ["a.csv:2", "a.csv:3", "b.csv:2", "b.csv:3"]


def test_header_without_rows(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n")
    with pytest.raises(DataError, match="has no rows"):
        read_examples(TASK, [str(tmp_path / "a.csv")])


def test_fingerprint_is_of_the_content(messy, tmp_path):
    before = fingerprint([str(messy)])
    assert before == fingerprint([str(messy)])
    messy.write_bytes(messy.read_bytes() + b"more,a,north\n")
    assert before != fingerprint([str(messy)])


def test_a_column_that_begins_late_is_missing_before(tmp_path):
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = [{"messages": messages}, {"messages": messages, "tools": [{"name": "f"}]}]
    file = write_rows(tmp_path / "a.jsonl", [*rows, rows[0]])
    columns = read_examples(
        TASKS.get("chat"), [str(file)], ReadOptions({"messages": "messages", "tools": "tools"})
    ).examples.columns
    assert columns["messages"] == [messages] * 3
    assert columns["tools"] == [None, [{"type": "function", "function": {"name": "f"}}], None]


def test_rows_and_their_names_in_order(tmp_path):
    rows = tiny_rows(7)
    examples = read_examples(TASK, [str(write_rows(tmp_path / "a.csv", rows))]).examples
    assert list(examples.rows()) == rows
    assert (
        list(examples.row_ids())
        == [examples.row_id(i) for i in range(7)]
        == [f"a.csv:{i}" for i in range(2, 9)]
    )


def test_a_source_whose_first_rows_are_all_faulty_is_read_to_its_end(tmp_path):
    rows = ["{broken"] * 600 + ['{"text": "fine", "label": "a"}'] * 50
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    reading = read_examples(TASK, [str(tmp_path / "a.jsonl")])
    assert (len(reading.examples), len(reading.invalid_rows)) == (50, 600)


def test_a_kind_of_fault_is_said_once_with_its_count_and_places(tmp_path):
    rows = ["[1]"] * 40 + ["{broken"] + ['{"text": "fine", "label": "a"}']
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    invalid_rows = read_examples(TASK, [str(tmp_path / "a.jsonl")]).invalid_rows
    with pytest.raises(DataError) as caught:
        refuse_invalid_rows(invalid_rows, 1, remedy="Fix them.")
    lines = str(caught.value).splitlines()
    assert lines[1].endswith(
        "a.jsonl, line 1 (and 39 more: line 2, line 3, line 4, line 5, line 6, …): "
        "a row must be a JSON object, not list."
    )
    assert len(lines) == 4


def test_unknown_labels_are_one_kind_and_the_known_ones_are_said_once(tmp_path):
    from tunesmith.data.preparing import read_checked

    rows = [
        {"text": f"text {i}", "label": label}
        for i, label in enumerate(["x", "zeta", "zeta", "beta", "gamma"])
    ]
    file = write_rows(tmp_path / "a.csv", rows)
    invalid_rows = read_checked(TASK, [str(file)], {"labels": ["x", "why"]}).invalid_rows
    with pytest.raises(DataError) as caught:
        refuse_invalid_rows(invalid_rows, 1, remedy="Fix them.")
    message = str(caught.value)
    assert message.count("The training rows have: `x`, `why`.") == 1
    assert "label `zeta` does not occur in the training rows. (also `beta`, `gamma`)" in message


def test_fields_within_objects_are_columns_with_points(tmp_path):
    rows = [{"message": {"body": f"text {i}"}, "meta": {"topic": "x"}} for i in range(3)]
    file = write_rows(tmp_path / "a.jsonl", [{"id": 0}, *rows])
    named = {"text": "message.body", "label": "meta.topic"}
    reading = read_examples(TASK, [str(file)], ReadOptions(named, ["meta.topic"]))
    assert reading.examples.columns["text"] == ["text 0", "text 1", "text 2"]
    assert reading.examples.extra["meta.topic"] == ["x"] * 3
    with pytest.raises(DataError, match=r"`id`, `message`, `meta`, `message\.body`, `meta\.topic`"):
        read_examples(TASK, [str(file)], ReadOptions({"text": "body", "label": "meta.topic"}))


def test_a_name_with_blanks_around_it_is_found_without(tmp_path):
    (tmp_path / "a.csv").write_text("sentence ,label\na text,x\n")
    reading = read_examples(
        TASK, [str(tmp_path / "a.csv")], ReadOptions({"text": "sentence", "label": "label"})
    )
    assert reading.examples.columns["text"] == ["a text"]
