"""The pointer to the champion: complete runs only, one writer at a time, and whole after a kill at any moment."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tunesmith.errors import RecipeError, RunError
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.run.champion import POINTER, Registry, is_registry
from tunesmith.run.completeness import is_whole


def make_run(folder: Path, weight: float, task: str = "text-classification") -> Path:
    """A finished run with weights that nobody trained: what a registry looks at, and nothing more."""
    run, recipe = Run(folder), Recipe.model_validate({"task": task, "data": {"train": ["x.csv"]}})
    run.update_manifest(used=recipe.model_dump(mode="json"), finished=True)
    run.write_recipe(recipe)
    run.metrics_file.write_text(json.dumps({"primary": {"name": "accuracy", "value": 0.5}}))
    run.model.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (run.model / name).write_text("{}")
    save_file({"w": np.full((3, 5), weight, "float32"), "b": np.zeros(2)}, run.model / "model.safetensors")
    return folder


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    return [make_run(tmp_path / name, weight) for weight, name in enumerate("abc")]


@pytest.fixture
def registry(tmp_path) -> Registry:
    return Registry(tmp_path / "registry")


def promote(registry: Registry, run: Path, **how) -> None:
    registry.promote(run, **{"by": "alice", "reason": "better", **how})


def test_roll_backs_undo_promotions_and_the_history_tells_all(registry, runs):
    a, b, c = runs
    assert registry.history() == []
    with pytest.raises(RunError, match="has no champion"):
        registry.champion()
    promote(registry, a)
    promote(registry, b, by="bob", reason="new words", evidence={"p": 0.01, "slices": ["x"]})
    assert registry.champion() == b
    promote(registry, c)
    assert registry.rollback(by="carol", reason="complaints").run == b
    assert registry.champion() == b
    assert registry.rollback(by="carol", reason="more of them").run == a
    with pytest.raises(RunError, match="the first champion"):
        registry.rollback(by="carol", reason="again")
    promote(registry, c)
    assert registry.rollback(by="carol", reason="c is still bad").run == a
    told = registry.history()
    assert [(one.number, one.action, one.run.name, one.by) for one in told] == [
        (1, "promote", "a", "alice"), (2, "promote", "b", "bob"), (3, "promote", "c", "alice"),
        (4, "rollback", "b", "carol"), (5, "rollback", "a", "carol"), (6, "promote", "c", "alice"),
        (7, "rollback", "a", "carol"),
    ]  # fmt: skip
    assert told[1].evidence == {"p": 0.01, "slices": ["x"]}
    assert told[1].reason == "new words"
    assert told[4].evidence == {"rolled_back": 4, "restored": 1}
    assert told[0].at <= told[-1].at
    assert told[0].run_id == Run(a).run_id
    assert json.loads(json.dumps(told[0].to_json()))["files"].keys() == told[6].files.keys()


def test_both_may_be_moved_together(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    promote(Registry(old / "registry"), make_run(old / "runs" / "a", 1))
    assert not json.loads((old / "registry" / POINTER).read_text())["run"].startswith("/")
    old.rename(new)
    assert Registry(new / "registry").champion() == new / "runs" / "a"
    Registry(new / "registry").current().checked_run()


def test_what_cannot_be_promoted(registry, runs, tmp_path):
    a, b, _ = runs
    promote(registry, a)
    with pytest.raises(RunError, match="the champion already"):
        promote(registry, a)
    with pytest.raises(RunError, match=r"for text-classification, and .* for text-regression"):
        promote(registry, make_run(tmp_path / "other", 1, "text-regression"))
    for how in ({"by": " "}, {"reason": ""}):
        with pytest.raises(RecipeError, match="must be said"):
            promote(registry, b, **how)
    for evidence in ({"p": float("nan")}, {"p": {1, 2}}):
        with pytest.raises(RecipeError, match="plain JSON"):
            promote(registry, b, evidence=evidence)
    with pytest.raises(RunError, match=r"has no `champion\.json`, but it has `a`"):
        promote(Registry(tmp_path), b)
    assert registry.champion() == a
    assert len(registry.history()) == 1


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: _cut(run.model / "model.safetensors"),
        lambda run: (run.model / "model.safetensors").write_bytes(b""),
        lambda run: (run.model / "model.safetensors").unlink(),
        lambda run: (run.model / "tokenizer.json").unlink(),
        lambda run: (run.model / "config.json").unlink(),
        lambda run: _cut(run.model / "config.json"),
        lambda run: (run.model / "model.safetensors.index.json").write_text(
            '{"weight_map": {"w": "model-00001-of-00002.safetensors"}}'
        ),
        lambda run: run.update_manifest(finished=False),
        lambda run: run.manifest_file.unlink(),
        lambda run: run.metrics_file.unlink(),
        lambda run: run.metrics_file.write_text("{}"),
        lambda run: shutil.rmtree(run.path),
    ],
)
def test_an_incomplete_run_never_becomes_the_champion(registry, runs, damage):
    a, b, _ = runs
    promote(registry, b)
    promote(registry, a)
    damage(Run(b))
    before = (registry.folder / POINTER).read_bytes()
    with pytest.raises(RunError):
        promote(registry, b)
    with pytest.raises(RunError):
        registry.rollback(by="bob", reason="a is worse")
    assert (registry.folder / POINTER).read_bytes() == before


def test_a_run_that_was_trained_again_is_another_one(registry, runs):
    a, b, _ = runs
    promote(registry, a)
    promote(registry, b)
    (a / "model" / "README.md").write_text("a better card changes no answer")
    registry.history()[0].checked_run()
    save_file({"w": np.ones(3)}, a / "model" / "model.safetensors")
    with pytest.raises(RunError, match=r"changed since it was promoted: `model/model\.safetensors`"):
        registry.rollback(by="bob", reason="b is worse")
    promote(registry, a)
    assert [one.run for one in registry.history()] == [a, b, a]


def test_whole_weights_are_told_from_others(tmp_path):
    file = tmp_path / "x.safetensors"
    for tensors in ({}, {"a": np.zeros((0, 3))}, {"a": np.zeros(7, "int8"), "b": np.ones((2, 2))}):
        save_file(tensors, file, metadata={"format": "pt"})
        assert is_whole(file)
        whole = file.read_bytes()
        for size in range(0, len(whole), max(len(whole) // 40, 1)):
            file.write_bytes(whole[:size])
            assert not is_whole(file), size
        file.write_bytes(whole + b"x")
        assert not is_whole(file)


def test_another_folder_or_version_is_refused(registry, runs):
    promote(registry, runs[0])
    assert is_registry(registry.folder)
    assert not is_registry(runs[0])
    pointer = json.loads((registry.folder / POINTER).read_text())
    (registry.folder / POINTER).write_text(json.dumps({**pointer, "format": 2}))
    with pytest.raises(RunError, match="format of a registry must be 1, got `2`"):
        registry.champion()
    (registry.folder / POINTER).write_text("{")
    with pytest.raises(RunError, match="cannot be read") as error:
        registry.champion()
    assert "registry" in error.value.remedy
    with pytest.raises(RunError, match="is a file"):
        Registry(runs[0] / "manifest.json").history()


# ---- kill -9, before each call of the system that changes a file ----

KILLED = """
import json, os, signal, sys
from pathlib import Path
from tunesmith.run.champion import Registry

