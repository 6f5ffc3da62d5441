from tunesmith.data.reading import read_rows


def rows(path):
    return [row for _, row in read_rows(str(path))]


def test_lines_are_counted_with_the_blank_ones(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
    assert [(row.line, row.unit) for row in rows(tmp_path / "a.jsonl")] == [(1, "line"), (3, "line")]


def test_bad_lines(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": \n[1]\n{"text": "\xff"}\n')
    assert [(row.line, row.problem[:30]) for row in rows(tmp_path / "a.jsonl") if row.problem] == [
        (2, "not JSON: Expecting value: lin"),
        (3, "a row must be a JSON object, n"),
        (4, "not UTF-8."),
    ]


def test_a_line_nested_beyond_all_bounds_is_a_fault(tmp_path):
    (tmp_path / "a.ndjson").write_text('{"text": ' + "[" * 200_000 + "\n" + '{"text": "fine"}\n')
    assert [bool(row.problem) for row in rows(tmp_path / "a.ndjson")] == [True, False]
