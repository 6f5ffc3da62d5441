"""The law of every reader: a line or a record is used, or named, or no data. Proved over damaged files."""

import csv
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError

LABELS = ("noise", "waste", "parking")
PLAIN = st.text(alphabet="ab é漢🚲.'-", min_size=1, max_size=12).filter(lambda text: text.strip())
QUOTED = st.text(alphabet='ab" é', min_size=1, max_size=12).filter(lambda text: text.strip())
LABEL = st.sampled_from(LABELS)
DAMAGES = st.lists(
    st.tuples(st.sampled_from(["quote", "delimiter", "cut", "NUL", "byte", "line end"]), st.floats(0, 1)),
    max_size=4,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("law") / "a"


def rows_of(path, ending, content):
    file = path.with_suffix(ending)
    file.write_bytes(content)
    return [row for _, row in read_rows(str(file))]


def rows_or_refusal(path, ending, content):
    """The rows, or none where so many bytes are no text that the file as a whole is refused."""
    try:
        return rows_of(path, ending, content)
    except DataError as error:
        assert "is a binary file" in error.rule
        assert content.count(b"\0") > 2
        return None


def lines_of(content):
    return list(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", "surrogateescape", newline=""))


def assert_every_line_is_accounted_for(content, rows, is_no_data):
    """Rows do not share lines, and what no row takes is a header, blank or a comment."""
    lines = lines_of(content)
    taken = [row.line + i for row in rows for i in range(row.n_lines)]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(range(1, len(lines) + 1))
    for number in set(range(1, len(lines) + 1)) - set(taken):
        assert is_no_data(number, lines[number - 1]), (number, lines[number - 1])


def damaged(content, damages, delimiter):
    """A file with its header whole, and something done to what follows."""
    start = content.index(b"\n") + 1
    for kind, share in damages:
        at = start + int(share * (len(content) - start))
        if kind == "cut":
            content = content[: max(at, start + 1)]
        elif kind == "delimiter":
            found = content.find(delimiter.encode(), at)
            content = content if found < 0 else content[:found] + content[found + 1 :]
        else:
            piece = {"quote": b'"', "NUL": b"\0", "byte": b"\xe9", "line end": b"\n"}[kind]
            content = content[:at] + piece + content[at:]
    return content


def written(rows, **dialect):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", **dialect).writerows([["text", "label"], *rows])
    return out.getvalue().encode()


def is_header_or_blank(number, line):
    return number == 1 or not line.strip('\r\n\t ,;|"')


DIALECTS = [
    (".csv", {"delimiter": ",", "quoting": csv.QUOTE_MINIMAL}),
    (".csv", {"delimiter": ";", "quoting": csv.QUOTE_ALL}),
    (".csv", {"delimiter": "|", "quoting": csv.QUOTE_MINIMAL}),
    (".tsv", {"delimiter": "\t", "quoting": csv.QUOTE_ALL}),
    (".tsv", {"delimiter": "\t", "quoting": csv.QUOTE_MINIMAL}),
]


@pytest.mark.parametrize(("ending", "dialect"), DIALECTS)
@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(st.tuples(st.text(alphabet='ab\n"é,;|\t', min_size=1).filter(str.strip), LABEL), min_size=1)
)
def test_what_a_csv_writer_wrote_is_read_or_named(path, ending, dialect, rows):
    content = written(rows, **dialect)
    found = rows_of(path, ending, content)
    assert_every_line_is_accounted_for(content, found, is_header_or_blank)
    if dialect["quoting"] == csv.QUOTE_ALL and not any(row.problem for row in found):
        assert [(row.values["text"], row.values["label"]) for row in found] == rows


@pytest.mark.parametrize(("ending", "dialect"), DIALECTS)
@settings(deadline=None, max_examples=40)
@given(rows=st.lists(st.tuples(st.text(alphabet='ab\n"é', min_size=1).filter(str.strip), LABEL), min_size=1))
def test_quoted_texts_over_several_lines_are_read_as_they_are(path, ending, dialect, rows):
    found = rows_of(path, ending, written(rows, **dialect))
    assert [(row.values.get("text"), row.values.get("label")) for row in found] == rows


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.tuples(QUOTED, LABEL), min_size=1, max_size=30))
@example(rows=[('"a', "noise"), ("b", "waste"), ('12"', "noise")])
def test_a_tool_that_writes_tabs_and_never_quotes_is_read_as_it_wrote(path, rows):
    content = "".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *rows]).encode()
    found = rows_of(path, ".tsv", content)
    texts = [row.values.get("text") for row in found]
    assert len(found) == len(rows)
    # Where nearly all quotes are those of CSV, they are read as such: nothing tells them from written ones.
    as_csv = [next(csv.reader([text])) for text, _ in rows]
    assert texts in ([text for text, _ in rows], [fields[0] if fields else "" for fields in as_csv]) or any(
        row.problem for row in found
    )


