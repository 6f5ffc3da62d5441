"""Every family and task through `tunesmith.testing.family_contract`, each family in a process of its own.

    python tests/families/sweep.py [--json FILE] [--seconds S] [FAMILY[:TASK] …]
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

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"


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
        result["died"] = "took too long" if os.WTERMSIG(status) == signal.SIGALRM else f"ended with status {status}"
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
            place = work / auto_class
            place.mkdir()
            found = {"make": contract.make(family, auto_class, place / "model")}
            if found["make"].kind == contract.OK:
                found |= contract.check(family, auto_class, place / "model", place)
            result["tasks"][auto_class] = {name: vars(outcome) for name, outcome in found.items()}
            result["tasks"][auto_class]["seconds"] = round(time.perf_counter() - began, 1)
            out.write_text(json.dumps(result))
        out.write_text(json.dumps(result))
    finally:
        os._exit(0)


def main() -> int:
    """Runs what is named, or everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=int, default=90)
    options = parser.parse_args()
    from tunesmith.testing.families import families

    everything = families()
    wanted = {}
    for name in options.families or everything:
        family, _, task = name.partition(":")
        wanted[family] = tuple(c for c in everything[family] if task.lower() in c.lower())
    old = json.loads(options.json.read_text()) if options.json.is_file() else {}

    def tell(family: str, result: dict[str, Any]) -> None:
        old[family] = result
        options.json.write_text(json.dumps(old, indent=1, sort_keys=True))
        print(family, f"{result['seconds']}s", *summary(result), flush=True)

    sweep(wanted, seconds=options.seconds, tell=tell)
    return 0


def summary(result: dict[str, Any]) -> list[str]:
    """A line a failure."""
    lines = []
    if "died" in result:
        lines.append(f"\n   DIED {result['died']}")
    for auto_class, steps in result["tasks"].items():
        for step, outcome in steps.items():
            if step != "seconds" and outcome["kind"] != "ok":
                lines.append(f"\n   {auto_class.removeprefix('AutoModelFor')} {step} {outcome['kind']}: {outcome['message']}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
