"""Where files may lie and how they may be packed: fsspec and compression, on every format alike."""

import bz2
import gzip
import hashlib
import io
import lzma

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.data.formats._files import DataFile
from tunesmith.data.reading import fingerprint_of, read_rows, source_files, source_name
from tunesmith.errors import DataError

ROWS = [{"text": "a bike", "label": "x"}, {"text": "dé 🚲", "label": "y"}]
CSV = "text,label\na bike,x\ndé 🚲,y\n".encode()
# Well beyond the first bytes that are looked at to tell text from a binary file.
LONG = "".join(f"text {i * 7919 % 1000003} {i},x\n" for i in range(30000)).encode()


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}
KINDS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard"}


def values(source):
    return [row.values for _, row in read_rows(str(source))]


def parquet():
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    return sink.getvalue()


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")

    def put(name, content):
        system.pipe(f"/data/{name}", content)
        return f"memory://data/{name}"

    yield put
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def online(monkeypatch):
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize(("ending", "content"), [("csv", CSV), ("parquet", parquet())])
def test_packed_files_read_as_the_plain_ones(tmp_path, memory, packing, ending, content):
    name, packed = f"a.{ending}{packing}", PACKERS[packing](content)
    (tmp_path / name).write_bytes(packed)
    assert values(tmp_path / name) == ROWS
    assert values(memory(name.upper(), packed)) == ROWS


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet", "arrow", "conll", "txt"])
def test_a_packed_file_that_is_cut_off_is_damaged(tmp_path, packing, ending):
    file = tmp_path / f"a.{ending}{packing}"
    file.write_bytes(PACKERS[packing](LONG)[:-5000])
    with pytest.raises(DataError, match=f"is a damaged {KINDS[packing]} file"):
        values(file)


@pytest.mark.parametrize("packing", PACKERS)
def test_a_file_that_is_not_packed_is_damaged(tmp_path, packing):
    (tmp_path / f"a.csv{packing}").write_bytes(CSV)
    with pytest.raises(DataError, match=f"is a damaged {KINDS[packing]} file"):
        values(tmp_path / f"a.csv{packing}")


@pytest.mark.parametrize("packing", PACKERS)
def test_parts_packed_one_after_the_other_are_one_file(tmp_path, packing):
    head, body = CSV.split(b"\n", 1)
    packer = PACKERS[packing]
    (tmp_path / f"a.csv{packing}").write_bytes(packer(head + b"\n") + packer(body))
    assert values(tmp_path / f"a.csv{packing}") == ROWS


def test_files_elsewhere_are_read_by_their_endings(memory):
    assert values(memory("a.csv", CSV)) == ROWS
    assert values(memory("a.jsonl", b'{"text": "a"}\n')) == [{"text": "a"}]
    assert values(memory("a.parquet", parquet())) == ROWS
    assert values(memory("a.txt", b"plain")) == [{"text": "plain"}]
    memory("p.en", b"a\n")
    memory("p.de", b"b\n")
    assert values("parallel:memory://data/p.{en,de}") == [{"en": "a", "de": "b"}]


def test_rows_of_files_elsewhere_have_their_place(memory):
    url = memory("a.csv", CSV)
    assert [row.location(file) for file, row in read_rows(url)] == [f"{url}, line 2", f"{url}, line 3"]


def test_file_urls_are_local_files(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV)
    url = f"file://{tmp_path}/a.csv"
    assert values(url) == ROWS
    assert source_files(url) == [tmp_path / "a.csv"]
    assert source_name(url) == str(tmp_path / "a.csv")


def test_the_fingerprint_is_of_the_content_wherever_it_lies(tmp_path, memory):
    (tmp_path / "a.csv").write_bytes(CSV)
    url = memory("a.csv", CSV)
    assert source_files(url) == []
    assert fingerprint_of(url) == fingerprint_of(str(tmp_path / "a.csv")) == hashlib.sha256(CSV).digest()


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize("url", ["https://host/a.csv", "s3://bucket/a.csv", "hf://datasets/a/b/c.parquet"])
def test_the_network_may_be_forbidden(online, monkeypatch, memory, variable, url):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(DataError, match=f"is on the network, which {variable} forbids"):
        values(url)
    with pytest.raises(DataError, match="forbids"):
        fingerprint_of(url)
    assert values(memory("a.csv", CSV)) == ROWS


@pytest.mark.parametrize(
    ("scheme", "package", "named"),
    [
        ("s3", "s3fs", r"'tunesmith\[s3\]'"),
        ("gs", "gcsfs", r"'tunesmith\[gs\]'"),
        ("abfs", "adlfs", r"'tunesmith\[azure\]'"),
        ("sftp", "paramiko", "paramiko"),
    ],
)
def test_a_missing_package_is_named_with_its_command(online, monkeypatch, scheme, package, named):
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=f"`pip install {named}`"):
        values(f"{scheme}://bucket/a.csv")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://nothing.csv", "no such file: `memory://nothing.csv`"),
        ("memory://nothing", "no such file: `memory://nothing`"),
        ("simplecache::memory://a.csv", "no such file"),
        ("filecache://x::memory://a.csv", "is a chain of addresses"),
    ],
)
def test_what_cannot_be_opened(online, url, message):
    with pytest.raises(DataError, match=message):
        values(url)