@pytest.mark.parametrize(("ending", "dialect"), DIALECTS)
@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.tuples(PLAIN, LABEL), min_size=1, max_size=20), damages=DAMAGES)
def test_no_line_of_a_damaged_table_is_swallowed(path, ending, dialect, rows, damages):
    content = damaged(written(rows, **dialect), damages, dialect["delimiter"])
    if (found := rows_or_refusal(path, ending, content)) is not None:
        assert_every_line_is_accounted_for(content, found, is_header_or_blank)


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
@settings(deadline=None, max_examples=80)
@given(texts=st.lists(PLAIN, min_size=12, max_size=30), location=st.floats(0, 1), data=st.data())
def test_one_stray_or_lost_quote_costs_one_row(path, quoting, texts, location, data):
    rows = [(text, LABELS[i % 3]) for i, text in enumerate(texts)]
    content = written(rows, quoting=quoting)
    start = content.index(b"\n") + 1
    quotes = [i for i, byte in enumerate(content) if byte == ord('"') and i > start]
    if quotes and data.draw(st.booleans()):
        at = data.draw(st.sampled_from(quotes))
        content = content[:at] + content[at + 1 :]
    else:
        at = start + int(location * (len(content) - start))
        content = content[:at] + b'"' + content[at:]
    found = [
        (row.values["text"], row.values["label"]) for row in rows_of(path, ".csv", content) if not row.problem
    ]
    assert sum(row not in found for row in rows) <= 1


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.tuples(PLAIN, LABEL), min_size=1, max_size=20), damages=DAMAGES)
def test_no_line_of_damaged_json_lines_is_swallowed(path, rows, damages):
    lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in rows]
    content = damaged(("{}\n" + "\n".join(lines) + "\n").encode(), damages, ":")
    if (found := rows_or_refusal(path, ".jsonl", content)) is not None:
        assert_every_line_is_accounted_for(content, found, lambda number, line: not line.strip())


@pytest.mark.parametrize("ending", [".conll", ".conllu"])
@settings(deadline=None, max_examples=60)
@given(
    sentences=st.lists(st.lists(st.sampled_from(["a", "é", "#", "漢"]), min_size=1, max_size=4), min_size=1),
    damages=DAMAGES,
)
def test_no_line_of_a_damaged_sentence_is_swallowed(path, ending, sentences, damages):
    def line(number, word):
        return f"{word}\tB-X" if ending == ".conll" else f"{number}\t{word}" + "\t_" * 7 + "\tNER=B-X"

    blocks = ["\n".join(line(i, word) for i, word in enumerate(words, start=1)) for words in sentences]
    content = damaged(("# a comment\n" + "\n\n".join(blocks) + "\n").encode(), damages, "\t")
    if (found := rows_or_refusal(path, ending, content)) is not None:
        assert_every_line_is_accounted_for(
            content, found, lambda number, line: not line.strip() or line.startswith("#")
        )


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(st.tuples(PLAIN, LABEL), min_size=1, max_size=20), damages=DAMAGES)
def test_parallel_lines_are_rows_or_the_files_are_refused(path, rows, damages):
    one = "".join(f"{text}\n" for text, _ in rows).encode()
    other = damaged("".join(f"{label}\n" for _, label in rows).encode(), damages, "e")
    path.with_suffix(".en").write_bytes(one)
    path.with_suffix(".de").write_bytes(other)
    try:
        found = [row for _, row in read_rows(f"parallel:{path}.{{en,de}}")]
    except DataError:
        return
    assert_every_line_is_accounted_for(one, found, lambda number, line: not line.strip())


