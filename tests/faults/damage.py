"""Damages each file of a run that was stopped, of a finished run, and of the caches: truncated, one bit flipped,
deleted, or exchanged for that of another run.

    python tests/faults/damage.py [--recipe NAME] [--page docs/reliability.md]

The damage must be found, and the command must end as if nothing had happened, or refuse with a message; a command
that ends otherwise without a word is a fault. The exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import Fault, Outcome, Parent
from kills import fresh, into_page
from recipes import write_recipe
from sameness import differences

BEGIN, END = "<!-- damage: begin -->", "<!-- damage: end -->"
REFUSED, REPAIRED, UNUSED, FAULT = "refused with a message", "found, same end", "not read, same end", "fault"
CACHES = "the caches"
_WORDS = (
    "damaged",
    "missing",
    "passed over",
    "is of the run",
    "cannot be read",
    "again",
    "was changed",
    "is gone",
)


def truncate(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path, other: Path) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) // 2] ^= 1
    path.write_bytes(data)


def delete(path: Path, other: Path) -> None:
    path.unlink()


def exchange(path: Path, other: Path) -> None:
    if other.is_file():
        shutil.copyfile(other, path)


DAMAGES: dict[str, Callable[[Path, Path], None]] = {
    "truncated": truncate, "one bit flipped": flip, "deleted": delete, "of another run": exchange,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One damaged file, and what became of it."""

    where: str
    file: str
    damage: str
    result: str
    said: str = ""


def stopped_run(parent: Parent, file: Path, folder: Path, *settings: str) -> Path:
    """A run that was killed after several checkpoints; its folder with its cache."""
    command = ["train", str(file), "--json", *settings]
    places = parent.run(fresh(folder), command, Fault()).places
    saves = [place.number for place in places if place.kind == "point save ends" and place.number]
    parent.run(fresh(folder), command, Fault(saves[len(saves) // 2], "kill"))
    return folder


def cases(base: Path, names: Sequence[str]) -> Iterator[Case]:
    """Damages every file in turn."""
    with Parent(base) as parent:
        for name in names:
            file = write_recipe(name, base)
            yield from _cases_of(parent, file, base)


def _cases_of(parent: Parent, file: Path, base: Path) -> Iterator[Case]:
    command = ["train", str(file), "--json"]
    calm = fresh(base / "calm")
    assert parent.run(calm, command).code == 0
    stopped = stopped_run(parent, file, base / "stopped")
    other = stopped_run(parent, file, base / "other", "seed=7")
    finished_other = fresh(base / "finished-other")
    parent.run(finished_other, [*command, "seed=7"])

    def tried(where: str, origin: Path, below: str, foreign: Path, arguments: list[str]) -> Iterator[Case]:
        files = sorted(p for p in (origin / below).rglob("*") if p.is_file() and p.name != ".lock")
        if where == CACHES:
            first = {kind.name: min(kind.iterdir()) for kind in (origin / "cache").iterdir()}
            files = [path for path in files if path.parent == first[path.parent.parent.name]]
        for path in files:
            for damage, act in DAMAGES.items():
                shutil.rmtree(base / "trial", ignore_errors=True)
                shutil.copytree(origin, base / "trial")
                inside = path.relative_to(origin)
                act(base / "trial" / inside, _counterpart(path, origin, foreign))
                outcome = parent.run(base / "trial", arguments)
                compared = calm / "run" if arguments == command else answer
                yield Case(where, str(inside), damage, *_result(outcome, compared, base / "trial" / "run"))

    yield from tried("a run that was stopped", stopped, "run", other, command)
    predicting = ["predict", "run", "the old cat", "--json"]
    answer = parent.run(calm, predicting).out
    yield from tried("a finished run, `predict`", calm, "run", finished_other, predicting)
    _keep_one_entry_of_each_kind(calm / "cache")
    only_cache = fresh(base / "only-cache")
    shutil.copytree(calm / "cache", only_cache / "cache")
    yield from tried(CACHES, only_cache, "cache", only_cache, command)


def _keep_one_entry_of_each_kind(cache: Path) -> None:
    """Leaves the first two entries of each kind: one to damage, and another to put in its place."""
    for kind in cache.iterdir():
        for entry in sorted(kind.iterdir())[2:]:
            shutil.rmtree(entry)


def _counterpart(path: Path, origin: Path, foreign: Path) -> Path:
    """The file of the same name in another run, or in another entry of a cache."""
    same = foreign / path.relative_to(origin)
    if foreign != origin and same.is_file():
        return same
    others = [p for p in sorted(foreign.rglob(path.name)) if p != path]
    return others[0] if others else same


def _result(outcome: Outcome, calm: Path | str, run: Path) -> tuple[str, str]:
    """What became of a damage, by the run that was left alone, or by its answer."""
    said = " ".join(outcome.err.split())
    if outcome.code == 2 and "Traceback" not in outcome.err:
        return REFUSED, said[-300:]
    if outcome.code:
        return FAULT, f"exit {outcome.code}: {said[-300:]}"
    if isinstance(calm, str):
        return (UNUSED if outcome.out == calm else FAULT), said[-300:]
    if found := differences(calm, run):
        is_said = any(word in outcome.err for word in _WORDS)
        only_log = all(name.startswith("events.jsonl") for name in found)
        return (REPAIRED if is_said and only_log else FAULT), "; ".join(found) + " | " + said[-300:]
    return (REPAIRED if any(word in outcome.err for word in _WORDS) else UNUSED), said[-300:]


def table(found: Sequence[Case]) -> str:
    """The table of the page: a line for each place and damage."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for case in found:
        counts[case.where, case.damage][case.result] += 1
    columns = (REPAIRED, REFUSED, UNUSED, FAULT)
    lines = [f"| files of | damage | {' | '.join(columns)} |", "|---|---|--:|--:|--:|--:|"]
    lines += [
        f"| {where} | {damage} | {' | '.join(str(some[column]) for column in columns)} |"
        for (where, damage), some in counts.items()
    ]
    unused = sorted({case.file for case in found if case.result == UNUSED})
    return "\n".join([*lines, "", f"Not read there: {', '.join(f'`{name}`' for name in unused)}."])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", action="append")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    base, found = given.folder or Path(tempfile.mkdtemp(prefix="damage-")), []
    for case in cases(base.resolve(), given.recipe or ["probe + full", "frozen layers"]):
        found.append(case)
        print(f"{len(found):4} {case.result:24} {case.where}: {case.file} {case.damage}", flush=True)
        if case.result == FAULT:
            print(f"         {case.said}", flush=True)
    print(table(found))
    if given.page:
        into_page(given.page, BEGIN, END, table(found))
    if given.folder is None:
        shutil.rmtree(base)
    sys.exit(any(case.result == FAULT for case in found))


if __name__ == "__main__":
    main()
