"""Where a prediction log is, as a user names it: a folder, or the URL of a PostgreSQL database."""

from __future__ import annotations

import os
from pathlib import Path

from tunesmith.errors import RecipeError, first_line
from tunesmith.extras import refuse_without
from tunesmith.masking import filled, hide_secrets
from tunesmith.monitoring.log_storage import DATABASE, FolderStorage, LogStorage

_SCHEMES = ("postgresql://", "postgres://", "postgresql+psycopg://")


def open_storage(place: str | os.PathLike[str]) -> LogStorage:
    """The storage in a folder, or in a PostgreSQL database.

    Raises:
        RecipeError: the database cannot be reached, or a variable in the URL is not set.
    """
    url = _filled(os.fspath(place))
    if not url.startswith(_SCHEMES):
        return FolderStorage(Path(url))
    refuse_without(("psycopg",), "postgresql", "a log in PostgreSQL")
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return LogStorage(
            create_engine(f"postgresql+psycopg://{url.partition('://')[2]}", pool_pre_ping=True)
        )
    except (SQLAlchemyError, ValueError) as error:  # a port that is no number is a ValueError
        raise RecipeError(
            f"the database of the log cannot be used: {hide_secrets(first_line(error.__cause__ or error), url)}",
            remedy="Check the URL, and that the server runs.",
        ) from None


def is_log(place: str | os.PathLike[str]) -> bool:
    """Whether a place is a database, or a folder that holds a log.

    Raises:
        RecipeError: a variable in the URL is not set.
    """
    url = _filled(os.fspath(place))
    return url.startswith(_SCHEMES) or (Path(url) / DATABASE).is_file()


def _filled(place: str) -> str:
    """A place with `${NAME}` replaced by the environment variable; RecipeError if it is not set."""
    return filled(place, "the place of the log", RecipeError)