@pytest.mark.parametrize("ending", [".json", ".parquet", ".arrow", ".xlsx", ".tmx"])
@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 12), cut=st.floats(0, 1), flip=st.one_of(st.none(), st.floats(0, 0.999)))
def test_a_damaged_document_gives_all_of_its_records_or_is_refused(path, ending, n, cut, flip):
    content = bytearray(document(ending, n))
    if flip is not None:
        content[int(flip * len(content))] ^= 1
        content = content[: max(1, int(cut * len(content)))] if cut < 0.5 else content
    try:
        found = rows_of(path, ending, bytes(content))
    except DataError:
        return
    assert [row.line for row in found][:1] in ([1], [2])  # a workbook's first row is its header
    assert len(found) == n


def document(ending, n):
    rows = [{"text": f"text number {i}", "label": LABELS[i % 3]} for i in range(n)]
    out = io.BytesIO()
    if ending == ".json":
        return json.dumps(rows).encode()
    if ending == ".tmx":
        units = "".join(
            f"<tu><tuv xml:lang='en'><seg>{r['text']}</seg></tuv><tuv xml:lang='de'><seg>x</seg></tuv></tu>"
            for r in rows
        )
        return f"<tmx version='1.4'><body>{units}</body></tmx>".encode()
    if ending == ".xlsx":
        import openpyxl

        book = openpyxl.Workbook()
        for row in [["text", "label"], *([r["text"], r["label"]] for r in rows)]:
            book.active.append(row)
        book.save(out)
    elif ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), out)
    else:
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
    return out.getvalue()


def test_a_long_file_with_every_kind_of_damage(path):
    """Four thousand lines, some hundred of them damaged: what is used and what is named are all of them."""
    rng = random.Random(3)
    rows = [(f"text {i}, of {rng.random():.9f}", LABELS[i % 3]) for i in range(4000)]
    content = damaged(
        written(rows),
        [(rng.choice(["quote", "delimiter", "NUL", "byte", "line end"]), rng.random()) for _ in range(150)],
        ",",
    )
    found = rows_of(path, ".csv", content)
    assert_every_line_is_accounted_for(content, found, is_header_or_blank)
    assert sum(not row.problem for row in found) > 3700


@settings(deadline=None, max_examples=60)
@given(
    shape=st.lists(st.lists(st.integers(1, 3), max_size=3), min_size=1, max_size=3),
    lost=st.sets(st.sampled_from(["id", "question", "context", "text", "answer_start"])),
    rng=st.randoms(use_true_random=False),
)
def test_every_question_of_a_damaged_squad_file_is_used_or_named(path, shape, lost, rng):
    ids = iter(range(100))

    def without_lost(node):
        return {key: value for key, value in node.items() if key not in lost or rng.random() < 0.5}

    def question():
        answer = without_lost({"text": "cat", "answer_start": 2})
        return without_lost({"id": f"q{next(ids)}", "question": "who?", "answers": [answer]})

    articles = [
        {
            "paragraphs": [
                without_lost({"context": "a cat", "qas": [question() for _ in range(n)]}) for n in article
            ]
        }
        for article in shape
    ]
    found = rows_of(path, ".json", json.dumps({"data": articles}).encode())
    assert [row.line for row in found] == list(range(1, sum(map(sum, shape)) + 1))
    assert all(row.problem or row.values["id"].startswith("q") for row in found)
