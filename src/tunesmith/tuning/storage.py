"""Where trials are kept: a journal in the folder of the search, or a PostgreSQL server for several machines.

Optuna reads and writes both. The journal is a file to which lines are appended. Processes take turns by `flock`,
which the system drops when its holder ends, however it ends; a line that a kill has cut off is removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import RecipeError, RunError
from tunesmith.extras import refuse_without
from tunesmith.masking import masked_text
from tunesmith.run.locking import needing_locks

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_DRIVER = "postgresql+psycopg"
_SECONDS_TO_CONNECT = 10


def open_journal(journal: Path) -> BaseStorage:
    """The storage in a file, which is made if it is not there."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal.parent.mkdir(parents=True, exist_ok=True)
    return optuna.storages.JournalStorage(JournalFileBackend(str(journal), lock_obj=_lock(journal)))


@contextmanager
def closed_at_the_end(server: Any) -> Iterator[None]:
    """Closes the connections to a server when this ends; without one, nothing happens."""
    try:
        yield
    finally:
        if server is not None:
            server.remove_session()
            server.engine.dispose()


def _lock(journal: Path) -> object:
    from optuna.storages.journal import JournalFileOpenLock

    class _Lock(JournalFileOpenLock):  # type: ignore[misc]
        """Turns of several processes; whoever has the turn finds whole lines."""

        def acquire(self) -> bool:
            import fcntl

            self._file = os.open(journal.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
            with needing_locks(journal):
                fcntl.flock(self._file, fcntl.LOCK_EX)
            _remove_torn_line(journal)
            return True

        def release(self) -> None:
            os.close(self._file)

    return _Lock(str(journal))


def _remove_torn_line(journal: Path) -> None:
    """Cuts off what follows the last line end: a line whose writer was killed."""
    if not journal.is_file() or not journal.stat().st_size:
        return
    with journal.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def open_server(url: str) -> BaseStorage:
    """The storage on a server.

    Args:
        url: `postgresql://user:password@host/database`.

    Raises:
        RecipeError: the URL is not that of a PostgreSQL server.
        RunError: the server cannot be reached.
    """
    scheme, separator, rest = url.partition("://")
    if scheme not in _SCHEMES or not separator:
        raise RecipeError(
            f"the storage of a search must be `postgresql://user:password@host/database`, got `{url}`.",
            remedy="Leave `--storage` out on one machine: then the trials are kept in the folder of the search.",
        )
    refuse_without(("psycopg",), "postgresql", "a search on several machines")
    import optuna
    import sqlalchemy
    from optuna.storages import RDBStorage

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return RDBStorage(
            f"{_DRIVER}://{rest}",
            engine_kwargs={"connect_args": {"connect_timeout": _SECONDS_TO_CONNECT}, "pool_pre_ping": True},
        )
    except (sqlalchemy.exc.SQLAlchemyError, ValueError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise RunError(
            f"the storage `{masked_text(url)}` cannot be reached: {masked_text(reason)}",
            remedy="Check that the server runs, and the name, the password and the database of the URL.",
        ) from None
