"""Erasure in a prediction log: by ids of answers, and by texts, which a log of hashes knows by their hashes."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence

from tunesmith.data.personal import redacted
from tunesmith.errors import RecipeError
from tunesmith.monitoring.log_place import is_log, open_storage
from tunesmith.monitoring.log_storage import LogStorage
from tunesmith.monitoring.prediction_log import hashed_input, key_of
from tunesmith.tasks import TASKS


def erase_in_log(
    place: str | os.PathLike[str], answers: Sequence[str], texts: Collection[str], *, dry_run: bool
) -> int:
    """Deletes answers, with their feedback, and overwrites where they were; the number of answers.

    Args:
        place: folder or URL of the log.
        answers: ids of answers, or of requests, whose answers are all meant.
        texts: inputs whose answers are meant, too.
        dry_run: only look.

    Raises:
        RecipeError: there is no log.
    """
    _refuse_missing(place)
    storage = open_storage(place)
    try:
        found = _found(storage, answers, texts)
        if found and not dry_run:
            storage.delete(found)
            storage.overwrite_deleted()
        return len(found)
    finally:
        storage.close()


def _refuse_missing(place: str | os.PathLike[str]) -> None:
    if not is_log(place):
        raise RecipeError(f"`{place}` has no prediction log.", remedy="Give its folder or URL: --log.")


def _found(storage: LogStorage, answers: Sequence[str], texts: Collection[str]) -> list[str]:
    key, ids = key_of(storage), frozenset(answers)
    columns = {task.text_column for task in TASKS.loadable()[0].values()} - {""}
    forms = [form for text in texts for form in (text, *({name: text} for name in columns))]
    hashes = {hashed_input(key, form) for form in forms}
    said = {json.dumps(redacted(text)) for text in texts}
    return [
        row["id"]
        for row in storage.rows()
        if row["id"] in ids
        or row["id"].rpartition("-")[0] in ids
        or row["input"] in hashes
        or _says(row["text"], texts, said)
    ]


def _says(kept: object, texts: Collection[str], redacted_texts: set[str]) -> bool:
    """Whether a kept input is one of some texts, or a row with one of them."""
    if kept is None:
        return False
    if isinstance(kept, str):
        return kept in texts or json.dumps(kept) in redacted_texts
    values: list[object] = list(kept.values()) if isinstance(kept, dict) else []
    return any(_says(value, texts, redacted_texts) for value in values if isinstance(value, str))
