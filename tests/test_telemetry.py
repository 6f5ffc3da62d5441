"""Nothing is sent, and nobody is looked up: the verbs as a real process, watched by Python and by the kernel."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

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


# What forbids a library to send anything; mlflow also asks whether it is tested.
_FORBIDDING = "OFFLINE|TELEMETRY|DO_NOT_TRACK|XDG|PYTEST|^CI$|GITHUB|GITLAB|WANDB|MLFLOW|TRACKIO"


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
    allowed = {k: v for k, v in os.environ.items() if not re.search(_FORBIDDING, k)}
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


@pytest.mark.slow
def test_no_verb_connects_or_looks_up_a_name_in_python(verbs):
    assert verbs.by_python == []


@pytest.mark.slow
@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_no_verb_connects_or_looks_up_a_name_beneath_python(verbs):
    assert verbs.by_kernel == []


@pytest.mark.slow
def test_no_library_leaves_an_id_of_the_machine(verbs):
    left = [path.relative_to(verbs.home).as_posix() for path in verbs.home.rglob("*") if path.is_file()]
    assert [path for path in left if re.search("microsoft|deviceid|telemetry", path, re.IGNORECASE)] == []


def test_an_attempt_is_seen(tmp_path):
    """Else the tests above could not fail."""
    reaching = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    watched = watch(tmp_path, PROGRAM.partition("from tunesmith")[0] + reaching)
    assert len(watched.by_python) == 1
    assert len(watched.by_kernel) == (1 if STRACE else 0)


@pytest.mark.parametrize("library", ["onnxruntime", "huggingface_hub", "datasets"])
def test_what_sends_something_is_imported_in_one_place(library):
    """Parts of huggingface_hub that hold errors alone may be imported where they are caught."""
    imported = rf"^\s*(from {library} import|import {library})|import_module\(f?\"{library}"
    found = [path.name for path in SOURCE.rglob("*.py") if re.search(imported, path.read_text(), re.M)]
    assert found == ["_telemetry.py"]


@pytest.mark.parametrize("library", ["mlflow", "trackio", "wandb"])
def test_trackers_are_imported_through_the_same_door(library):
    imported = rf"^\s*(from {library}|import {library})|import_module\(f?\"{library}"
    assert [path.name for path in SOURCE.rglob("*.py") if re.search(imported, path.read_text(), re.M)] == []
    asked = re.search(rf'import_tracker\("{library}"\)', (SOURCE / "trackers" / f"{library}.py").read_text())
    assert asked


_DOORS = {
    "load": "import tunesmith\nwith contextlib.suppress(UserError): tunesmith.load('no-run')",
    "train": "import tunesmith\nwith contextlib.suppress(UserError): "
    "tunesmith.train(task='chat', data='no.csv', output_dir='no')",
    "resolve": "from tunesmith.models.resolve import resolve_model\n"
    "with contextlib.suppress(UserError): resolve_model('no/such-model')",
    "datasets": "from tunesmith._telemetry import import_datasets; import_datasets()",
}
_EARLIER = "import transformers, huggingface_hub.constants\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("door", "earlier"), [("load", _EARLIER), ("train", ""), ("resolve", ""), ("datasets", _EARLIER)]
)
def test_every_door_switches_it_off_whatever_the_environment_says(door, earlier, tmp_path):
    """Also where the program has imported the libraries before."""
    program = (
        f"import contextlib, os\n{earlier}from tunesmith.errors import UserError\n{_DOORS[door]}\n"
        "import huggingface_hub.constants as c\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['DO_NOT_TRACK'], c.HF_HUB_DISABLE_TELEMETRY)"
    )
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0", "HF_HUB_DISABLE_TELEMETRY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.split() == ["1", "1", "True"]


# The Python interface, in a program that imports our libraries for itself first; with trackers, and a token of
# the Hub, whose owner trackio would ask for.
TRACKERS = [name for name in ("tensorboard", "mlflow", "trackio") if importlib.util.find_spec(name)]
INTERFACE = """
import json, os, sys

def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        print("REACHED", event, arguments[-1] if event == "socket.connect" else arguments, file=sys.stderr)

sys.addaudithook(note)
import tunesmith
import transformers
model, train, folder, *trackers = sys.argv[1:]
os.environ["HF_TOKEN"] = "hf_nobody"
os.chdir(folder)
how = {"train.max_steps": 2, "evaluate.baselines": False, "train.report_to": trackers}
run = tunesmith.train(model=model, data=train, output_dir=folder + "/run", overrides=how)
tunesmith.predict(run.path, "a cat")
"""


@pytest.mark.slow
def test_the_python_interface_connects_to_nobody(tiny_model, tiny_files, tmp_path):
    found = watch(tmp_path, INTERFACE, str(tiny_model), str(tiny_files["train"]), str(tmp_path), *TRACKERS)
    assert found.by_python == []
    assert found.by_kernel == []
    assert set(json.loads((tmp_path / "run" / "manifest.json").read_text()).get("trackers", {})) == set(
        TRACKERS
    )


def test_mlflow_that_was_imported_before_falls_silent(tmp_path):
    pytest.importorskip("mlflow")
    program = (
        "import socket\nsocket.getaddrinfo = None  # it finds nobody\n"
        "import mlflow\nfrom mlflow.telemetry import get_telemetry_client as client\n"
        "assert client() is not None, 'else this shows nothing'\n"
        "from tunesmith._telemetry import switch_off_telemetry\nswitch_off_telemetry()\nassert client() is None"
    )
    environment = {k: v for k, v in os.environ.items() if not re.search(_FORBIDDING, k)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, cwd=tmp_path)


def test_a_library_that_was_imported_too_early_is_named(monkeypatch):
    """Once, and only where the environment did not silence it."""
    from tunesmith._telemetry import switch_off_telemetry

    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    with pytest.warns(RuntimeWarning, match="onnxruntime is imported already"):
        switch_off_telemetry()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        switch_off_telemetry()
