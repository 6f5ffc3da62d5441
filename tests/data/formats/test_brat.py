import pytest

from tunesmith.data.reading import fingerprint_of, read_rows, source_files

TEXT = "Ada Byron lives\nin Łódź 🚲 now.\n"
ANN = "T1\tPER 0 9\tAda Byron\nT2\tLOC 19 23\tŁódź\nR1\tlives-in Arg1:T1 Arg2:T2\t\n#1\tAnnotatorNotes T1\tsure\n"


@pytest.fixture
def folder(tmp_path):
    def make(files):
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content, encoding="utf-8", newline="")
        notices = []
        return [(file.rpartition("/")[2], row) for file, row in read_rows(str(tmp_path), notices)], notices

    return make


def test_a_document_and_its_entities_are_a_row(folder, tmp_path):
    found, notices = folder({"a.txt": TEXT, "a.ann": ANN, "deep/b.txt": "none", "deep/b.ann": ""})
    assert [(file, row.values) for file, row in found] == [
        ("a.txt", {"text": TEXT, "entities": [[0, 9, "PER"], [19, 23, "LOC"]]}),
        ("b.txt", {"text": "none", "entities": []}),
    ]
    assert notices == [
        f"only entities of the annotations in `{tmp_path}` are read, and not 1 relations, 1 notes"
    ]
    assert len(source_files(str(tmp_path))) == 4
    assert fingerprint_of(str(tmp_path))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("T1\tPER 0 3\tByron", "the entity 0 to 3 is `Ada` in the text, and not `Byron`."),
        (
            "T1\tPER 0 3;10 15\tAda lives",
            "the entity `Ada lives` is in several pieces, and an entity is one run",
        ),
        ("T1 PER 0 3 Ada", "it is not an annotation of brat"),
    ],
)
def test_an_entity_that_cannot_be_used_is_named_by_its_line(folder, line, problem):
    found, _ = folder({"a.txt": TEXT, "a.ann": f"T0\tPER 0 9\tAda Byron\n{line}\n"})
    assert [(file, row.line, row.problem[: len(problem)]) for file, row in found] == [("a.ann", 2, problem)]


def test_a_text_or_its_annotations_alone_are_named(folder):
    found, _ = folder({"a.txt": TEXT, "b.ann": "", "c.txt": TEXT, "c.ann": ANN})
    assert [(file, row.problem) for file, row in found][:2] == [
        ("a.txt", "`a.ann` is not beside it."),
        ("b.ann", "`b.txt` is not beside it."),
    ]
