"""Numbers that are not finite, in step 7 of real trainings: nothing of them is saved, and the run resumes.

    python tests/faults/nonfinite.py [--page docs/reliability.md]

The loss, a gradient, a weight or a validation score becomes NaN or infinite in one step. A training must end with
a message that names the step and the rows; no checkpoint may hold such a number; the same command must then resume
bit for bit. With `train.max_skipped_batches=1`, the training must leave the batch out and say which rows it has,
and must come to the same end when it is killed after that. A label that is no number must be refused with its
line. The exit code is 1 otherwise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from cases import parser_of, work_off
from harness import Fault, Outcome, Parent
from kills import Subject, fresh, subject
from recipes import write_recipe
from safetensors.numpy import load_file
from sameness import differences

BEGIN, END = "<!-- nonfinite: begin -->", "<!-- nonfinite: end -->"
STEP = 7
"""Step, from 1, in which a number is spoiled."""
_SPOIL_LOSS = f"""
from tunesmith.training.objective import Objective
really = Objective.__call__
def spoiled(self, batch, step, part):
    loss = really(self, batch, step, part)
    return WRONG if step == {STEP - 1} and part == 0 else loss
Objective.__call__ = spoiled
"""
_GRADIENT = "loss + 0.0 * (0.0 * next(p for p in self.plain.parameters() if p.requires_grad)).sum().sqrt()"
"""A finite loss whose gradient is not: the derivative of a root at zero, times zero."""
_WEIGHT = f"""
import torch
from tunesmith.training.loop import _Loop
really, done = _Loop._step, []
def spoiled(self):
    really(self)
    if self.state.step == {STEP} and not done:
        done.append(1)
        with torch.no_grad():
            next(iter(self.trained.values())).view(-1)[0] = float("inf")
_Loop._step = spoiled
"""
_SCORE = """
from tunesmith.training.loop import _Loop
really = _Loop._scores
def spoiled(self):
    found = really(self)
    return dict.fromkeys(found, float("nan")) if self.state.step == 8 and not self.state.skipped else found
