"""Sends a signal at each kind of moment of a training, twice in a row: it must end with 75 and resume exactly.

    python tests/faults/signals.py [--only one] [--page docs/reliability.md]

Twice in a row: the second start gets the signal at the same moment, if it comes there. Of two processes, one gets
the signal, and both must end with 75. Then two signals come in one start, the second at once or a moment later:
the process ends without a checkpoint, with 75 too, and resumes exactly. The exit code is 1 if a start ended
otherwise, or more than 10 seconds after the signal, or if the run was not bit for bit what it would have been.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import Fault, Parent, Place
from kills import Subject, fresh, into_page, subject
from sameness import differences

_STOPPED = 75
_PATIENCE_S = 10.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_GROUPS = {
    "one process": ("probe + full", "accumulation", "DPO"),
    "two processes": ("two processes",),
    "a search": ("tune",),
}
"""Recipes by table of the page."""
_TWICE = ("probe + full", "two processes", "tune")
_WAITS_MS = (0, 5, 50)
"""Milliseconds between two signals: the second comes before, while or after the first is dealt with."""
_MOMENTS = {
    "run_trial begins": "a trial of a search",
    "prepare_data begins": "reading the data",
    "open_model begins": "loading the model",
    "encode begins": "encoding",
    "make_plan begins": "planning",
    "start_from_probe begins": "the probe",
    "step begins": "a step",
    "clip begins": "the middle of a step, after its passes",
    "evaluate begins": "an evaluation",
    "save begins": "a checkpoint",
    "write model": "writing the model",
    "score_saved begins": "scoring the saved model",
    "write_report begins": "the report",
}


@dataclass(frozen=True)
class Stop:
    """One signal, sent twice at one kind of moment, and what was wrong (empty when nothing was)."""

    recipe: str
    moment: str
    rank: int
    signal: str
    stopped: int
    seconds: float
    problem: str


def moments(found: Subject) -> Iterator[tuple[str, Place]]:
    """A place of each kind of moment, in each process; of steps, evaluations and saves, the one in the middle."""
    for rank in range(found.processes):
        for kind, words in _MOMENTS.items():
            of_kind = [p for p in found.places if p.rank == rank and _is_at(p, kind)]
            if of_kind:
                yield words, of_kind[len(of_kind) // 2]


def _is_at(place: Place, kind: str) -> bool:
    if kind == "write model":
        return place.call == "write" and "/.model" in place.path
    return place.call == "point" and place.path == kind


def stop(
    parent: Parent, found: Subject, words: str, place: Place, number: signal.Signals, folder: Path
) -> Stop:
    """Sends a signal at a place in a first and in a second start, then lets a third one finish."""
    fault = Fault(place.number, "signal", number, place.rank)
    return _stopped(parent, found, words, fault, number.name, folder, starts=2)


def leave(parent: Parent, found: Subject, words: str, place: Place, wait_ms: int, folder: Path) -> Stop:
    """Sends SIGINT at a place and SIGTERM a moment later, then lets a second start finish."""
    fault = Fault(place.number, "signal_twice", wait_ms, place.rank)
    return _stopped(parent, found, words, fault, f"{wait_ms} ms", folder, starts=1)


def _stopped(
    parent: Parent, found: Subject, words: str, fault: Fault, name: str, folder: Path, starts: int
) -> Stop:
    codes, slowest = [], 0.0
    fresh(folder)
    for _ in range(starts):
        outcome = parent.run(folder, found.command, fault, processes=found.processes)
        if outcome.places:  # the second start is shorter, and may not come there
            signalled = (folder / f".places-{fault.rank}").stat().st_mtime  # it was noted just before
            slowest = max(slowest, time.time() - signalled)
            codes.append(outcome.codes)
            if "Traceback" in outcome.err:
                codes.append((-1,))
    last = parent.run(folder, found.command, processes=found.processes)
    problem = ""
    if {code for each in codes for code in each} != {_STOPPED} or last.code:
        problem = f"the starts ended with {codes} and {last.code}: {(outcome.err + last.err)[-500:]}"
    elif slowest > _PATIENCE_S:
        problem = f"it ended {slowest:.0f} s after the signal"
    else:
        problem = "; ".join(differences(found.calm, folder / "run", with_checkpoint_lines=False))
    return Stop(found.name, words, fault.rank, name, len(codes), slowest, problem)


def stops(base: Path, names: Sequence[str]) -> Iterator[Stop]:
    """Signals at every kind of moment of some recipes."""
    with Parent(base) as parent:
        for name in names:
            found = subject(parent, base, name)
            for turn, (words, place) in enumerate(moments(found)):
                yield stop(parent, found, words, place, _SIGNALS[turn % 3], base / "trial")


def leaves(base: Path, names: Sequence[str]) -> Iterator[Stop]:
    """Two signals at every kind of moment of some recipes."""
    with Parent(base) as parent:
        for name in names:
            found = subject(parent, base, name)
            for turn, (words, place) in enumerate(moments(found)):
                waits = _WAITS_MS if name in _GROUPS["one process"] else _WAITS_MS[turn % 3 :][:1]
                for wait_ms in waits:
                    yield leave(parent, found, words, place, wait_ms, base / "trial")


def table(found: Sequence[Stop], sent: str = "signals") -> str:
    """The table of the page: a line for each kind of moment."""
    lines = [
        f"| moment | {sent} | exit code 75 | after at most | resumed bit for bit |",
        "|---|---|--:|--:|--:|",
    ]
    for words in dict.fromkeys(stop.moment for stop in found):
        some = [stop for stop in found if stop.moment == words]
        names = ", ".join(dict.fromkeys(stop.signal for stop in some))
        good = [stop for stop in some if not stop.problem]
        sent = sum(stop.stopped for stop in some)
        lines.append(
            f"| {words} | {names} | {sum(stop.stopped for stop in good)} of {sent} | "
            f"{max(stop.seconds for stop in some):.1f} s | {len(good)} of {len(some)} |"
        )
    return "\n".join(lines)


def tables(found: Sequence[Stop]) -> dict[str, str]:
    """The tables of the page, by group of recipes."""
    by_group = {group: [one for one in found if one.recipe in names] for group, names in _GROUPS.items()}
    return {group: table(some) for group, some in by_group.items() if some}


def tables_of_two(found: Sequence[Stop]) -> dict[str, str]:
    """The tables of two signals, by group of recipes."""
    by_group = {group: [one for one in found if one.recipe in names] for group, names in _GROUPS.items()}
    return {f"{group}, two": table(some, "between them") for group, some in by_group.items() if some}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", action="append")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--only", choices=["one", "two"], help="one signal a start, or two in a row")
    given = parser.parse_args()
    base, bad = (given.folder or Path(tempfile.mkdtemp(prefix="signals-"))).resolve(), False
    if given.only != "two":
        bad |= _all_of(stops(base, given.recipe or sum(_GROUPS.values(), ())), tables, given.page)
    if given.only != "one":
        bad |= _all_of(leaves(base, given.recipe or _TWICE), tables_of_two, given.page)
    if given.folder is None:
        shutil.rmtree(base)
    sys.exit(bad)


def _all_of(
    coming: Iterator[Stop], tables_of: Callable[[Sequence[Stop]], dict[str, str]], page: Path | None
) -> bool:
    """Prints what becomes of each, and writes the tables; whether one was wrong."""
    found: list[Stop] = []
    for one in coming:
        found.append(one)
        mark = "BAD" if one.problem else "ok "
        what = f"{one.recipe}: {one.stopped} × {one.signal}, {one.moment}, process {one.rank}"
        print(f"{len(found):4} {mark} {one.seconds:5.2f} s  {what}", flush=True)
        if one.problem:
            print(f"         {one.problem}", flush=True)
        for group, text in tables_of(found).items() if page else ():
            begin, end = (f"<!-- signals of {group}: {it} -->" for it in ("begin", "end"))
            into_page(page, begin, end, text)
    print(*tables_of(found).values(), sep="\n\n")
    return any(one.problem for one in found)


if __name__ == "__main__":
    main()
