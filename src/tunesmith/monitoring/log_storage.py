"""Where a prediction log is kept: a folder with SQLite and a Parquet file a day, or a PostgreSQL database.

Both have the same tables, through SQLAlchemy. In a folder, the rows of past days become Parquet: the file is
written whole and gets its name last, and only then its rows leave the database. A kill between the two leaves rows
twice, and the second copy is deleted when the log is opened.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.run.files import sync, write_atomically

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData

    from tunesmith.types import JsonObject

DAY_S = 86_400.0
DATABASE = "predictions.sqlite"
_DAYS = "predictions-*.parquet"
_CHUNK = 500
_TRIES, _AGAIN_S = 5, 0.05
_MOST_ROWS = 100_000
"""Of a file, and of the database between two rotations."""
_TYPES = {
    "number": "int64", "id": "string", "at": "double", "run": "string", "input": "string", "text": "string",
    "answer": "string", "label": "string", "score": "double", "abstained": "bool", "out_of_scope": "bool",
    "truncated": "bool", "tokens": "int64", "seconds": "double",
}  # fmt: skip
"""The columns of the answers, with their types in Parquet."""


def is_refusal(error: Exception) -> bool:
    """Whether a database has refused rows for what they hold, so that trying again is of no use."""
    from sqlalchemy.exc import DataError, IntegrityError

    return isinstance(error, DataError | IntegrityError | OverflowError | ValueError | TypeError)


def _tables() -> MetaData:
    from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, MetaData, String, Table

    big = BigInteger().with_variant(Integer, "sqlite")
    kinds: dict[str, Any] = {"int64": big, "string": String, "double": Float(53), "bool": Boolean}
    tables = MetaData()
    Table(
        "predictions", tables,
        Column("number", big, primary_key=True, autoincrement=True),
        Column("id", String, unique=True, nullable=False),
        Column("at", Float(53), nullable=False, index=True),
        *(Column(name, kinds[kind]) for name, kind in _TYPES.items() if name not in ("number", "id", "at")),
        sqlite_autoincrement=True,
    )  # fmt: skip
    Table(
        "feedback", tables,
        Column("answer", String, primary_key=True), Column("label", String, nullable=False),
        Column("given_by", String), Column("at", Float(53), nullable=False),
    )  # fmt: skip
    Table(
        "differences", tables,
        Column("answer", String, primary_key=True), Column("run", String, primary_key=True),
        Column("at", Float(53), nullable=False, index=True), Column("given", String, nullable=False),
        *(Column(name, kinds[kind]) for name, kind in (("label", "string"), ("score", "double"),
                                                       ("seconds", "double"))),
    )  # fmt: skip
    Table("secrets", tables, Column("name", String, primary_key=True), Column("value", String))
    return tables


def _create(tables: MetaData, engine: Engine) -> None:
    """Makes the tables that are not there; of two servers that begin at once, one finds those of the other."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    for left in range(_TRIES - 1, -1, -1):
        try:
            tables.create_all(engine)
        except (
            IntegrityError,
            OperationalError,
            ProgrammingError,
        ):  # PostgreSQL and SQLite have different ones
            if not left:
                raise
            time.sleep(_AGAIN_S)
        else:
            return


