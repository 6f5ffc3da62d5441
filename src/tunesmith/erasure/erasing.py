"""Erasure of rows in runs, logs and caches: what was found, and which models have learned from it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.acceleration.hidden_states import FROZEN
from tunesmith.cache import cache_folder, remove_old
from tunesmith.data.encoding import ENCODED
from tunesmith.data.excluding import add_fingerprints
from tunesmith.data.reading import is_in_memory
from tunesmith.erasure.run_files import clean_run
from tunesmith.erasure.wanted import Asked, RunRows, refuse_ambiguous, rows_of
from tunesmith.errors import RecipeError
from tunesmith.masking import masked_argument
from tunesmith.monitoring.erasing import erase_in_log

if TYPE_CHECKING:
    import os

    from tunesmith.run import Run
    from tunesmith.types import JsonObject


@dataclass(frozen=True)
class ErasedRun:
    """What was found in a run.

    Args:
        run: folder of the run.
        rows: ids of its rows that are meant, or say the same.
        trained_on: number of texts that its model was trained on, by their fingerprints.
        files: how many places of each file were emptied.
        retrain: the command that trains without them; empty where the model has not learned them.
        unread: data files that could not be read, and why.
    """

    run: Path
    rows: tuple[str, ...]
    trained_on: int
    files: dict[str, int]
    retrain: str
    unread: tuple[str, ...]

    def to_json(self) -> JsonObject:
        """As plain JSON."""
        return {
            "run": str(self.run), "rows": list(self.rows), "trained_on": self.trained_on, "files": self.files,
            "retrain": self.retrain, "unread": list(self.unread),
        }  # fmt: skip


@dataclass(frozen=True)
class Erasure:
    """What was found, and removed unless it was a dry run.

    Args:
        runs: each run.
        logs: number of answers in each log.
        cache: number of entries and bytes of the cache, which are removed together.
        exclude: file to which the fingerprints were added; empty where there are none.
        is_dry: whether nothing was changed.
    """

    runs: tuple[ErasedRun, ...] = ()
    logs: dict[str, int] = field(default_factory=dict)
    cache: dict[str, int] = field(default_factory=dict)
    exclude: str = ""
    is_dry: bool = False

    @property
    def trained_on(self) -> list[Path]:
        """The runs whose models have learned from it."""
        return [one.run for one in self.runs if one.trained_on]

    @property
    def is_empty(self) -> bool:
        """Whether no run and no log has any of it."""
        return not any(one.rows or one.files or one.trained_on for one in self.runs) and not any(
            self.logs.values()
        )

    def to_json(self) -> JsonObject:
        """As plain JSON."""
        return {
            "runs": [one.to_json() for one in self.runs], "logs": self.logs, "cache": self.cache,
            "exclude": self.exclude, "trained_on": [str(run) for run in self.trained_on], "dry_run": self.is_dry,
        }  # fmt: skip


def erase(
    asked: Asked,
    *,
    runs: Sequence[Run] = (),
    logs: Sequence[str | os.PathLike[str]] = (),
    exclude: Path = Path("forgotten.txt"),
    dry_run: bool = False,
) -> Erasure:
    """Finds what was asked for in runs, logs and caches, and removes it.

    Args:
        asked: whose rows.
        runs: finished runs.
        logs: folders or URLs of prediction logs.
        exclude: file for the fingerprints of the rows, which `data.exclude` of a recipe names.
        dry_run: only look.

    Raises:
        RecipeError: nothing is asked for, or there is no place to look.
        RunError: ids of rows were given with runs of several data.
    """
    _refuse_nothing(asked, runs, logs)
    refuse_ambiguous(runs, asked)
    found = [rows_of(run, asked) for run in runs]
    fingerprints = frozenset(number for one in found for number in one.wanted.fingerprints)
    texts = frozenset([*asked.texts, *(text for one in found for text in one.wanted.texts)])
    if fingerprints and not dry_run:
        add_fingerprints(exclude, fingerprints)
    erased = tuple(_erased(one, fingerprints, texts, exclude, dry_run=dry_run) for one in found)
    in_logs = {
        masked_argument(str(place)): erase_in_log(place, asked.answers, texts, dry_run=dry_run)
        for place in logs
    }
    # Data that cannot be read may have had them, and then the cache has them, too.
    is_cached = not Erasure(erased, in_logs).is_empty or any(one.unread for one in erased)
    return Erasure(
        erased,
        in_logs,
        _clean_cache(dry_run=dry_run) if texts and is_cached else {},
        str(exclude) if fingerprints else "",
        dry_run,
    )


def _refuse_nothing(asked: Asked, runs: Sequence[Run], logs: Sequence[object]) -> None:
    if not (asked.row_ids or asked.where or asked.texts or asked.answers):
        raise RecipeError(
            "nothing is said of whom to forget.",
            remedy="Give --row-id, --where COLUMN=VALUE, --text, or --id of an answer in a log.",
        )
    if not runs and not logs:
        raise RecipeError("there is no place to look.", remedy="Give runs, a --registry, or a --log.")
    if asked.answers and not logs:
        raise RecipeError("ids of answers need a log.", remedy="Give its folder or URL: --log.")
    if (asked.row_ids or asked.where) and not runs:
        raise RecipeError("ids of rows and values of columns need runs.", remedy="Give the runs.")


def _erased(
    one: RunRows, fingerprints: frozenset[int], texts: frozenset[str], exclude: Path, *, dry_run: bool
) -> ErasedRun:
    wanted = one.with_copies(fingerprints, texts)
    n_trained = one.trained_on(fingerprints)
    files = clean_run(one.run, wanted, dry_run=dry_run)
    retrain = _command(one.run, exclude) if n_trained else ""
    return ErasedRun(one.run.path, tuple(sorted(wanted.rows)), n_trained, files, retrain, wanted.unread)


def _command(run: Run, exclude: Path) -> str:
    """The command that trains without the rows."""
    if any(map(is_in_memory, run.recipe().data.train)):
        return f'tunesmith.train(the data, ..., overrides={{"data.exclude": "{exclude}"}})'
    values = (f"output_dir={run.path}-without", f"data.exclude={exclude}")
    return shlex.join(["tunesmith", "train", str(run.recipe_file), *values])


def _clean_cache(*, dry_run: bool) -> dict[str, int]:
    """Removes all encodings and features of data, which are made again: what they hold cannot be searched."""
    n_entries = n_bytes = 0
    for folder in (cache_folder() / ENCODED, cache_folder() / FROZEN):
        entries = [path for path in folder.glob("[0-9a-f]*") if path.is_dir()]
        n_entries += len(entries)
        n_bytes += sum(file.stat().st_size for entry in entries for file in entry.glob("*"))
        if entries and not dry_run:
            remove_old(folder, most=0)
    return {"entries": n_entries, "bytes": n_bytes}
