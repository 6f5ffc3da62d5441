"""What a run folder holds of some rows, and its removal.

    predictions/*.jsonl, data/*.json, *.jsonl   texts become empty; of a line of a wanted row, all but its numbers
    data/train_vectors.safetensors              the vectors of the rows are taken out
    data/reference.safetensors                  the same: what `monitor` compares with has fewer rows
    report.html                                 is written again from what is left
    data/check.html                             is removed: it shows texts that no other file has
    model/README.md                             texts become empty

Lines stay, with their ids, so that scores can still be paired. Fingerprints of training texts
(`train_texts.npz`) stay: by them one knows what a model was trained on. The model itself is as it was; only a
training without the rows changes that.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.erasure.wanted import LEAST_PIECE, Wanted
from tunesmith.evaluation.neighbours import FILE as VECTORS_FILE
from tunesmith.evaluation.neighbours import TrainingVectors
from tunesmith.inference.exported import is_export
from tunesmith.monitoring.reference import FILE as REFERENCE_FILE
from tunesmith.monitoring.reference import Reference
from tunesmith.reports import write_report
from tunesmith.run import Run, sha256_of, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SKIPPED = ("model", "checkpoints")
_KEPT_KEYS = frozenset({"row", "check", "split", "severity"})
_ELLIPSIS = "… ."


class Cleaner:
    """Empties what wanted rows have said, wherever it stands in a value of JSON.

    Args:
        wanted: what is looked for.
        labels: names that are nobody's.
    """

    def __init__(self, wanted: Wanted, labels: Sequence[str]) -> None:
        self._rows = wanted.rows
        self._labels = frozenset([*labels, *(label[2:] for label in labels if label[1:2] == "-")])
        self._texts = {_plain(text) for text in wanted.texts} - {""}
        self._long = [text for text in self._texts if len(text) >= LEAST_PIECE]
        self.n = 0

    def clean(self, value: Any) -> Any:
        """The value without the texts; `n` counts what was emptied."""
        if isinstance(value, str):
            return self._cleaned(value)
        if isinstance(value, Mapping):
            if self._is_wanted(value):
                return self._without_texts(value)
            return {key: self.clean(item) for key, item in value.items()}
        return [self.clean(item) for item in value] if isinstance(value, list) else value

    def is_said(self, text: str) -> bool:
        """Whether a text is one of those, holds one, or is a part of one."""
        plain = _plain(text)
        if plain in self._labels:
            return False
        if plain in self._texts:
            return True
        core = plain.strip(_ELLIPSIS)
        return any(long in plain or (len(core) >= LEAST_PIECE and core in long) for long in self._long)

    def _cleaned(self, text: str) -> str:
        if not self.is_said(text):
            return text
        self.n += 1
        return ""

    def _is_wanted(self, line: Mapping[str, Any]) -> bool:
        """Whether it is a line about a wanted row: by its id, or its file and line."""
        if "row" in line:
            return str(line["row"]) in self._rows
        if "file" in line and "line" in line:
            location = f"{line['file']}:{line['line']}"
            return any(location == row or location.endswith(f"/{row}") for row in self._rows)
        return False

    def _without_texts(self, value: Any) -> Any:
        if isinstance(value, str):
            if not value or value in self._labels:
                return value
            self.n += 1
            return ""
        if isinstance(value, Mapping):
            keys = _KEPT_KEYS | ({"file"} if "line" in value else set())
            return {k: item if k in keys else self._without_texts(item) for k, item in value.items()}
        return [self._without_texts(item) for item in value] if isinstance(value, list) else value


def clean_run(run: Run, wanted: Wanted, *, dry_run: bool) -> dict[str, int]:
    """Removes what a run folder, and exports beside it, hold; how many places of each file were emptied.

    Args:
        run: a finished run.
        wanted: what is looked for.
        dry_run: only look.
    """
    labels = tuple(map(str, run.manifest().get("label_schema", {}).get("labels", ())))
    found: dict[str, int] = {}
    for folder in (run.path, *_exports(run)):
        for file in _files(folder):
            cleaner = Cleaner(wanted, labels)
            _clean_file(file, cleaner, dry_run=dry_run)
            if cleaner.n:
                found[_named(file, run)] = cleaner.n
    n_vectors = _clean_vectors(run.data, wanted, dry_run=dry_run)
    if n_vectors:
        found[f"data/{VECTORS_FILE}"] = n_vectors
    if n_rows := _clean_reference(run.data, wanted, dry_run=dry_run):
        found[f"data/{REFERENCE_FILE}"] = n_rows
    if found or wanted.rows:
        found |= _clean_pages(run, dry_run=dry_run)
    if found and not dry_run:
        _renew_checksums(run, {name.partition(" (")[0] for name in found})
    return found


def _renew_checksums(run: Run, changed: set[str]) -> None:
    """Writes the checksums of changed files into the manifest, and no others: damage is still found."""
    known = run.manifest().get("files", {})
    new = {name: sha256_of(run.path / name) for name in changed & set(known) if (run.path / name).is_file()}
    gone = {name for name in changed & set(known) if name not in new}
    if new or gone:
        run.update_manifest(
            files={name: new.get(name, old) for name, old in known.items() if name not in gone}
        )


def _exports(run: Run) -> list[Path]:
    home = run.path.resolve()
    return [folder for folder in sorted(home.parent.glob(f"{home.name}-*")) if is_export(folder)]


def _named(file: Path, run: Run) -> str:
    home = run.path.resolve()
    within = file.resolve().relative_to(home if file.resolve().is_relative_to(home) else home.parent)
    return within.as_posix()


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        is_of_model = file.relative_to(folder).parts[0] in _SKIPPED
        if (file.suffix in (".json", ".jsonl") and not is_of_model) or file.name == "README.md":
            yield file


def _clean_file(file: Path, cleaner: Cleaner, *, dry_run: bool) -> None:
    ways: dict[str, Callable[[str, Cleaner], str]] = {
        ".json": _clean_json, ".jsonl": _clean_lines, ".md": _clean_page
    }  # fmt: skip
    new = ways[file.suffix](file.read_text(encoding="utf-8"), cleaner)
    if cleaner.n and not dry_run:
        write_atomically(file, new)


def _clean_json(text: str, cleaner: Cleaner) -> str:
    return json.dumps(cleaner.clean(json.loads(text)), indent=2, ensure_ascii=False) + "\n"


def _clean_lines(text: str, cleaner: Cleaner) -> str:
    found = []
    for line in text.splitlines():
        before = cleaner.n
        new = cleaner.clean(json.loads(line)) if line.strip() else None
        found.append(line if cleaner.n == before else json.dumps(new, ensure_ascii=False))
    return "\n".join(found) + "\n"


def _clean_page(text: str, cleaner: Cleaner) -> str:
    """A page whose lines have quoted texts, as the code of a model card."""
    return "\n".join('"'.join(cleaner.clean(part) for part in line.split('"')) for line in text.split("\n"))


def _clean_vectors(data: Path, wanted: Wanted, *, dry_run: bool) -> int:
    """Takes the vectors of wanted rows out; their number."""
    known = TrainingVectors.load(data)
    if known is None:
        return 0
    stays = np.array([i for i, row in enumerate(known.rows) if row not in wanted.rows], dtype=np.int64)
    n_gone = len(known.rows) - len(stays)
    if n_gone and not dry_run:
        rows, gold = [known.rows[i] for i in stays], [known.gold[i] for i in stays]
        TrainingVectors(known.vectors[stays], rows, gold).save(data)
    return n_gone


def _clean_reference(data: Path, wanted: Wanted, *, dry_run: bool) -> int:
    """Takes wanted rows out of the reference of `monitor`; their number."""
    known = Reference.load(data)
    if known is None:
        return 0
    stays = np.array([i for i, row in enumerate(known.rows.names) if row not in wanted.rows], dtype=np.int64)
    n_gone = len(known.rows) - len(stays)
    if n_gone and not dry_run:
        replace(known, rows=known.rows.take(stays)).save(data)
    return n_gone


def _clean_pages(run: Run, *, dry_run: bool) -> dict[str, int]:
    """Writes the report again, and removes the page of the check."""
    found, check = {}, run.data / "check.html"
    if run.report_file.is_file():
        found["report.html (written again)"] = 1
        if not dry_run:
            write_report(run)
    if check.is_file():
        found["data/check.html (removed)"] = 1
        if not dry_run:
            check.unlink()
    return found


def _plain(text: str) -> str:
    return " ".join(html.unescape(text).split())
