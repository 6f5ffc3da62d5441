import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.reading import read_rows


@pytest.fixture
def rows(tmp_path):
    def read(text, name="a.conll"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return [row for _, row in read_rows(str(tmp_path / name))]

    return read


def sentences(found):
    return [
        list(zip(row.values["tokens"], row.values["tags"], strict=True)) for row in found if not row.problem
    ]


@pytest.mark.parametrize("name", ["a.conll", "a.bio", "a.iob", "a.iob2", "a.bioes", "A.CONLL"])
def test_sentences_stand_between_blank_lines(rows, name):
    found = rows("\nEU\tB-ORG\nrejects\tO\n\n\nPeter\tB-PER\n", name)
    assert sentences(found) == [[("EU", "B-ORG"), ("rejects", "O")], [("Peter", "B-PER")]]
    assert [(row.line, row.unit) for row in found] == [(2, "line"), (6, "line")]


def test_lines_of_blanks_and_tabs_are_blank_too(rows):
    assert len(rows("a O\n\t\nb O\n  \t \nc O\r\n\r\nd O")) == 4


def test_the_token_is_the_first_column_and_the_tag_the_last(rows):
    assert sentences(rows("EU NNP  I-NP B-ORG \nrejects VBZ I-VP O\n")) == [
        [("EU", "B-ORG"), ("rejects", "O")]
    ]
    assert sentences(rows("New York\tNNP\tB-LOC\n")) == [[("New York", "B-LOC")]]


def test_a_token_may_be_a_blank_that_parts_no_columns(rows):
    assert sentences(rows("a\u00a0b O\n\u00a0\tO\n")) == [[("a\u00a0b", "O"), ("\u00a0", "O")]]


@pytest.mark.parametrize("tag", ["O", "B-PER", "I-PER", "E-x", "S-x", "L-x", "U-x", "M-x", "B-creative-work"])
def test_tags_of_every_scheme_are_kept_as_they_stand(rows, tag):
    assert rows(f"a\t{tag}\n")[0].values["tags"] == [tag]


@pytest.mark.parametrize("tag", ["B", "B-", "PER", "X-PER", "b-PER", "o", "0", "I_PER"])
def test_what_is_no_tag_is_a_fault_of_its_sentence(rows, tag):
    bad, good = rows(f"a\tO\nb\t{tag}\n\nc\tO\n")
    assert bad.line == 1
    assert bad.problem.startswith(f"line 2 has the tag `{tag}`; a tag is O")
    assert not good.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a b O\nc O\n", "line 2 has 2 columns, the sentence's first line has 3."),
        ("a O\nb\n", "line 2 has 1 columns, the sentence's first line has 2."),
        ("a O\n# a comment within\n", "line 2 has 4 columns, the sentence's first line has 2."),
        ("a\t\nb\t\n", "line 1 has no tag: `a` must be followed by a tab or a space, and a tag."),
        ("a\tO\n\tO\n", "line 2 has no token."),
        (b"a\tO\nb\xff\tO\n", "line 2 is not UTF-8."),
    ],
)
def test_faults_name_the_line(rows, text, problem):
    assert [row.problem for row in rows(text)] == [problem]


def test_document_starts_are_passed_over(rows):
    found = rows("-DOCSTART- -X- O O\n\nEU NNP B O\n-DOCSTART- -X- O O\na b c O\n")
    assert sentences(found) == [[("EU", "O")], [("a", "O")]]


def test_comments_are_passed_over_and_the_token_is_not(rows):
    text = "# id = 1\n# text = He runs\nHe\tO\n\n#\tO\n1\tO\n\n# sent_id = O\na\tO\n\n# alone\n\n#Win O\n"
    assert sentences(rows(text)) == [[("He", "O")], [("#", "O"), ("1", "O")], [("a", "O")], [("#Win", "O")]]


def test_a_comment_that_looks_like_a_token_of_too_few_columns_is_not_lost(rows):
    assert rows("# O\na NN O\n")[0].problem == "line 2 has 3 columns, the sentence's first line has 2."


TOKENS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1).filter(
    lambda token: token.strip() and not token.startswith(("-DOCSTART-", "\ufeff"))
)
SENTENCES = st.lists(
    st.lists(st.tuples(TOKENS, st.sampled_from(["O", "B-A", "I-B"])), min_size=1, max_size=4), min_size=1
)


@given(written=SENTENCES, separator=st.sampled_from(["\t", " ", "   "]))
def test_what_was_written_is_read(tmp_path_factory, written, separator):
    file = tmp_path_factory.mktemp("conll") / "a.conll"
    blocks = ["".join(f"{token}{separator}{tag}\n" for token, tag in sentence) for sentence in written]
    file.write_text("\n".join(blocks), encoding="utf-8")
    assert sentences([row for _, row in read_rows(str(file))]) == written


@pytest.mark.parametrize(
    ("name", "n_sentences", "n_tokens"),
    [
        ("ncbi_disease/train.conll", 5424, 135_701),
        ("ncbi_disease/validation.conll", 923, 23_969),
        ("ncbi_disease/test.conll", 940, 24_497),
        ("wnut17/train.conll", 3394, 62_730),
        ("wnut17/validation.conll", 1009, 15_733),
        ("wnut17/test.conll", 1287, 23_394),
        ("wikigold/train.conll", 1046, 25_121),
        ("wikigold/validation.conll", 106, 2_186),
        ("wikigold/test.conll", 544, 11_700),
    ],
)
def test_published_sets_have_the_rows_of_their_readme(shared, name, n_sentences, n_tokens):
    found = [row for _, row in read_rows(str(shared / "data" / name))]
    assert not [row.problem for row in found if row.problem]
    assert len(found) == n_sentences
    assert sum(len(row.values["tokens"]) for row in found) == n_tokens


def test_a_document_begins_at_its_line_and_names_its_sentences(rows):
    found = rows("-DOCSTART- -X- O O\n\na O\n\nb O\n\n-DOCSTART-\nc O\n")
    assert [row.values["document"].rpartition("/")[2] for row in found] == [
        "a.conll:1",
        "a.conll:1",
        "a.conll:7",
    ]
    assert ["document" in row.values for row in rows("a O\n\n-DOCSTART- O\n\nb O\n")] == [False, True]
