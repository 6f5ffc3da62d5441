import pytest

from tunesmith.data.reading import read_rows

SENTENCE = """# sent_id = 1
# text = Vámonos al mar, Ada
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\tv\t_\t0\troot\t_\tNER=O
2\tnos\tnosotros\tPRON\tp\t_\t1\tobj\t_\tNER=O
3\tmar\tmar\tNOUN\tn\t_\t1\tobl\t_\tSpaceAfter=No|NER=B-LOC
3.1\tempty\t_\t_\t_\t_\t_\t_\t_\t_
4\tAda\tAda\tPROPN\tn\t_\t1\tvocative\t_\tNER=B-PER
"""


@pytest.fixture
def read(tmp_path):
    def read(text, name="a.conllu"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        notices = []
        return [row for _, row in read_rows(str(tmp_path / name), notices)], notices

    return read


def test_words_and_their_columns(read):
    found, _ = read(SENTENCE + "\n" + SENTENCE)
    assert [(row.line, row.n_lines) for row in found] == [(3, 6), (12, 6)]
    assert found[0].values == {
        "tokens": ["Vamos", "nos", "mar", "Ada"],
        "lemmas": ["ir", "nosotros", "mar", "Ada"],
        "upos": ["VERB", "PRON", "NOUN", "PROPN"],
        "xpos": ["v", "p", "n", "n"],
        "deprel": ["root", "obj", "obl", "vocative"],
        "tags": ["O", "O", "B-LOC", "B-PER"],
    }


def test_a_conll_file_that_is_conllu(read):
    found, notices = read(SENTENCE, "a.conll")
    assert found[0].values["tags"] == ["O", "O", "B-LOC", "B-PER"]
    assert "is read as CoNLL-U" in notices[0]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1\ta\tb", "line 1 has 3 columns, and CoNLL-U has 10."),
        ("x\ta" + "\t_" * 8, "line 1 begins with `x`, and not with the number of a word."),
        ("1-2\ta" + "\t_" * 8, "the sentence has no word."),
    ],
)
def test_faults_name_the_line(read, line, problem):
    assert [row.problem for row in read(line + "\n")[0]] == [problem]


def test_sentences_of_a_document_are_known(read):
    found, _ = read(f"# newdoc id = a\n{SENTENCE}\n{SENTENCE}\n# newdoc\n{SENTENCE}")
    assert [row.values["document"].rpartition(":")[2] for row in found] == ["1", "1", "20"]
