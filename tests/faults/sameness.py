"""Whether two runs, or two searches, of one recipe are the same: every file, byte for byte, but for times."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from safetensors.numpy import load_file

_TIMES = frozenset({
    "time", "seconds", "stages_s", "processor_s", "started", "continued", "energy", "run_id", "memory",
    "versions", "machine", "created", "sha256", "sum", "files", "in_loop",
    "spent_s", "train_seconds",
})  # fmt: skip
"""Keys of JSON files that hold times, what depends on them, or what a resumed run has more of."""
_LOOP = ("step", "validation", "logged", "checkpoint")
_DRAWN_FROM_THE_OTHERS = ("report.html", "README.md", "tune.html")
"""Pages with the times of a run."""
_JOURNAL = {4: "a trial begins", 5: "a value is drawn", 6: "a trial ends"}
"""Operations of Optuna's journal that must come once, with their codes; others may be written again."""


def differences(calm: Path, other: Path, *, with_checkpoint_lines: bool = True) -> list[str]:
    """What is not the same in two folders; empty when a run or a search is exactly what it would have been.

    Args:
        calm: run that nothing happened to.
        other: run that was stopped and resumed.
        with_checkpoint_lines: whether the log must say the same of checkpoints; one more is saved at a signal.
    """
    kinds = _LOOP if with_checkpoint_lines else _LOOP[:-1]
    one, two = _files(calm, kinds), _files(other, kinds)
    found = [f"{name} is missing" for name in sorted(one.keys() - two.keys())]
    found += [f"{name} is left over" for name in sorted(two.keys() - one.keys())]
    return found + [f"{name} differs" for name in sorted(one.keys() & two.keys()) if one[name] != two[name]]


def _files(run: Path, kinds: tuple[str, ...]) -> dict[str, str]:
    return {
        str(path.relative_to(run)): _digest(path, kinds)
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in _DRAWN_FROM_THE_OTHERS
    }


def _digest(path: Path, kinds: tuple[str, ...]) -> str:
    if path.name == "events.jsonl":
        content: object = list(_loop_events(path, kinds))
    elif path.name == "journal.log":
        content = list(_operations(path))
    elif path.suffix == ".json" and "model" not in path.parts[-2:]:
        content = _without_times(json.loads(path.read_text(encoding="utf-8")))
        if path.name == "tune.json" and isinstance(content, dict):
            del content["text"]  # sentences about the rest, with times
    elif path.parent.name == "checkpoints" and path.suffix == ".safetensors":
        content = {
            name: tensor.tobytes().hex() for name, tensor in load_file(path).items()
        }  # with the run's id
    else:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return json.dumps(content, sort_keys=True)


def _loop_events(path: Path, kinds: tuple[str, ...]) -> Iterator[object]:
    """The lines of the training loop: stages and notes of every start are there too."""
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["kind"] in kinds:
            yield _without_times(event)


def _operations(journal: Path) -> Iterator[object]:
    """How the trials of a search began and ended: none twice."""
    for line in journal.read_text(encoding="utf-8").splitlines():
        operation = json.loads(line)
        if operation["op_code"] in _JOURNAL:
            yield {key: v for key, v in operation.items() if key != "worker_id" and "datetime" not in key}


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_times(v) for key, v in value.items() if key not in _TIMES}
    return [_without_times(v) for v in value] if isinstance(value, list) else value
