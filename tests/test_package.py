"""The package from outside: its façade, its start-up, what it imports."""

import json
import statistics
import subprocess
import sys
import time

import pytest

import tunesmith

HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "sklearn",
    "matplotlib",
    "pandas",
    "pyarrow",
    "scipy",
)


def test_facade_holds_what_it_promises():
    assert set(dir(tunesmith)) == set(tunesmith.__all__)
    for name in tunesmith.__all__:
        assert getattr(tunesmith, name) is not None
    with pytest.raises(AttributeError):
        tunesmith.nothing  # noqa: B018


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_does_not_import_what_is_heavy(arguments):
    code = (
        "import sys, json, atexit\n"
        "atexit.register(lambda: sys.stderr.write(json.dumps(sorted(sys.modules))))\n"
        f"sys.argv = ['tunesmith', *{arguments}]\n"
        "from tunesmith.cli.main import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stderr))
    assert not modules & set(HEAVY)


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, tunesmith; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_at_once():
    """Median of ten below 300 ms, less what Python itself takes on a machine that is slow today."""

    def median_s(command):
        times = []
        for _ in range(10):
            began = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    bare = median_s([sys.executable, "-c", "pass"])
    ours = median_s([sys.executable, "-m", "tunesmith", "--help"])
    assert ours < max(0.3, 0.28 + bare), f"{ours:.3f} s, and Python alone {bare:.3f} s"
