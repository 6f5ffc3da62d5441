import sqlite3
import sys
import warnings

import pytest

from tunesmith.data.reading import fingerprint_of, read_rows, source_files, source_name
from tunesmith.errors import DataError

QUERY = "SELECT text, label FROM reviews ORDER BY rowid"
ROWS = [{"text": "50% off :smile: #1", "label": "good"}, {"text": None, "label": "bad"}]


@pytest.fixture(autouse=True)
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "shop.db")
    return tmp_path / "shop.db"


def write(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE reviews (text TEXT, label TEXT)")
    connection.executemany("INSERT INTO reviews VALUES (:text, :label)", ROWS)
    connection.commit()
    connection.close()


def values(source):
    return [row.values for _, row in read_rows(source)]


def refusal(source):
    with pytest.raises(DataError) as raised:
        values(source)
    return str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "shop.db",
        "sqlite:///shop.db",
        "sqlite+pysqlite:///shop.db",
        "sqlite:///{shop}",
        "{shop}",
        "sqlite:///file:shop.db?mode=rwc&uri=true",
        "sqlite:///shop.db?timeout=3",
    ],
)
def test_rows_of_a_query(shop, url):
    source = f"{url.format(shop=shop)}#{QUERY}"
    assert values(source) == ROWS
    assert [row.location("") for _, row in read_rows(source)] == [", row 1", ", row 2"]
    assert [path.resolve() for path in source_files(source)] == [shop]


@pytest.mark.parametrize("name", ["a.sqlite", "A.DB", "a.sqlite3", "odd %20 ? name.db"])
def test_files_by_their_endings(tmp_path, name):
    write(tmp_path / name)
    assert values(f"{name}#{QUERY}") == ROWS


def test_a_query_is_given_to_the_driver_as_it_stands():
    assert values("shop.db#SELECT text FROM reviews WHERE text LIKE '50%' AND ':x' <> '#%s'") == [
        {"text": ROWS[0]["text"]}
    ]


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    for source in ("no.db#SELECT 1", "sqlite:///no.db#SELECT 1", "sqlite:///file:no.db?uri=true#SELECT 1"):
        assert "no such file: `no.db`" in refusal(source)
    assert not (tmp_path / "no.db").exists()


@pytest.mark.parametrize("query", ["DELETE FROM reviews", "DROP TABLE reviews", "CREATE TABLE x (y)"])
def test_nothing_is_written(query):
    assert "attempt to write a readonly database" in refusal(f"shop.db#{query}")
    assert values(f"shop.db#{QUERY}") == ROWS


@pytest.mark.parametrize("query", ["ATTACH 'other.db' AS other", "VACUUM INTO 'other.db'"])
def test_no_other_file_is_made(tmp_path, query):
    assert "refuses the query" in refusal(f"shop.db#{query}")
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("shop.db", "a database needs a query, and `shop.db` has none"),
        ("sqlite:///shop.db#  ", "`sqlite:///shop.db#SELECT text, label FROM …`"),
        ("shop.db#SELEC 1", "the database refuses the query: near"),
        ("shop.db#SELECT * FROM orders", "no such table: orders"),
        ("shop.db#SELECT text, label AS text FROM reviews", "two called `text`"),
        ("shop.db#PRAGMA cache_size = 10", "the query returns no rows"),
        ("nothing://host/shop#SELECT 1", "`nothing://` is neither a known database nor a known file system"),
        ("postgresql://host:port/x#SELECT 1", "is not a database URL"),
        ("${SHOP_URL}#SELECT 1", "needs the environment variable SHOP_URL"),
    ],
)
def test_what_is_wrong_says_so(source, message):
    assert message in refusal(source)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "a.db").write_bytes(b"no database, but long enough to look into" * 50)
    assert "file is not a database" in refusal("a.db#SELECT * FROM reviews")


def test_a_driver_that_is_missing_is_named_with_its_package(monkeypatch):
    for module in ("psycopg", "psycopg2"):
        monkeypatch.setitem(sys.modules, module, None)
    said = refusal("postgresql+psycopg2://ann:s3cret@host/shop#SELECT 1")
    assert "`pip install psycopg2-binary`" in said
    assert "s3cret" not in said


def test_without_sqlalchemy_the_remedy_is_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    assert "`pip install 'tunesmith[sql]'`" in refusal(f"shop.db#{QUERY}")


def test_variables_of_the_environment_stand_in_the_url(monkeypatch, shop):
    monkeypatch.setenv("SHOP", str(shop))
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{shop}")
    assert values(f"sqlite:///${{SHOP}}#{QUERY}") == ROWS
    assert values(f"${{SHOP_URL}}#{QUERY}") == ROWS
    assert source_name(f"${{SHOP_URL}}#{QUERY}") == "${SHOP_URL}"


@pytest.mark.parametrize("password", ["s3cret", "s3/c?r#e:t", "s3%c@ret"])
def test_a_password_of_the_environment_is_quoted_and_never_shown(monkeypatch, password):
    import sqlalchemy

    seen = []

    def create_engine(url, **_):
        seen.append(url.password)
        raise sqlalchemy.exc.OperationalError("", {}, Exception(f"no entry for ann with {url.password}"))

    monkeypatch.setattr(sqlalchemy, "create_engine", create_engine)
    monkeypatch.setenv("SHOP_PASSWORD", password)
    said = refusal("postgresql://ann:${SHOP_PASSWORD}@host/shop#SELECT 1")
    assert seen == [password]
    assert password not in said
    assert "the database cannot be opened: no entry for ann with ***" in said


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3cret@host/shop",
        "postgresql://ann:s3cret@host/shop?sslpassword=s3cret",
        "postgresql://ann:a@s3cret@host/shop",
        "postgresql://ann:a?s3cret@host/shop",
        "postgresql://host/shop?password=a@s3cret",
        "mssql+pyodbc:///?odbc_connect=PWD%3Ds3cret",
    ],
)
def test_a_password_in_the_url_is_never_shown(url):
    assert "s3cret" not in source_name(f"{url}#SELECT 1")
    assert "s3cret" not in refusal(url)
    assert "s3cret" not in refusal(f"{url}#SELECT 1")


def test_the_fingerprint_is_of_the_rows(shop, tmp_path):
    write(tmp_path / "copy.db")
    before = fingerprint_of(f"shop.db#{QUERY}")
    assert before == fingerprint_of(f"sqlite:///copy.db#{QUERY}")
    assert before != fingerprint_of("shop.db#SELECT label FROM reviews")
    with sqlite3.connect(shop) as connection:
        connection.execute("UPDATE reviews SET label = 'bad'")
    connection.close()
    assert before != fingerprint_of(f"shop.db#{QUERY}")


def test_values_that_json_does_not_hold_have_a_fingerprint():
    assert fingerprint_of("shop.db#SELECT x'00ff' AS a") != fingerprint_of("shop.db#SELECT x'00fe' AS a")


def test_rows_are_streamed_and_the_file_is_closed(shop):
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = read_rows(f"shop.db#{many}")
        assert [next(rows)[1].values["i"] for _ in range(3)] == [1, 2, 3]
        rows.close()