registry, runs = Registry(sys.argv[1]), sys.argv[2:]

def killed_before(where):
    count = 0
    def counted(really):
        def call(*arguments, **how):
            nonlocal count
            if count == where:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return really(*arguments, **how)
        return call
    for place, names in ((os, ("open", "fsync", "close", "mkdir")), (Path, ("replace", "mkdir", "unlink"))):
        for name in names:
            setattr(place, name, counted(getattr(place, name)))

for where in range(100):
    other = next(run for run in runs if run != str(registry.champion()))
    child = os.fork()
    if not child:
        killed_before(where)
        registry.promote(other, by="killed", reason="in the middle")
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    registry.current().checked_run()
    numbers = [one.number for one in registry.history()]
    print(json.dumps([status, str(registry.champion()) == other, numbers]))
    if status != -signal.SIGKILL:
        break
"""


def test_a_kill_at_any_moment_leaves_a_pointer_to_a_complete_run(registry, runs):
    a, b, c = runs
    promote(registry, a)
    command = [sys.executable, "-c", KILLED, str(registry.folder), str(a), str(b)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    held = 1
    for _, has_moved, numbers in told:
        held += has_moved
        assert numbers == list(range(1, held + 1))
    assert {(status, has_moved) for status, has_moved, _ in told} == {
        (-signal.SIGKILL, False), (-signal.SIGKILL, True), (0, True),
    }  # fmt: skip
    assert len(told) > 8
    promote(registry, c)
    assert not [path.name for path in registry.folder.rglob(".*.json.*")]


TWO = """
import sys
from tunesmith.errors import RunError
from tunesmith.run.champion import Registry
registry, runs = Registry(sys.argv[1]), sys.argv[3:]
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    registry.promote(runs[number % 2], by=sys.argv[2], reason=str(number))
"""


def test_two_processes_at_once_lose_no_promotion(registry, tmp_path):
    names = ("one", "two")
    own = [[str(make_run(tmp_path / f"{name}-{i}", i)) for i in range(2)] for name in names]
    working = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(registry.folder), name, *runs],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name, runs in zip(names, own, strict=True)
    ]  # fmt: skip
    for process in working:
        assert process.stdout.readline() == "ready\n"
    for process in working:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in working:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    told = registry.history()
    assert [one.number for one in told] == list(range(1, 41))
    for name in names:
        assert [one.reason for one in told if one.by == name] == [str(n) for n in range(20)]
    assert [one.previous for one in told] == [None, *range(1, 40)]
