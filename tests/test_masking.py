import pytest

from tunesmith import masking
from tunesmith.errors import DataError, RecipeError
from tunesmith.masking import (
    fill_variables,
    hide_secrets,
    is_masked,
    masked_argument,
    masked_source,
    masked_text,
    masked_values,
    shown_url,
)

SECRET = [
    ("postgresql://ann:s3cret@host/shop#SELECT a FROM b", "postgresql://ann:***@host/shop#SELECT a FROM b"),
    ("postgresql://ann:a@s3cret@host/shop#SELECT 1", "postgresql://ann:***@host/shop#SELECT 1"),
    ("postgresql://ann:a#s3cret@host/shop#SELECT 1", "postgresql://ann:***@host/shop#SELECT 1"),
    ("postgresql://ann:a?s3cret@host/shop#SELECT 1", "postgresql://***#SELECT 1"),
    ("postgresql://ann:a\ns3cret@host/shop", "postgresql://ann:***@host/shop"),
    ("s3://key:s3cret/with+slash@bucket/a.csv", "s3://key:***@bucket/a.csv"),
    ("https://ann:s3cret@host/a.csv", "https://ann:***@host/a.csv"),
    ("https://s3cret@host/a.csv?sig=s3cret&download=1", "https://***@host/a.csv?sig=***&download=1"),
    ("HTTPS://s3cret@host/a.csv", "HTTPS://***@host/a.csv"),
    ("https://host/a.csv?s3cret", "https://host/a.csv?***"),
    ("https://host/a.csv?X-Amz-Signature=s3cret&X-Amz-Date=1", "https://host/a.csv?X-Amz-Signature=***&X-Amz-Date=***"),
    ("sqlite:///a.db?password=s3cret&mode=ro#SELECT 1", "sqlite:///a.db?password=***&mode=ro#SELECT 1"),
    ("mssql+pyodbc:///?odbc_connect=PWD%3Ds3cret#SELECT 1", "mssql+pyodbc:///?odbc_connect=***#SELECT 1"),
    ("mysql://ann:s3cret@h/x#SELECT 'http://bob:s3cret@h'", "mysql://ann:***@h/x#SELECT 'http://bob:***@h'"),
]  # fmt: skip
PLAIN = [
    "train.csv",
    "shop.db#SELECT text FROM mail WHERE sender LIKE '%@host'",
    "postgresql://ann:${PASSWORD}@host/shop?password=${OTHER}#SELECT 1",
    "https://${TOKEN}@host/a.csv?key=${KEY}",
    "${DB_URL}#SELECT 1",
    "hf://datasets/ann/reviews@main/a.csv",
    "postgresql://localhost:5432/shop#SELECT '@'",
    "parallel:train.{en,de}",
    "s3://bucket/folder/a.csv",
]


@pytest.mark.parametrize(("source", "masked"), SECRET)
def test_secrets_of_a_source_are_masked_and_the_rest_stays(source, masked):
    assert masked_source(source) == masked
    assert "s3cret" not in shown_url(source.partition("#SELECT")[0])
    assert masked_argument(f"data.train={source}") == f"data.train={masked}"
    assert masked_argument(source) == masked
    assert is_masked(masked)
    assert masked_source(masked) == masked


@pytest.mark.parametrize("source", PLAIN)
def test_what_holds_no_secret_stays_as_it_is(source):
    assert masked_source(source) == masked_argument(source) == masked_text(source) == source
    assert not is_masked(source)


def test_texts_and_nested_values_are_masked_where_a_url_stands_in_them():
    url = "postgresql://ann:s3cret@host/shop"
    assert masked_text(f"`{url}` and '{url}', {url}") == masked_text(
        "`{0}` and '{0}', {0}".format("postgresql://ann:***@host/shop")
    )
    tree = {"data": {"train": [url], "validation": 0.1, "test": None}}
    assert masked_values(tree) == {
        "data": {"train": ["postgresql://ann:***@host/shop"], "validation": 0.1, "test": None}
    }


def test_no_error_shows_a_password():
    error = RecipeError(
        "got `https://ann:s3cret@host/x?token=s3cret`.",
        remedy="s3://key:s3cret@b",
        location="ftp://a:s3cret@h",
    )
    assert "s3cret" not in str(error) + error.rule + error.remedy + error.location + repr(error)


def test_variables_are_filled_in_and_a_password_is_quoted(monkeypatch):
    monkeypatch.setenv("PW", "a/b@c")
    monkeypatch.setenv("FOLDER", "/data/x")
    assert fill_variables("postgresql://ann:${PW}@host") == "postgresql://ann:a%2Fb%40c@host"
    assert fill_variables("https://${PW}@host") == "https://a%2Fb%40c@host"
    assert fill_variables("${FOLDER}/a.csv") == "/data/x/a.csv"
    monkeypatch.delenv("PW")
    with pytest.raises(KeyError, match="PW"):
        fill_variables("${PW}")


def test_what_a_library_says_shows_no_value_of_a_variable(monkeypatch):
    monkeypatch.setenv("TOKEN", "s3cret")
    url = "https://host/${TOKEN}/a.csv?key=${TOKEN}"
    assert (
        hide_secrets("404 for https://host/s3cret/a.csv?key=s3cret", url)
        == "404 for https://host/***/a.csv?***"
    )


def test_variables_stand_in_every_kind_of_source(monkeypatch, tmp_path):
    import fsspec

    from tunesmith.data.reading import fingerprint_of, read_rows, source_files, source_name

    (tmp_path / "a.csv").write_text("text,label\nx,1\n")
    (tmp_path / "t.en").write_text("one\n")
    (tmp_path / "t.de").write_text("eins\n")
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "1.txt").write_text("fine")
    monkeypatch.setenv("PLACE", str(tmp_path))
    with fsspec.open("memory://s3cret/a.csv", "w") as handle:
        handle.write("text,label\nx,1\n")
    monkeypatch.setenv("TOKEN", "s3cret")
    monkeypatch.setenv("ENDING", "csv")
    for source in (
        "${PLACE}/a.csv", "file://${PLACE}/a.csv", "parallel:${PLACE}/t.{en,de}", "${PLACE}/good",
        "memory://${TOKEN}/a.${ENDING}",
    ):  # fmt: skip
        ((name, row),) = read_rows(source)
        assert row.values
        assert "s3cret" not in name + source_name(source)
        assert fingerprint_of(source)
    assert source_files("${PLACE}/a.csv") == [tmp_path / "a.csv"]
    with pytest.raises(DataError, match="needs the environment variable NOWHERE, which is not set"):
        list(read_rows("${NOWHERE}/a.csv"))


def test_a_masked_source_says_what_to_write_instead():
    from tunesmith.data.reading import read_rows

    with pytest.raises(DataError, match="recorded without its password") as raised:
        list(read_rows(masking.masked_source("postgresql://ann:s3cret@host/shop#SELECT 1")))
    assert "${NAME}" in raised.value.remedy