class LogStorage:
    """The tables of a log in a database.

    Args:
        engine: the database.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        tables = _tables()
        _create(tables, engine)
        self.predictions, self.feedbacks = tables.tables["predictions"], tables.tables["feedback"]
        self.others = tables.tables["differences"]
        self._secrets = tables.tables["secrets"]

    def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Bytes that are made once and kept."""
        from sqlalchemy import insert, select
        from sqlalchemy.exc import IntegrityError

        found = select(self._secrets.c.value).where(self._secrets.c.name == name)
        with self.engine.connect() as connection:
            value = connection.execute(found).scalar()
        if value is None:
            try:
                with self.engine.begin() as connection:
                    connection.execute(insert(self._secrets).values(name=name, value=make().hex()))
            except IntegrityError:  # another server was faster
                pass
            with self.engine.connect() as connection:
                value = connection.execute(found).scalar()
        return bytes.fromhex(str(value))

    def add(self, rows: Sequence[JsonObject]) -> None:
        """Writes answers, and what challengers have `given` otherwise, in one transaction."""
        import importlib

        # A row whose id is there already was written before a connection broke.
        dialect = importlib.import_module(f"sqlalchemy.dialects.{self.engine.dialect.name}")
        others = [row for row in rows if "given" in row]
        answers = [row for row in rows if "given" not in row]
        with self.engine.begin() as connection:
            for table, part in ((self.predictions, answers), (self.others, others)):
                if part:
                    connection.execute(dialect.insert(table).on_conflict_do_nothing(), part)

    def add_feedback(self, answer: str, label: str, by: str, at: float) -> bool:
        """Keeps the right label of an answer, in place of an earlier one; False if there is no such answer."""
        from sqlalchemy import delete, insert

        if not self.has(answer):
            return False
        table = self.feedbacks
        with self.engine.begin() as connection:
            connection.execute(delete(table).where(table.c.answer == answer))
            connection.execute(insert(table).values(answer=answer, label=label, given_by=by, at=at))
        return True

    def has(self, answer: str) -> bool:
        """Whether an answer is kept."""
        from sqlalchemy import select

        found = select(self.predictions.c.id).where(self.predictions.c.id == answer)
        with self.engine.connect() as connection:
            return connection.execute(found).first() is not None

    def delete(self, answers: Sequence[str]) -> int:
        """Deletes answers and their feedback; the number of answers."""
        from sqlalchemy import delete

        gone = 0
        with self.engine.begin() as connection:
            for at in range(0, len(answers), _CHUNK):
                part = list(answers[at : at + _CHUNK])
                for table in (self.feedbacks, self.others):
                    connection.execute(delete(table).where(table.c.answer.in_(part)))
                done = connection.execute(delete(self.predictions).where(self.predictions.c.id.in_(part)))
                gone += done.rowcount
        return gone

    def overwrite_deleted(self) -> None:
        """Gives the space of deleted rows back, so that no file of the database holds them."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in (self.predictions, self.feedbacks, self.others):
                connection.exec_driver_sql(f"VACUUM {table.name}")

    def delete_before(self, at: float) -> None:
        """Deletes what is older."""
        from sqlalchemy import delete, select

        old = select(self.predictions.c.id).where(self.predictions.c.at < at)
        with self.engine.begin() as connection:
            connection.execute(delete(self.feedbacks).where(self.feedbacks.c.answer.in_(old)))
            connection.execute(delete(self.predictions).where(self.predictions.c.at < at))
            connection.execute(delete(self.others).where(self.others.c.at < at))

    def rotate(self, before: float) -> None:
        """Moves past days elsewhere; a database keeps them."""

    def rows(self, since: float = 0.0) -> Iterator[JsonObject]:
        """The answers, the oldest first, with their feedback."""
        from sqlalchemy import select

        said = self._said()
        found = select(self.predictions).where(self.predictions.c.at >= since)
        with self.engine.connect() as connection:
            streamed = connection.execution_options(yield_per=_CHUNK)
            for row in streamed.execute(found.order_by(self.predictions.c.number)).mappings():
                yield _with_feedback(dict(row), said)

    def differences(self) -> Iterator[JsonObject]:
        """What challengers have answered otherwise, the oldest first, with the feedback."""
        from sqlalchemy import select

        said = self._said()
        with self.engine.connect() as connection:
            streamed = connection.execution_options(yield_per=_CHUNK)
            for row in streamed.execute(select(self.others).order_by(self.others.c.at)).mappings():
                found = {**row, "given": json.loads(row["given"])}
                yield {**found, "feedback": said[row["answer"]]} if row["answer"] in said else found

    def close(self) -> None:
        """Closes the connections."""
        self.engine.dispose()

    def _said(self) -> dict[str, JsonObject]:
        """The feedback of each answer."""
        from sqlalchemy import select

        with self.engine.connect() as connection:
            rows = connection.execute(select(self.feedbacks)).mappings().all()
        return {
            row["answer"]: {"label": json.loads(row["label"]), "by": row["given_by"], "at": row["at"]}
            for row in rows
        }


class FolderStorage(LogStorage):
    """A folder: SQLite for today, and a Parquet file for each day before.

    Args:
        folder: folder of the log; made, for its owner alone, if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        from sqlalchemy import create_engine, event

        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = create_engine(f"sqlite:///{folder / DATABASE}", connect_args={"timeout": 30.0})
        event.listen(engine, "connect", _write_ahead)
        super().__init__(engine)
        self._forget_rotated()

    def has(self, answer: str) -> bool:
        """See LogStorage."""
        return super().has(answer) or any(answer in self._ids(file) for file in self.files())

    def files(self) -> list[Path]:
        """The files of past days, the oldest first."""
        return sorted(self.folder.glob(_DAYS))

    def rotate(self, before: float) -> None:
        """See LogStorage: each day becomes a file, or several, named by the day and the last number."""
        while rows := self._to_rotate(before):
            day, last = _date(rows[0]["at"]), rows[-1]["number"]
            self._write(self.folder / f"predictions-{day}-{last:012d}.parquet", rows)
            self._remove([row["id"] for row in rows])

    def _to_rotate(self, before: float) -> list[JsonObject]:
        """The oldest rows of one day, where the day is over, or there are too many for the database."""
        from sqlalchemy import func, select

        table = self.predictions
        with self.engine.connect() as connection:
            first = connection.execute(select(table.c.at).order_by(table.c.number)).scalar()
            n_rows = connection.execute(select(func.count()).select_from(table)).scalar() or 0
            if first is None or (first >= before and n_rows <= _MOST_ROWS):
                return []
            end = first - first % DAY_S + DAY_S
            found = select(table).where(table.c.at < end).order_by(table.c.number).limit(_MOST_ROWS)
            return [dict(row) for row in connection.execute(found).mappings()]

    def _remove(self, ids: Sequence[str]) -> None:
        """Deletes rows that a file has."""
        from sqlalchemy import delete

        with self.engine.begin() as connection:
            for at in range(0, len(ids), _CHUNK):
                part = self.predictions.c.id.in_(list(ids[at : at + _CHUNK]))
                connection.execute(delete(self.predictions).where(part))

    def delete(self, answers: Sequence[str]) -> int:
        """See LogStorage; files that hold one of them are written anew."""
        import pyarrow.parquet as parquet

        gone, wanted = super().delete(answers), set(answers)
        for file in self.files():
            rows = parquet.read_table(file).to_pylist()
            kept = [row for row in rows if row["id"] not in wanted]
            if len(kept) == len(rows):
                continue
            gone += len(rows) - len(kept)
            if kept:
                self._write(file, kept)
            else:
                file.unlink()
        return gone

    def overwrite_deleted(self) -> None:
        """See LogStorage; SQLite writes its file anew, and the log of what was written is emptied."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def delete_before(self, at: float) -> None:
        """See LogStorage; of a file, all rows or none are too old but for the first day."""
        import pyarrow.parquet as parquet

        for file in self.files():
            rows = parquet.read_table(file, columns=["id", "at"]).to_pylist()
            old = [row["id"] for row in rows if row["at"] < at]
            if old:
                self.delete(old)
        super().delete_before(at)

    def rows(self, since: float = 0.0) -> Iterator[JsonObject]:
        """See LogStorage."""
        import pyarrow.parquet as parquet

        said = self._said()
        for file in self.files():
            for batch in parquet.ParquetFile(file).iter_batches(_CHUNK):
                yield from (_with_feedback(row, said) for row in batch.to_pylist() if row["at"] >= since)
        yield from super().rows(since)

    def _write(self, file: Path, rows: list[JsonObject]) -> None:
        import io

        import pyarrow as pa
        import pyarrow.parquet as parquet

        kinds = {"int64": pa.int64(), "string": pa.string(), "double": pa.float64(), "bool": pa.bool_()}
        schema = pa.schema([(name, kinds[kind]) for name, kind in _TYPES.items()])
        buffer = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), buffer, compression="zstd")
        write_atomically(file, buffer.getvalue())
        sync(self.folder)

    def _forget_rotated(self) -> None:
        """Deletes rows that a file has already: a kill came between the two."""
        for file in self.files():
            self._remove(self._ids(file))

    def _ids(self, file: Path) -> list[str]:
        import pyarrow.parquet as parquet

        found: list[str] = parquet.read_table(file, columns=["id"]).column("id").to_pylist()
        return found


def _write_ahead(connection: sqlite3.Connection, _: object) -> None:
    """A kill of the process loses no transaction; a power cut may lose the last ones, and no file."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _date(at: float) -> str:
    import datetime

    return datetime.datetime.fromtimestamp(at, tz=datetime.UTC).strftime("%Y-%m-%d")


def _with_feedback(row: JsonObject, said: dict[str, JsonObject]) -> JsonObject:
    row.pop("number", None)
    row["answer"] = json.loads(row["answer"])
    if row["text"] is not None:
        row["text"] = json.loads(row["text"])
    return {**row, "feedback": said[row["id"]]} if row["id"] in said else row
