"""`check --fix`: a cleaned copy of the data. The original is never written to.

Only what is safe is changed: copies are removed (the first of each stays), training rows that leak into the rows
to score with are removed, broken characters are repaired, and personal data are replaced by their kind. The checks
are run again on the changed rows until they find nothing more to change: texts that differ only in a phone number
become copies when it is hidden.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.checks import CHECKS, Change, CheckedData
from tunesmith.data.column_store import Column
from tunesmith.data.examples import Examples
from tunesmith.data.preparing import all_sources, find_splits, sources_of
from tunesmith.data.reading import read_rows, source_files
from tunesmith.data.row_files import can_write, refuse_ending, write_rows
from tunesmith.errors import RecipeError
from tunesmith.pipeline.checking import CheckReport
from tunesmith.recipe import Recipe
from tunesmith.tasks._values import strings

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_MOST_ROUNDS = 5
_AFTER_CHANGES = ("duplicates", "leakage")
"""Checks that may find more once texts have changed."""

Key = tuple[str, int]
"""File and line of a row."""


@dataclass
class _Fixes:
    """What is changed, by row of the files."""

    removed: dict[Key, str] = field(default_factory=dict)
    texts: dict[Key, dict[str, str]] = field(default_factory=dict)
    changed: dict[Key, list[str]] = field(default_factory=dict)
    not_copied: list[Key] = field(default_factory=list)


def refuse_target(recipe: Recipe, out: Path, *, force: bool) -> None:
    """Refuses a place for the cleaned copy, before any work.

    Args:
        recipe: recipe whose data are checked.
        out: file or folder to write.
        force: whether an earlier file may be replaced; never a source.

    Raises:
        RecipeError: it is a source, it exists, or its ending is unknown.
    """
    sources = all_sources(find_splits(recipe).data)
    originals = [path.resolve() for source in sources for path in source_files(source)]
    if any(original == out.resolve() or original.is_relative_to(out.resolve()) for original in originals):
        raise RecipeError(f"`{out}` would be written over the original.", remedy="Give another name.")
    if out.suffix:
        refuse_ending(out)
    is_taken = any(out.iterdir()) if out.is_dir() else out.exists()
    if is_taken and not force:
        raise RecipeError(f"`{out}` already exists.", remedy="Give another name, or `--force`.")


def fix(report: CheckReport, out: str | os.PathLike[str], *, force: bool = False) -> JsonObject:
    """Writes a cleaned copy of what was checked.

    Args:
        report: what `check` found.
        out: a file for the training rows (.jsonl, .csv, .tsv, .parquet), or a folder for a file of each split.
        force: replace an earlier copy.

    Returns:
        `files` with the rows of each, `removed` and `changed` rows by check, and what was `not_copied`.

    Raises:
        RecipeError: the place is a source, is taken, or its ending is unknown.
    """
    path, sources = Path(out), sources_of(report.recipe.data)
    refuse_target(report.recipe, path, force=force)
    fixes = _find_fixes(report)
    targets = {"train": path}
    if not path.suffix:
        targets = {split: _file_of(path, split, some) for split, some in sources.items()}
    written = {}
    for split, target in targets.items():
        written[str(target)] = write_rows(target, _rows_of(sources[split], fixes))
    return {
        "files": written,
        "removed": dict(Counter(fixes.removed.values())),
        "changed": dict(Counter(check for checks in fixes.changed.values() for check in checks)),
        "not_copied": len(set(fixes.not_copied)),
        "splits_not_written": [split for split in sources if split not in targets],
    }


def lines_of_fix(done: JsonObject) -> Iterator[str]:
    """What was done, as lines of text."""
    for check, n in done["removed"].items():
        yield f"{check}: {n:,} rows removed"
    for check, n in done["changed"].items():
        yield f"{check}: {n:,} rows changed"
    if done["not_copied"]:
        yield f"{done['not_copied']:,} rows that cannot be read are not in the copy"
    for split in done["splits_not_written"]:
        yield f"the {split} rows are not in the copy: name a folder to get a file of each split"
    for file, n in done["files"].items():
        yield f"wrote {file}: {n:,} rows"


def _file_of(folder: Path, split: str, sources: Sequence[str]) -> Path:
    """The file of a split: of the kind of its source, if that can be written; else JSON lines."""
    ending = Path(sources[0]).suffix.lower()
    return folder / f"{split}{ending if can_write(ending) else '.jsonl'}"


def _find_fixes(report: CheckReport) -> _Fixes:
    assert report.data is not None
    fixes, data = _Fixes(), report.data
    names = {it.check for it in report.findings if it.changes}
    findings = list(report.findings)
    for _ in range(_MOST_ROUNDS):
        changes = _by_check(findings)
        if not any(changes.values()):
            break
        data = _applied(data, changes, fixes)
        names |= set(_AFTER_CHANGES)
        findings = [it for name in sorted(names) for it in CHECKS.get(name).find(data)]
    return fixes


def _by_check(findings: Sequence[Any]) -> dict[str, list[Change]]:
    """The changes of texts, by check; where there are none, those that remove rows."""
    texts: dict[str, list[Change]] = {}
    removals: dict[str, list[Change]] = {}
    for finding in findings:
        for change in finding.changes:
            (texts if change.column else removals).setdefault(finding.check, []).append(change)
    return texts or removals


def _applied(data: CheckedData, changes: Mapping[str, Sequence[Change]], fixes: _Fixes) -> CheckedData:
    """The rows with the changes; of two changes of one value, the first counts, and the other comes later."""
    removed: dict[str, set[int]] = {}
    values: dict[tuple[str, str], dict[int, Any]] = {}
    for check, some in changes.items():
        for change in some:
            key = _key(data.splits[change.split], change.row)
            if not change.column:
                removed.setdefault(change.split, set()).add(change.row)
                fixes.removed.setdefault(key, check)
            elif change.row not in (there := values.setdefault((change.split, change.column), {})):
                there[change.row] = change.value
                before = data.splits[change.split].columns[change.column][change.row]
                _note_texts(fixes, key, check, before, change)
    splits = {
        split: _changed(examples, split, values, removed.get(split, set()))
        for split, examples in data.splits.items()
    }
    return replace(data, splits=splits, features=None, memo={})


def _note_texts(fixes: _Fixes, key: Key, check: str, before: Any, change: Change) -> None:
    """Remembers which text becomes which in a row of the file."""
    texts = fixes.texts.setdefault(key, {})
    for old, new in zip(strings(before), strings(change.value), strict=True):
        first = next((text for text, now in texts.items() if now == old), old)
        if new != old:
            texts[first] = new
    if check not in (there := fixes.changed.setdefault(key, [])):
        there.append(check)


def _changed(
    examples: Examples, split: str, values: Mapping[tuple[str, str], dict[int, Any]], removed: set[int]
) -> Examples:
    columns = dict(examples.columns)
    for (of, name), new in values.items():
        if of == split:
            columns[name] = Column.of(new.get(row, value) for row, value in enumerate(columns[name]))
    found = replace(examples, columns=columns)
    if not removed:
        return found
    return found.take(np.array([row for row in range(len(found)) if row not in removed], dtype=np.int64))


def _key(examples: Examples, row: int) -> Key:
    return examples.files[examples.file_index[row]], int(examples.lines[row])


def _rows_of(sources: Sequence[str], fixes: _Fixes) -> Callable[[], Iterator[JsonObject]]:
    """The rows of some sources, without those that are removed, and with changed texts."""

    def rows() -> Iterator[JsonObject]:
        for file, row in (it for source in sources for it in read_rows(source)):
            key = (file, row.line)
            if row.problem and not row.values:
                fixes.not_copied.append(key)
            elif key not in fixes.removed:
                yield _replaced(row.values, fixes.texts[key]) if key in fixes.texts else dict(row.values)

    return rows


def _replaced(value: Any, texts: Mapping[str, str]) -> Any:
    """A value of a file with texts in place of others, however deep they are."""
    if isinstance(value, str):
        return texts.get(value, value)
    if isinstance(value, list):
        return [_replaced(item, texts) for item in value]
    if isinstance(value, dict):
        return {key: _replaced(item, texts) for key, item in value.items()}
    return value
