"""Every family and task through `tunesmith.testing.family_contract`, each family in a process of its own.

    python tests/families/sweep.py [--details FILE] [--seconds S] [FAMILY[:TASK] …]

Without names, everything; then docs/models.json is written, from which `make docs` makes docs/models.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "models.json"


def sweep(wanted: dict[str, tuple[str, ...]], *, seconds: int = 90, tell: Any = None) -> dict[str, Any]:
    """Results by family and task; a family that takes longer, or kills its process, is reported so.

    Args:
        wanted: families, and the auto classes to try.
        seconds: that a family may take.
        tell: called with each family's name and results.
    """
    _import_once()
    results = {}
    for family, classes in wanted.items():
        results[family] = _apart(family, classes, seconds)
        if tell is not None:
            tell(family, results[family])
    return results


def _import_once() -> None:
    """What every family needs is imported before the processes part."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch

    torch.set_num_threads(1)
    import peft
    import transformers
    from transformers import AutoModel, AutoTokenizer, BertModel, GenerationMixin, T5Config  # noqa: F401

    import tunesmith.pipeline
    import tunesmith.training.loop
    from tunesmith.tasks import TASKS

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in TASKS.names():
        TASKS.get(name)
    del peft, tunesmith


def _apart(family: str, classes: tuple[str, ...], seconds: int) -> dict[str, Any]:
    work = Path(tempfile.mkdtemp(prefix=f"family-{family}-"))
    out = work / "result.json"
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        _child(family, classes, work, out, seconds)
    _, status = os.waitpid(child, 0)
    result: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {"tasks": {}}
    if status:
        too_long = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        result["died"] = "took too long" if too_long else f"ended with status {status}"
    result["seconds"] = round(time.perf_counter() - began, 1)
    shutil.rmtree(work, ignore_errors=True)
    return result


def _child(family: str, classes: tuple[str, ...], work: Path, out: Path, seconds: int) -> None:
    import warnings

    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    os.environ["TUNESMITH_CACHE"] = str(work / "cache")
    from tunesmith.testing import family_contract as contract

    result: dict[str, Any] = {"tasks": {}}
    try:
        if not os.environ.get("FAMILY_NOISE"):
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, 2)
            os.dup2(devnull, 1)
        for auto_class in classes:
            began = time.perf_counter()
            location = work / auto_class
            location.mkdir()
            found = {"make": contract.make(family, auto_class, location / "model")}
            if found["make"].kind == contract.OK:
                found |= contract.check(family, auto_class, location / "model", location)
            result["tasks"][auto_class] = {name: vars(outcome) for name, outcome in found.items()}
            result["tasks"][auto_class]["seconds"] = round(time.perf_counter() - began, 1)
            out.write_text(json.dumps(result))
        out.write_text(json.dumps(result))
    finally:
        os._exit(0)


def main() -> int:
    """Runs what is named, or everything; the exit code is 1 where something is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*")
    parser.add_argument("--details", type=Path, help="every outcome of every step, as JSON")
    parser.add_argument("--seconds", type=int, default=120, help="that a family may take")
    options = parser.parse_args()
    details: dict[str, Any] = {}

    def tell(family: str, result: dict[str, Any]) -> None:
        details[family] = result
        if options.details:
            options.details.write_text(json.dumps(details, indent=1, sort_keys=True))
        print(family, f"{result['seconds']}s", *summary(result), flush=True)

    sweep(_wanted(options.families), seconds=options.seconds, tell=tell)
    if not options.families:
        PAGE.write_text(json.dumps(entries(details), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return int(any(is_wrong(result) for result in details.values()))


def _wanted(named: list[str]) -> dict[str, tuple[str, ...]]:
    from tunesmith.testing.families import families

    everything = families()
    wanted: dict[str, tuple[str, ...]] = {}
    for name in named or everything:
        family, _, task = name.partition(":")
        chosen = tuple(c for c in everything[family] if task.lower() in c.lower())
        wanted[family] = (*wanted.get(family, ()), *chosen)
    return wanted


def entries(details: dict[str, Any]) -> dict[str, Any]:
    """What the page says, by family and auto class."""
    from tunesmith.testing.family_contract import Outcome, describe

    return {
        family: {
            auto_class: _compact(describe({name: Outcome(**outcome) for name, outcome in _steps(steps)}))
            for auto_class, steps in sorted(result["tasks"].items())
        }
        for family, result in details.items()
    }


def _compact(entry: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(entry).items() if value}


def _steps(steps: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    return [(name, outcome) for name, outcome in steps.items() if name != "seconds"]


def is_wrong(result: dict[str, Any]) -> bool:
    """Whether a family died, or a step of it gave a wrong result or an error."""
    outcomes = [outcome for steps in result["tasks"].values() for _, outcome in _steps(steps)]
    return "died" in result or any(outcome["kind"] in ("wrong", "error") for outcome in outcomes)


def summary(result: dict[str, Any]) -> list[str]:
    """A line for each step that does not simply hold."""
    lines = [f"\n   died: {result['died']}"] if "died" in result else []
    for auto_class, steps in result["tasks"].items():
        name = auto_class.removeprefix("AutoModelFor")
        lines += [
            f"\n   {name} {step} {outcome['kind']}: {outcome['message']}"
            for step, outcome in _steps(steps)
            if outcome["kind"] != "ok"
        ]
    return lines


if __name__ == "__main__":
    sys.exit(main())
