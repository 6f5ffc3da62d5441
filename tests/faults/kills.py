"""Kills real trainings with SIGKILL at drawn places and resumes them: each must end as if nothing had happened.

    python tests/faults/kills.py [--places 200] [--recipe NAME] [--seed 0] [--page docs/reliability.md]

A place is a call of the C library that changes a file of the run or of the cache, or the begin or the end of a
phase, a step, an evaluation or a save. Every kind of place is drawn before one is drawn again. The exit code is 1
if a run did not end bit for bit like the one that was left alone. The table goes into the page.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import Fault, Outcome, Parent, Place
from recipes import RECIPES, command_of, processes_of, write_recipe
from sameness import differences

BEGIN, END = "<!-- kills: begin -->", "<!-- kills: end -->"
_KILLED = -9
_ACTIONS = ("kill_halfway", "kill", "kill_all")


@dataclass(frozen=True)
class Subject:
    """A recipe, the run of it that was left alone, and the places that this run came through."""

    name: str
    file: Path
    calm: Path
    places: tuple[Place, ...]

    @property
    def command(self) -> list[str]:
        """The arguments of `tunesmith`."""
        return command_of(self.name, self.file)

    @property
    def processes(self) -> int:
        """The number of processes that do it together."""
        return processes_of(self.name)


@dataclass(frozen=True)
class Trial:
    """One kill: where, and what was not as it would have been (empty when all is well)."""

    recipe: str
    place: Place
    problem: str = ""
    seconds: float = 0.0


def subject(parent: Parent, base: Path, name: str, patches: Sequence[str] = ()) -> Subject:
    """Runs a recipe to its end, and notes every place."""
    file, folder = write_recipe(name, base), fresh(base / "calm" / name.replace(" ", "-"))
    outcome = parent.run(folder, command_of(name, file), Fault(), patches, processes=processes_of(name))
    if outcome.code:
        raise SystemExit(f"{name}: {outcome.err[-2000:]}")
    return Subject(name, file, folder / "run", tuple(outcome.places))


def drawn(places: Sequence[Place], n: int, rng: random.Random) -> list[Place]:
    """Places of every kind before a second one of any kind."""
    by_kind: dict[str, list[Place]] = defaultdict(list)
    for place in rng.sample(places, len(places)):
        by_kind[place.kind].append(place)
    rounds = max(map(len, by_kind.values()))
    kinds = rng.sample(sorted(by_kind), len(by_kind))
    turns = (by_kind[kind][turn] for turn in range(rounds) for kind in kinds if turn < len(by_kind[kind]))
    return [place for place, _ in zip(turns, range(n), strict=False)]


def kill(parent: Parent, subject: Subject, place: Place, folder: Path) -> Trial:
    """Kills a run at a place, resumes it, and compares it with the run that was left alone."""
    began, actions = time.perf_counter(), _ACTIONS[: 1 + subject.processes]
    fault = Fault(place.number, actions[place.number % len(actions)], rank=place.rank)
    killed = parent.run(fresh(folder), subject.command, fault, processes=subject.processes)
    ended = _ended_trials(folder)
    again = parent.run(folder, subject.command, processes=subject.processes)
    problem = _problem(subject, killed, again, folder)
    if not problem and not ended.items() <= _ended_trials(folder).items():
        problem = "a trial of the search that had ended was run again"
    at = killed.places[0] if killed.places else place
    return Trial(subject.name, at, problem, time.perf_counter() - began)


def _ended_trials(folder: Path) -> dict[Path, int]:
    """When the results of the trials of a search were written; empty for a training."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("run/trials/*/trial.json")}


def _problem(subject: Subject, killed: Outcome, again: Outcome, folder: Path) -> str:
    if _KILLED not in killed.codes:
        return f"it ended with {killed.codes} instead of being killed"
    if again.code:
        return f"the second start ended with {again.codes}: {again.err[-600:]}"
    return "; ".join(differences(subject.calm, folder / "run"))


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def trials(base: Path, names: Sequence[str], n: int, seed: int) -> Iterator[Trial]:
    """Kills at `n` places, spread evenly over recipes."""
    rng = random.Random(seed)
    with Parent(base) as parent:
        for number, name in enumerate(names):
            found = subject(parent, base, name)
            share = n * (number + 1) // len(names) - n * number // len(names)
            for place in drawn(found.places, share, rng):
                yield kill(parent, found, place, base / "trial")


def table(found: Sequence[Trial]) -> str:
    """The table of the page: a line for each recipe, and where the kills came."""
    by_recipe: dict[str, list[Trial]] = defaultdict(list)
    for trial in found:
        by_recipe[trial.recipe].append(trial)
    lines = [
        "| training | kills | in a file operation | at a step or phase | resumed bit for bit |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, some in [*by_recipe.items(), ("**all**", list(found))]:
        points = sum(trial.place.call == "point" for trial in some)
        good = sum(not trial.problem for trial in some)
        lines.append(f"| {name} | {len(some)} | {len(some) - points} | {points} | {good} |")
    calls = Counter(trial.place.call for trial in found)
    listed = ", ".join(f"{n} × `{call}`" for call, n in calls.most_common())
    return "\n".join(
        [*lines, "", f"By call: {listed}; {len({t.place.kind for t in found})} kinds of places."]
    )


def into_page(page: Path, begin: str, end: str, text: str) -> None:
    """Puts a text between two marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--places", type=int, default=200)
    parser.add_argument("--recipe", action="append", choices=list(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    base, found = given.folder or Path(tempfile.mkdtemp(prefix="faults-")), []
    for trial in trials(base.resolve(), given.recipe or list(RECIPES), given.places, given.seed):
        found.append(trial)
        mark = "ok " if not trial.problem else "BAD"
        where = f"{trial.recipe}: {trial.place.number} {trial.place.kind}"
        print(f"{len(found):4} {mark} {trial.seconds:5.2f} s  {where}", flush=True)
        if trial.problem:
            print(f"         {trial.problem}", flush=True)
        if given.page:  # after each, so that a run that is cut off leaves its table
            into_page(given.page, BEGIN, END, table(found))
    print(table(found))
    if given.folder is None:
        shutil.rmtree(base)
    sys.exit(any(trial.problem for trial in found))


if __name__ == "__main__":
    main()
