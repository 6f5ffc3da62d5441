import io
import zipfile
from pathlib import Path

import pytest

from tunesmith.data.formats._archive import choose_member, open_member
from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError


@pytest.fixture
def archive(tmp_path):
    def make(files, name="data.zip"):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as zipped:
            for member, content in files.items():
                zipped.writestr(member, content)
        return str(tmp_path / name)

    return make


def values(source):
    return [row.values for _, row in read_rows(source)]


CSV = "text,label\na,x\n"


def test_the_one_data_file_of_an_archive_is_read(archive):
    source = archive(
        {"export/rows.csv": CSV, "README.md": "about", "__MACOSX/rows.csv": "", "export/.rows.csv": ""}
    )
    assert values(source) == [{"text": "a", "label": "x"}]


def test_of_several_one_must_be_named(archive):
    source = archive({"train.csv": CSV, "test.csv": CSV.replace("a,", "b,")})
    with pytest.raises(DataError, match=r"holds 2 data files\. It holds: `train\.csv`, `test\.csv`"):
        values(source)
    assert values(f"{source}#test.csv") == [{"text": "b", "label": "x"}]
    with pytest.raises(DataError, match=r"holds no `dev\.csv`"):
        values(f"{source}#dev.csv")


@pytest.mark.parametrize("files", [{}, {"notes.md": "nothing"}])
def test_an_archive_without_data(archive, files):
    with pytest.raises(DataError, match="holds 0 data files"):
        values(archive(files))


def test_any_bit_of_an_archive_may_be_wrong(archive):
    """It is read, or a DataError says what is wrong: also in the header of a file, which its opening reads."""
    whole = Path(archive({"rows.csv": CSV})).read_bytes()
    n_refused = 0
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            member = choose_member(io.BytesIO(damaged), "", lambda name: name.endswith(".csv"), "data.zip")
            open_member(io.BytesIO(damaged), member, "data.zip").read()
        except DataError:
            n_refused += 1
    assert n_refused > 4 * len(whole)


def test_what_is_no_archive_or_a_damaged_one(archive, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match="damaged zip file"):
        values(str(tmp_path / "a.zip"))
    source = archive({"a.csv": "text,label\n" + "".join(f"row {i},x\n" for i in range(5000))})
    data = bytearray((tmp_path / "data.zip").read_bytes())
    data[2000] ^= 255
    (tmp_path / "data.zip").write_bytes(data)
    with pytest.raises(DataError, match="damaged zip file"):
        values(source)


def test_files_that_are_packed_though_their_name_does_not_say_so(tmp_path):
    import gzip

    (tmp_path / "a.csv").write_bytes(gzip.compress(CSV.encode()))
    notices = []
    assert [row.values for _, row in read_rows(str(tmp_path / "a.csv"), notices)] == [
        {"text": "a", "label": "x"}
    ]
    assert "is compressed as .gz" in notices[0]


def test_a_link_in_an_archive_is_refused(tmp_path):
    link = zipfile.ZipInfo("rows.csv")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as zipped:
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"`rows\.csv` of `.*` is a link, and not a file"):
        values(str(tmp_path / "data.zip"))