class _Stubborn(fsspec.AbstractFileSystem):
    """A file system that cannot seek, and whose errors tell the address."""

    protocol = "stubborn"

    def _open(self, path, mode="rb", **_):
        if "refused" in path:
            raise RuntimeError("refused ann:s3cret@host?token=s3cret as s3cret")
        return _Stream(parquet() if path.endswith("parquet") else CSV, breaks="broken" in path)


class _Stream(io.RawIOBase):
    def __init__(self, content, breaks):
        self._rest, self._breaks = content, breaks

    def readable(self):
        return True

    def readinto(self, buffer):
        if self._breaks and len(self._rest) < len(CSV):
            raise ConnectionResetError("the line went dead")
        data, self._rest = self._rest[:10], self._rest[10:]
        buffer[: len(data)] = data
        return len(data)

    def seek(self, *_):
        raise ValueError("Cannot seek streaming HTTP file")


@pytest.fixture
def stubborn(online):
    fsspec.register_implementation("stubborn", _Stubborn, clobber=True)


def test_a_stream_that_cannot_be_sought_in_is_read_all_the_same(stubborn):
    assert values("stubborn://host/a.csv") == ROWS
    assert values("stubborn://host/a.parquet") == ROWS


def test_a_line_that_goes_dead_is_an_error_of_the_data(stubborn):
    with pytest.raises(DataError, match="cannot be read to its end: the line went dead"):
        values("stubborn://host/broken.csv")


def test_passwords_and_tokens_of_addresses_are_never_shown(stubborn):
    url = "stubborn://ann:s3cret@host/refused.csv?token=s3cret"
    with pytest.raises(DataError) as raised:
        values(url)
    assert "s3cret" not in str(raised.value)
    assert source_name(url) == "stubborn://ann:***@host/refused.csv"
    assert source_name("https://s3cret@host/a.csv?sig=s3cret") == "https://***@host/a.csv"


def test_the_ending_of_a_web_address_is_that_of_its_path(online, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    with pytest.raises(DataError, match="needs a package that is not installed"):
        values("https://host/a.csv?download=true.exe")


@pytest.mark.parametrize("packing", ["gz", "xz", "bz2", "zip"])
def test_a_file_that_unpacks_to_far_more_than_text_does_is_refused(tmp_path, monkeypatch, packing):
    import bz2
    import gzip
    import lzma
    import zipfile

    from tunesmith.data.formats import _packing

    monkeypatch.setattr(_packing, "_FREE_BYTES", 2**16)
    bomb, file = b"text,label\n" + b"a" * 8_000_000, tmp_path / f"rows.csv.{packing}"
    if packing == "zip":
        file = tmp_path / "rows.zip"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("rows.csv", bomb)
    else:
        file.write_bytes({"gz": gzip, "xz": lzma, "bz2": bz2}[packing].compress(bomb))
    opened = DataFile(str(file))
    opened.enter_archive([".csv"])
    with pytest.raises(DataError, match="more than 200 bytes for each compressed byte"):
        opened.open_bytes().read()


def _repeated(path, kind, n_rows, n_characters):
    """Writes rows that all have one text of one letter, in a small file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    one = pa.DictionaryArray.from_arrays(pa.array([0] * n_rows, pa.int32()), pa.array(["a" * n_characters]))
    table = pa.table({"text": one if kind.startswith("dictionary") else one.dictionary_decode()})
    if kind.endswith("parquet"):
        pq.write_table(table, path, compression="zstd", use_dictionary=kind.startswith("dictionary"))
        return
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "dictionary.parquet", "dictionary.arrow"])
def test_columns_that_unpack_to_far_more_than_text_does_are_refused(tmp_path, monkeypatch, kind):
    from tunesmith.data.formats import _packing

    file = tmp_path / f"rows.{kind.rpartition('.')[2]}"
    _repeated(file, kind, 200, 10_000)
    assert file.stat().st_size < 20_000
    assert len(values(str(file))) == 200
    monkeypatch.setattr(_packing, "_FREE_BYTES", 2**16)
    monkeypatch.setattr(_packing, "_MOST_RATIO", 20)
    with pytest.raises(DataError, match="more than 20 bytes for each compressed byte"):
        values(str(file))


@pytest.mark.parametrize("kind", ["dictionary.parquet", "dictionary.arrow"])
def test_columns_are_refused_before_they_take_the_memory(tmp_path, monkeypatch, kind):
    import resource

    from tunesmith.data.formats import _packing, arrow

    monkeypatch.setattr(_packing, "_FREE_BYTES", 2**16)
    monkeypatch.setattr(_packing, "_MOST_RATIO", 20)
    monkeypatch.setattr(arrow, "_SLACK_BYTES", 2**20)
    file = tmp_path / f"rows.{kind.rpartition('.')[2]}"
    _repeated(file, kind, 1000, 1_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="more than 20 bytes for each compressed byte"):
        values(str(file))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
