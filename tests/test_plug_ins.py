"""What installed packages add. The package of docs/extend.md is built, installed and used."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.cli import VERBS
from tunesmith.errors import DataError, PluginError
from tunesmith.exporters import EXPORTERS
from tunesmith.metrics import METRICS
from tunesmith.plug_ins import plug_ins
from tunesmith.registry import Registry
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import tiny_rows

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")


def add_package(folder, name, points, modules=None):
    """What pip leaves of an installed package: its metadata, and its modules."""
    info = folder / f"{name.replace('-', '_')}-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(points)
    for module, text in (modules or {}).items():
        (folder / f"{module}.py").write_text(text)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def test_listing_imports_nothing(site):
    add_package(site, "loud", "[tunesmith.tasks]\nloud = loud_one:task\n", {"loud_one": "1 / 0"})
    assert "loud" in TASKS.names()
    assert "loud" not in TASKS.built_in()
    assert TASKS.origin("loud") == "loud 2.0"
    assert TASKS.origin("text-classification") == ""
    assert "loud_one" not in sys.modules


def test_without_a_group_of_ours_importlib_metadata_is_not_imported(site):
    add_package(site, "other", "[console_scripts]\nother = tunesmith.cli.main:main\n")
    code = (
        "import sys, tunesmith.plug_ins as p; print(p.plug_ins('tunesmith.tasks'), "
        "'importlib.metadata' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT / 'src'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "() False"


@pytest.mark.parametrize(
    ("value", "text", "why"),
    [
        ("absent_one:metric", "", "cannot be loaded: ModuleNotFoundError: No module named 'absent_one'"),
        ("failing_one:metric", "1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("empty_one:metric", "", "cannot be loaded: AttributeError"),
        ("wrong_one:metric", "metric = 7", "is not what it should be: int"),
        (
            "named_one:metric",
            "from tunesmith.metrics import *\nfrom tunesmith.metrics import Metric\n"
            "metric = Metric('other', 'maximize', 'share', 'other')",
            "calls itself `other`",
        ),
    ],
)
def test_a_broken_entry_is_an_error_that_names_its_package_when_it_is_asked_for(site, value, text, why):
    module = value.partition(":")[0]
    add_package(site, "bad-luck", f"[tunesmith.metrics]\nluck = {value}\n", {module: text} if text else {})
    if module == "empty_one":
        (site / "empty_one.py").write_text("")
    assert "luck" in METRICS.names()
    assert METRICS.get("accuracy").is_share
    with pytest.raises(PluginError, match=r"the metric `luck` of the package bad-luck 2\.0") as caught:
        METRICS.get("luck")
    assert why in caught.value.rule
    assert "pip uninstall bad-luck" in caught.value.remedy
    found, errors = METRICS.loadable()
    assert "accuracy" in found
    assert "luck" not in found
    assert [error.rule for error in errors] == [caught.value.rule]


def test_a_name_of_ours_is_not_shadowed(site):
    add_package(site, "thief", "[tunesmith.exporters]\nmerged = tunesmith.exporters.bf16:exporter\n")
    with pytest.raises(PluginError, match=r"`merged` has several owners: tunesmith and thief 2\.0"):
        EXPORTERS.get("merged")
    assert EXPORTERS.get("bf16")


def test_two_packages_with_one_name_are_an_error(site):
    registry: Registry[int] = Registry("tunesmith.tasks", "task", int)
    for name in ("one", "two"):
        add_package(site, name, "[tunesmith.tasks]\nsame = os:F_OK\n")
    assert registry.names().count("same") == 1
    with pytest.raises(PluginError, match=r"several owners: one 2\.0 and two 2\.0"):
        registry.get("same")


def test_an_ending_has_one_owner_and_a_broken_format_breaks_no_other(site, tmp_path):
    from tunesmith.data.reading import read_rows

    text = (
        "from tunesmith.data.formats import FileFormat\n"
        "format = FileFormat('like CSV', ('.csv',), lambda file: iter(()))\n"
    )
    points = "[tunesmith.formats]\nalike = alike_one:format\nbroken = absent_one:format\n"
    add_package(site, "alike", points, {"alike_one": text})
    for name, content in (("a.csv", "text\nx\n"), ("a.jsonl", '{"text": "x"}\n'), ("a.odd", "\x00\x01")):
        (tmp_path / name).write_text(content)
    assert [row.values for _, row in read_rows(str(tmp_path / "a.jsonl"))] == [{"text": "x"}]
    with pytest.raises(DataError, match=r"several formats claim: csv, alike.*\n.*alike 2\.0"):
        list(read_rows(str(tmp_path / "a.csv")))
    with pytest.raises(DataError, match=r"no known format.*`broken` of the package alike 2\.0 cannot"):
        list(read_rows(str(tmp_path / "a.odd")))


def test_a_broken_verb_breaks_no_help_but_its_own(site, tunesmith):
    points = "[tunesmith.verbs]\nbroken = absent_one:verb\nenv = os:getcwd\n"
    add_package(site, "verbose", points)
    shown = tunesmith("--help")
    assert shown.code == 0
    assert re.search(r"broken +Added by verbose 2\.0", shown.out)
    assert tunesmith("list", "--help").code == 0
    broken = tunesmith("broken", "--help")
    assert broken.code == 2
    assert "`broken` of the package verbose 2.0 cannot be loaded" in broken.err
    taken = tunesmith("env")
    assert taken.code == 2
    assert "several owners: tunesmith and verbose 2.0" in taken.err
    listed = tunesmith("list", "verbs")
    assert listed.code == 0
    assert "verbose 2.0 cannot be loaded" in listed.err


# ---- the package of docs/extend.md ----


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the package was installed into, by pip and without a network."""
    folder, target = tmp_path_factory.mktemp("extend"), tmp_path_factory.mktemp("site")
    blocks = re.findall(
        r"^`(yes-no/[\w./-]+)`:\n\n```(?:python|toml)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE
    )
    assert len(blocks) == 7 == len(re.findall(r"^```(?:python|toml)$", PAGE, re.MULTILINE))
    for path, text in blocks:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    command = [sys.executable, "-m", "pip", "install", *options, str(folder / "yes-no")]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture
