"""What holds for the whole process is set on demand alone: by the command line, and by `tune_process`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
_CLEAN = {name: value for name, value in os.environ.items() if name not in NAMES}
# Notes what the C library is asked, and prints the variables and that at the end.
_PROGRAM = """
import ctypes, json, os
asked, load = [], ctypes.CDLL
class Library:
    def __init__(self, name):
        self._real = load(name)
    def __getattr__(self, name):
        real = getattr(self._real, name)
        return (lambda *given: asked.append(given) or real(*given)) if name == "mallopt" else real
ctypes.CDLL = lambda name, *more, **named: Library(name) if name is None else load(name, *more, **named)
before = dict(os.environ)
{body}
changed = {{name: os.environ[name] for name in os.environ if os.environ[name] != before.get(name)}}
print(json.dumps([changed, asked]))
"""


def run(body, **given):
    program = _PROGRAM.format(body=body)
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program],
        env={**_CLEAN, **given}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    changed, asked = json.loads(done.stdout.splitlines()[-1])
    return changed, asked, done.stderr


@pytest.mark.slow
def test_importing_the_package_and_loading_a_model_change_nothing(tiny_model):
    changed, asked, _ = run(
        "import tunesmith, tunesmith.pipeline\n"
        "from tunesmith.acceleration import accelerated\n"
        "from tunesmith.models.loading import load_for_training\n"
        "from tunesmith.models.resolve import resolve_model\n"
        "from tunesmith.tasks import TASKS\n"
        f"files = resolve_model({str(tiny_model)!r})\n"
        "task = TASKS.get('text-classification')\n"
        "accelerated(load_for_training(files, task, {'labels': ['a', 'b']}, pooling='auto', seed=0))\n"
        "ours = {name: os.environ.get(name) for name in " + repr(NAMES) + "}\n"
        "assert not any(ours.values()), ours"
    )
    assert not set(changed) & set(NAMES)
    assert asked == []


def test_importing_the_package_leaves_the_environment_as_it_is():
    changed, asked, _ = run("import tunesmith; [getattr(tunesmith, name) for name in tunesmith.__all__]")
    assert changed == {}
    assert asked == []


@pytest.mark.parametrize(
    "body", ["import tunesmith; tunesmith.tune_process()", "import sys; sys.argv = ['tunesmith', 'list']\n"
             "from tunesmith.cli.main import main\ntry: main()\nexcept SystemExit: pass"]
)  # fmt: skip
def test_the_command_line_and_tune_process_set_it(body):
    changed, asked, said = run(body)
    assert {name: changed.get(name) for name in NAMES} == dict(
        zip(NAMES, ("3000", None, "128", "128"), strict=True)
    )
    assert asked == ([[-3, 32 << 20], [-1, 1 << 30]] if sys.platform.startswith("linux") else [])
    assert said == ""


@pytest.mark.parametrize(
    "given", [{"GOMP_SPINCOUNT": "7", "LRU_CACHE_CAPACITY": "9"}, {"OMP_WAIT_POLICY": "active"}]
)
def test_what_the_user_has_chosen_stays(given):
    changed, _, _ = run("import tunesmith; tunesmith.tune_process()", **given)
    assert not set(given) & set(changed)
    assert "GOMP_SPINCOUNT" not in changed


def test_garbage_is_collected_rarely_unless_the_program_chose_otherwise():
    program = "import gc, tunesmith; gc.set_threshold({}); tunesmith.tune_process(); "
    program += "os.environ['FOUND'] = str(gc.get_threshold())"
    for given, found in (
        ("700, 10, 10", (10_000, 10, 10)),
        ("0", (0, 10, 10)),
        ("50_000, 5, 5", (50_000, 5, 5)),
    ):
        changed, _, _ = run(program.format(given))
        assert changed["FOUND"] == str(found)


def test_too_late_is_said():
    _, _, said = run("import torch, tunesmith; tunesmith.tune_process()")
    assert "torch is imported already, so GOMP_SPINCOUNT has no effect" in said