_Loop._scores = spoiled
"""
PATCHES = {
    "the loss is NaN": _SPOIL_LOSS.replace("WRONG", "loss * float('nan')"),
    "the loss is infinite": _SPOIL_LOSS.replace("WRONG", "loss * float('inf')"),
    "the gradient is NaN, the loss finite": _SPOIL_LOSS.replace("WRONG", _GRADIENT),
    "a weight is infinite after the update": _WEIGHT,
    "a validation score is NaN": _SCORE,
}
"""By what is spoiled, the statements that do it."""


@dataclass(frozen=True)
class Case:
    """What was spoiled, whether the run was to skip the batch, and what was wrong (empty when nothing was)."""

    spoiled: str
    skips: bool
    problem: str
    said: str = ""


def not_finite(run: Path) -> list[str]:
    """The files of weights and optimizers in a run that hold a number that is not finite."""
    return [
        str(path.relative_to(run))
        for path in sorted(run.rglob("*.safetensors"))
        if (path.parent.name == "model" or "checkpoints" in path.parts)
        and not all(np.isfinite(tensor).all() for tensor in load_file(path).values())
    ]


def stops(parent: Parent, found: Subject, spoiled: str, folder: Path) -> Case:
    """A training that ends with a message, and the same command without the spoiled number."""
    outcome = parent.run(fresh(folder), found.command, patches=[PATCHES[spoiled]])
    said = outcome.err.split("error: ")[-1].split("\n")[0]
    problem = _message_problem(outcome, said, names_rows="score" not in spoiled and "weight" not in spoiled)
    problem = problem or ", ".join(f"{name} is not finite" for name in not_finite(folder / "run"))
    if not problem:
        last = parent.run(folder, found.command)
        problem = f"resumed with {last.code}: {last.err[-400:]}" if last.code else ""
        problem = problem or "; ".join(differences(found.calm, folder / "run"))
    return Case(spoiled, False, problem, said)


def _message_problem(outcome: Outcome, said: str, *, names_rows: bool) -> str:
    if outcome.code != 1 or "Traceback" in outcome.err:
        return f"ended with {outcome.code}: {outcome.err[-400:]}"
    if "step " not in said:
        return f"the step is not named: {said}"
    if names_rows and ".jsonl, line " not in said:
        return f"the rows are not named: {said}"
    return ""


def skips(parent: Parent, found: Subject, spoiled: str, folder: Path) -> Case:
    """A training that leaves the batch out, and the same one, killed after that."""
    command = [*found.command, "train.max_skipped_batches=1"]
    patches = [PATCHES[spoiled]]
    calm = fresh(folder.with_name("skipped"))
    outcome = parent.run(calm, command, Fault(), patches)
    said = next((line for line in outcome.err.splitlines() if "is left out" in line), "")
    problem = f"ended with {outcome.code}: {outcome.err[-400:]}" if outcome.code else ""
    if not problem and ".jsonl, line " not in said:
        problem = f"the rows are not named: {said}"
    problem = problem or _state_problem(calm / "run")
    if not problem:
        steps = [place.number for place in outcome.places if place.kind == "point step ends"]
        killed = parent.run(fresh(folder), command, Fault(steps[-2], "kill"), patches)
        last = parent.run(folder, command, patches=patches)
        problem = "" if (killed.code, last.code) == (-9, 0) else f"ended with {killed.code} and {last.code}"
        problem = problem or "; ".join(differences(calm / "run", folder / "run"))
    return Case(spoiled, True, problem, said.strip())


def _state_problem(run: Path) -> str:
    """What is wrong with the checkpoints of a run that has left a batch out."""
    if wrong := not_finite(run):
        return f"{wrong[0]} is not finite"
    newest = max((run / "checkpoints").glob("step-*"))
    state = json.loads((newest / "state.json").read_text(encoding="utf-8"))
    return "" if state["skipped"] in ([STEP - 1], [STEP]) else f"skipped {state['skipped']}"


def label(parent: Parent, base: Path, wrong: str) -> Case:
    """A label of a regression that is no finite number; it is refused with its file and line."""
    rows = [{"text": f"the old cat {n}", "label": n / 10} for n in range(40)]
    lines = [json.dumps(row) for row in rows]
    lines[20] = lines[20].replace("2.0", wrong)
    (base / "numbers.jsonl").write_text("\n".join(lines) + "\n")
    folder = fresh(base / "trial")
    command = ["train", str(base / "numbers.jsonl"), "--task", "text-regression"]
    outcome = parent.run(folder, [*command, "--model", str(base / "bert"), "-o", "run", "train.max_steps=4"])
    is_named = "numbers.jsonl, line 21" in outcome.err and "Traceback" not in outcome.err
    problem = "" if outcome.code == 2 and is_named else f"ended with {outcome.code}: {outcome.err[-400:]}"
    return Case(f"a label is `{wrong}`", False, problem, outcome.err.split("error: ")[-1].split("\n")[0])


def cases(base: Path, names: Sequence[str]) -> Iterator[Case]:
    """Every number that is spoiled, in trainings that stop and that skip."""
    with Parent(base) as parent:
        for name in names:
            found = subject(parent, base, name)
            for spoiled in PATCHES:
                yield stops(parent, found, spoiled, base / "trial")
                yield skips(parent, found, spoiled, base / "trial")
        write_recipe("full", base)
        for wrong in ("NaN", "Infinity", '"nan"', "1e999"):
            yield label(parent, base, wrong)


def table(found: Sequence[Case]) -> str:
    """The table of the page: a line for each number."""
    lines = [
        "| in step 7 | stopped with a message, resumed bit for bit | left the batch out, killed, the same end |",
        "|---|--:|--:|",
    ]
    for spoiled in dict.fromkeys(case.spoiled for case in found if case.spoiled in PATCHES):
        some = [[c for c in found if c.spoiled == spoiled and c.skips is skips] for skips in (False, True)]
        good = [f"{sum(not case.problem for case in part)} of {len(part)}" for part in some]
        lines.append(f"| {spoiled} | {good[0]} | {good[1]} |")
    labels = [case for case in found if case.spoiled not in PATCHES]
    refused = ", ".join(case.spoiled.removeprefix("a label is ") for case in labels if not case.problem)
    return "\n".join(
        [*lines, "", f"Labels of a regression that are refused with their file and line: {refused}."]
    )


def main() -> None:
    """The command line."""
    parser = parser_of(__doc__)
    parser.add_argument("--recipe", action="append")
    given = parser.parse_args()
    recipes = given.recipe or ("full", "accumulation", "LoRA", "masked LM")
    work_off(given, lambda base: cases(base, recipes), _said, table, (BEGIN, END))


def _said(case: Case) -> str:
    return f"{case.spoiled}, {'leaves the batch out' if case.skips else 'stops'}: {case.said[:200]}"


if __name__ == "__main__":
    main()
