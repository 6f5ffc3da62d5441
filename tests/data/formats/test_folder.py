import gzip

import pytest

from tunesmith.data.preparing import find_splits
from tunesmith.data.reading import fingerprint_of, read_rows, source_files
from tunesmith.errors import DataError
from tunesmith.recipe import DataRecipe, Recipe


@pytest.fixture
def folder(tmp_path):
    def make(files):
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return make


def values(source):
    return [row.values for _, row in read_rows(str(source))]


def test_one_folder_a_class(folder):
    found = folder({"good/1.txt": "fine bike\n\nreally", "bad/1.txt": "flat tyre", "notes.md": "no text"})
    assert values(found) == [
        {"text": "flat tyre", "label": "bad"},
        {"text": "fine bike\n\nreally", "label": "good"},
    ]
    assert values(f"file://{found}") == values(found)
    assert len(source_files(str(found))) == 3


def test_a_class_may_hold_empty_and_wrong_texts(folder):
    found = [row for _, row in read_rows(str(folder({"a/1.txt": "", "a/2.txt": b"\xff", "a/3.txt": "x"})))]
    assert [row.problem for row in found] == ["", "not UTF-8.", ""]
    assert found[0].values == {"text": "", "label": "a"}


def test_texts_that_lie_otherwise_are_running_text(folder):
    found = folder({
        "b.txt": "b" * 9000 + "\n\n" + "c" * 9000,
        "a/deep/er.text": "deep",
        "a/1.txt": "one\n\ntwo",
        "empty.txt": "",
        "z.txt.gz": gzip.compress(b"packed"),
        ".hidden/copy.txt": "no",
        "a/._1.txt": b"\x00\x05",
    })  # fmt: skip
    rows = [(file.removeprefix(f"{found}/"), row.line, row.values) for file, row in read_rows(str(found))]
    assert rows == [
        ("a/1.txt", 1, {"text": "one\n\ntwo"}),
        ("a/deep/er.text", 1, {"text": "deep"}),
        ("b.txt", 1, {"text": "b" * 9000 + "\n\n"}),
        ("b.txt", 3, {"text": "c" * 9000}),
        ("z.txt.gz", 1, {"text": "packed"}),
    ]


def test_a_folder_without_texts(folder):
    with pytest.raises(DataError, match=r"holds no `LABEL/\*\.txt`"):
        values(folder({"a/data.csv": "text\nx\n"}))


def test_the_name_of_a_class_is_part_of_the_fingerprint(folder):
    found = folder({"good/1.txt": "x", "bad/2.txt": "y"})
    before = fingerprint_of(str(found))
    assert fingerprint_of(str(found)) == before
    (found / "good").rename(found / "fine")
    assert fingerprint_of(str(found)) != before


def test_a_link_out_of_the_folder_is_refused_and_one_within_is_read(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.txt"
    outside.write_text("a secret")
    found = folder({"good/1.txt": "fine bike", "bad/1.txt": "flat tyre"})
    (found / "good" / "2.txt").symlink_to(found / "good" / "1.txt")
    assert [row["text"] for row in values(found)] == ["flat tyre", "fine bike", "fine bike"]
    (found / "good" / "3.txt").symlink_to(outside)
    with pytest.raises(DataError, match=r"must hold its files itself, and `.*3\.txt` is in") as refused:
        values(found)
    assert "a secret" not in str(refused.value)


def test_a_link_to_a_split_elsewhere_is_refused(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "rows.csv"
    outside.write_text("text,label\na,b\n")
    found = folder({"test.csv": "text,label\na,b\n"})
    (found / "train.csv").symlink_to(outside)
    with pytest.raises(DataError, match="must hold its files itself"):
        find_splits(Recipe(task="text-classification", data=DataRecipe(train=[str(found)])))


def test_a_snapshot_of_the_hub_cache_is_read(folder):
    found = folder(
        {"datasets--a--b/blobs/1": "fine bike", "datasets--a--b/snapshots/c0ffee/data/good/.x": ""}
    )
    home = found / "datasets--a--b" / "snapshots" / "c0ffee"
    (home / "data" / "good" / "1.txt").symlink_to("../../../../blobs/1")
    assert values(home / "data") == [{"text": "fine bike", "label": "good"}]
