"""Rows of a database: `URL#QUERY` with any URL that SQLAlchemy knows, or `FILE.db#QUERY` for SQLite.

A password does not belong in a recipe: `${NAME}` in the URL stands for an environment variable. Rows are streamed,
nothing is committed, and SQLite files are opened read-only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tunesmith.data.formats import Row, SourceFormat
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._remote import filled, is_file_system, scheme_of
from tunesmith.errors import DataError
from tunesmith.masking import hide_secrets, shown_url

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, CursorResult

    from tunesmith.types import JsonObject

_FILE_ENDINGS = (".db", ".sqlite", ".sqlite3")
_BUFFERED_ROWS = 1000
# Packages whose name differs from that of the missing module.
_PACKAGES = {"psycopg2": "psycopg2-binary", "psycopg": "'psycopg[binary]'", "MySQLdb": "mysqlclient"}


def _claims(source: str) -> bool:
    head, mark, _ = source.partition("#")
    if scheme := scheme_of(head):
        return not is_file_system(scheme)
    return head.lower().endswith(_FILE_ENDINGS) or (head.startswith("${") and bool(mark))


def _name(source: str) -> str:
    return shown_url(source.partition("#")[0])


def _rows(source: str, notices: list[str]) -> Iterator[tuple[str, Row]]:
    name = _name(source)
    for number, values in enumerate(_records(source), start=1):
        yield name, Row(number, values, unit="row")


def _fingerprint(source: str) -> bytes:
    digest = hashlib.sha256()
    for values in _records(source):
        digest.update(json.dumps(values, default=_plain).encode() + b"\n")
    return digest.digest()


def _plain(value: object) -> str:
    """The text of a value that JSON does not have: bytes in hexadecimal, dates and decimals as written."""
    return bytes(value).hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)


def _files(source: str) -> list[Path]:
    path = _sqlite_path(_url(source))
    return [path] if path else []


def _records(source: str) -> Iterator[JsonObject]:
    name, query, url = _name(source), _query(source), _url(source)
    from sqlalchemy.exc import SQLAlchemyError  # after `_url` has checked that it is installed

    with _connection(url, name) as connection:
        try:
            result = connection.exec_driver_sql(query)
            names = _column_names(result, name)
            for row in result:
                yield dict(zip(names, row, strict=True))
        except SQLAlchemyError as error:
            raise DataError(
                f"the database refuses the query: {_said(error, url)}.",
                remedy="Fix the query after the `#`.",
                location=name,
            ) from None


def _query(source: str) -> str:
    query = source.partition("#")[2].strip()
    if not query:
        raise DataError(
            f"a database needs a query, and `{_name(source)}` has none.",
            remedy=f"Write it after a `#`: `{_name(source)}#SELECT text, label FROM …`.",
        )
    return query


def _column_names(result: CursorResult[tuple[object, ...]], name: str) -> list[str]:
    if not result.returns_rows:
        raise DataError(
            "the query returns no rows.", remedy="Give a query that reads: `SELECT … FROM …`.", location=name
        )
    names = list(result.keys())
    twice = [column for column in names if names.count(column) > 1]
    if twice:
        raise DataError(
            f"the names of columns must differ, and the query returns two called `{twice[0]}`.",
            remedy=f"Rename one of them: `{twice[0]} AS …`.",
            location=name,
        )
    return names


def _url(source: str) -> URL:
    """The URL of a source, with variables replaced, and read-only for SQLite.

    Raises:
        DataError: it is not a URL, a variable or the file is missing, or SQLAlchemy is not installed.
    """
    try:
        from sqlalchemy import URL, make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError:
        raise DataError(
            "a database needs SQLAlchemy, which is not installed.", remedy="`pip install 'tunesmith[sql]'`"
        ) from None
    head = source.partition("#")[0]
    written = filled(head)
    if not scheme_of(written):
        return _read_only(URL.create("sqlite", database=written))
    try:
        return _read_only(make_url(written))
    except (ArgumentError, ValueError):
        raise DataError(
            f"`{_name(source)}` is not a database URL.",
            remedy="Write it as `postgresql://user:${PASSWORD}@host/database#SELECT …`.",
        ) from None


def _sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite URL; None for other databases, and for one in memory."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    database = str(url.database)
    is_uri = database.startswith("file:")
    return Path(unquote(database.removeprefix("file:")) if is_uri else database)


def _read_only(url: URL) -> URL:
    """A URL that creates no file: by default, SQLite creates a missing file."""
    path = _sqlite_path(url)
    if path is None:
        return url
    DataFile(str(path)).refuse_missing()
    return url.set(database=path.resolve().as_uri(), query={**url.query, "mode": "ro", "uri": "true"})


@contextlib.contextmanager
def _connection(url: URL, name: str) -> Iterator[Connection]:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        connection = create_engine(url, poolclass=NullPool).connect()
    except NoSuchModuleError:
        raise DataError(
            f"`{url.drivername}://` is neither a known database nor a known file system.",
            remedy="Fix the scheme, or install the package that SQLAlchemy or fsspec needs for it.",
            location=name,
        ) from None
    except ImportError as error:
        package = _PACKAGES.get(error.name or "", error.name)
        raise DataError(
            f"`{url.drivername}://` needs a driver that is not installed: {error}.",
            remedy=f"`pip install {package}`",
            location=name,
        ) from None
    except SQLAlchemyError as error:
        raise DataError(
            f"the database cannot be opened: {_said(error, url)}.",
            remedy="Check the URL, its password, and that the server is running.",
            location=name,
        ) from None
    # Without parameters, the driver does not interpret `%` and `:name` in the query.
    with connection:
        _refuse_attaching(connection, url)
        yield connection.execution_options(
            stream_results=True, max_row_buffer=_BUFFERED_ROWS, no_parameters=True
        )


def _refuse_attaching(connection: Connection, url: URL) -> None:
    """Restricts a query to its own SQLite file: ATTACH would open other files, and create missing ones."""
    if url.get_backend_name() != "sqlite":
        return
    import sqlite3

    def authorize(action: int, *_: str | None) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK

    driver: Any = connection.connection.driver_connection
    driver.set_authorizer(authorize)


def _said(error: Exception, url: URL) -> str:
    """The driver's message, without SQLAlchemy's links and without the password."""
    said = str(getattr(error, "orig", None) or error).strip().rstrip(".")
    return hide_secrets(said, url.render_as_string(hide_password=False))


format = SourceFormat(
    "a database query, `URL#QUERY`",
    claims=_claims,
    rows=_rows,
    files=_files,
    fingerprint=_fingerprint,
    name=_name,
)
