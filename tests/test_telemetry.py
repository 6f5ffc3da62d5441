"""Nothing is sent, and nobody is looked up: the verbs as a real process, watched by Python and by the kernel."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "tunesmith"
STRACE = shutil.which("strace")

# Every verb in turn, in one process that notes what it is asked to reach.
PROGRAM = """
import json, sys

def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        print("REACHED", event, arguments[-1] if event == "socket.connect" else arguments, file=sys.stderr)

sys.addaudithook(note)
from tunesmith.cli.main import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["tunesmith", *arguments]
    try:
        main()
    except SystemExit as end:
        if end.code:
            sys.exit(f"{arguments} ended with {end.code}")
"""


@dataclass
class Watched:
    """What a process tried to reach, as Python saw it and as the kernel did, and what it left in its home."""

    by_python: list[str]
    by_kernel: list[str]
    home: Path


def watch(folder: Path, program: str, *arguments: str) -> Watched:
    """Runs a program without what the tests forbid the Hub, in a home of its own."""
    home, trace = folder / "home", folder / "trace"
    home.mkdir()
    allowed = {k: v for k, v in os.environ.items() if not re.search("OFFLINE|TELEMETRY|DO_NOT_TRACK|XDG", k)}
    command = [sys.executable, "-c", program, *arguments]
    if STRACE:
        calls = "trace=connect,sendto,sendmsg,sendmmsg"
        command = [STRACE, "-f", "-qq", "--seccomp-bpf", "-e", calls, "-o", str(trace), *command]
    environment = {**allowed, "HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    reached = [line for line in done.stderr.splitlines() if line.startswith("REACHED")]
    calls_out = trace.read_text().splitlines() if STRACE else []
    outside = [line for line in calls_out if re.search(r"AF_INET|/resolve/", line)]
    return Watched(reached, outside, home)


@pytest.fixture(scope="module")
def verbs(tiny_model, tiny_files, tmp_path_factory) -> Watched:
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("verbs")
    run, export, data = str(folder / "run"), str(folder / "export"), str(tiny_files["validation"])
    recipe = [f"model={tiny_model}", f"data.train={tiny_files['train']}", "train.max_steps=2"]
    return watch(
        folder,
        PROGRAM,
        json.dumps([
            ["list"],
            ["env"],
            ["train", *recipe, f"output_dir={run}", "evaluate.baselines=false"],
            ["predict", run, "a cat"],
            ["evaluate", run, "--data", data],
            ["export", run, "--to", "onnx", "--output-dir", export],
            ["predict", export, "--data", data],
        ]),
    )  # fmt: skip


def test_no_verb_connects_or_looks_up_a_name_in_python(verbs):
    assert verbs.by_python == []


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_no_verb_connects_or_looks_up_a_name_beneath_python(verbs):
    assert verbs.by_kernel == []


def test_no_library_leaves_an_id_of_the_machine(verbs):
    left = [path.relative_to(verbs.home).as_posix() for path in verbs.home.rglob("*") if path.is_file()]
    assert [path for path in left if re.search("microsoft|deviceid|telemetry", path, re.IGNORECASE)] == []


def test_an_attempt_is_seen(tmp_path):
    """Else the tests above could not fail."""
    reaching = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    evaluated = watch(tmp_path, PROGRAM.partition("from tunesmith")[0] + reaching)
    assert len(evaluated.by_python) == 1
    assert len(evaluated.by_kernel) == (1 if STRACE else 0)


def test_onnxruntime_is_imported_in_one_place():
    found = [
        path.name
        for path in SOURCE.rglob("*.py")
        if re.search(r"^\s*(from|import) onnxruntime|import_module\(f?\"onnxruntime", path.read_text(), re.M)
    ]
    assert found == ["_telemetry.py"]


def test_the_package_switches_it_off_whatever_the_environment_says():
    program = (
        "import os, tunesmith; print(os.environ['ORT_DISABLE_TELEMETRY'])\n"
        "import huggingface_hub.constants as c; print(c.HF_HUB_DISABLE_TELEMETRY)"
    )
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0", "HF_HUB_DISABLE_TELEMETRY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "True"]