def use(installed, monkeypatch, tmp_path):
    """The folder to work in, with the package on the path."""
    monkeypatch.syspath_prepend(installed)
    monkeypatch.chdir(tmp_path)
    rows = [("yes" if row["label"] == "colour" else "no", row["text"]) for row in tiny_rows(80, seed=0)]
    Path("questions.yn").write_text("".join(f"{answer}\t{text}\n" for answer, text in rows))
    return tmp_path


def commands():
    (block,) = re.findall(r"```console\n(.+?)```", PAGE, re.DOTALL)
    first, *others = block.splitlines()
    assert first == "pip install ./yes-no"
    return [shlex.split(line)[1:] for line in others]


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="setuptools builds the package")
def test_the_package_of_the_page_is_used_from_the_command_line(use, tunesmith, tiny_model):
    outputs = {}
    for arguments in commands():
        small = ["--model", tiny_model, "train.max_steps=4", "evaluate.bootstrap_samples=100"]
        done = tunesmith(*arguments, *(small if arguments[0] == "train" else ()))
        assert done.code == 0, f"{arguments}\n{done.err}"
        outputs[arguments[0]] = done.out
    assert tunesmith("count").code == 2
    assert "Count the rows of a data file." in tunesmith("count", "--help").out
    assert re.search(r"count +Added by yes-no 1\.0", outputs["--help"])
    assert re.search(
        r"yes-no +text, answer +accuracy +encoder +yes or no for each text +yes-no 1\.0", outputs["list"]
    )
    assert outputs["count"] == "80 rows\n"
    metrics = json.loads((use / "runs/yes-no/metrics.json").read_text())
    (split,) = metrics["splits"]
    assert set(metrics["splits"][split]) == {"accuracy", "miss_rate"}
    assert set(metrics["baselines"]) == {"majority", "one_word"}
    report = (use / "runs/yes-no/report.html").read_text()
    assert "missed yes" in report
    assert "yes where one word is" in report
    assert (use / "runs/yes-no-sharded/model.safetensors").is_file()
    assert "answers are the run's" in outputs["export"]


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="setuptools builds the package")
def test_every_group_of_the_page_is_seen_by_its_registry(use):
    groups = re.findall(r'entry-points\."(tunesmith\.\w+)"', PAGE)
    assert len(groups) == 6
    for group in groups:
        (one,) = plug_ins(group)
        assert one.origin == "yes-no 1.0"
    assert VERBS.get("count").__doc__ == "Count the rows of a data file."
    assert not METRICS.get("miss_rate").greater_is_better
