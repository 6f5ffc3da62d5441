"""What the docs say is so: paths exist, and commands run. `make check` compares the generated pages."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))  # tests/test_tutorials.py runs their commands
OTHERS = [ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]


def test_every_path_of_the_architecture_table_exists():
    rows = re.findall(r"^\| .+ \| `(.+)` \|$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    assert len(rows) > 20
    for path in rows:
        assert (ROOT / path).exists(), path


def test_the_walk_of_the_architecture_names_what_is_there():
    page = (ROOT / "docs" / "architecture.md").read_text()
    walk = page.split("## From a file to a prediction")[1].split("\n## ")[0]
    hops = re.findall(r"^\d+\. (.+?)(?=^\d+\. |\Z)", walk, re.MULTILINE | re.DOTALL)
    assert 10 < len(hops) <= 20
    for hop in hops:
        source = ""
        for name in re.findall(r"`([\w/]+(?:\.py)?)`", hop.partition(":")[0]):
            if name.endswith(".py"):
                source = (ROOT / "src" / "tunesmith" / name).read_text()
            else:
                assert re.search(rf"^ *(def|class) {name}\b", source, re.MULTILINE), (hop, name)


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS, *OTHERS], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_a_link_to_the_questions_in_the_code_leads_to_a_heading():
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "faq.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for file in (ROOT / "src").rglob("*.py"):
        assert set(re.findall(r"docs/faq\.md#([a-z-]+)", file.read_text())) <= anchors, file


def test_every_verb_has_a_page():
    from tunesmith.cli import VERBS

    assert {f"{name}.md" for name in VERBS.built_in()} <= {page.name for page in PAGES}


def commands():
    """The commands of all pages; `demo` first, because others use its run.

    Those of extend.md need its package: tests/test_plug_ins.py runs them.
    """
    found = []
    for page in (page for page in PAGES if page.name != "extend.md"):
        for block in re.findall(r"```console\n(.+?)```", page.read_text(), re.DOTALL):
            found += [line for line in block.splitlines() if line.strip()]
    assert all(line.startswith(("tunesmith ", "make ")) for line in found), found
    ours = dict.fromkeys(line for line in found if line.startswith("tunesmith "))
    return sorted(ours, key=lambda line: ("demo" not in line.split()[1], "train" not in line.split()[1]))


@pytest.fixture
def shortened(tiny_model):
    """The command that is run for one of the docs: a training has few steps, and a tiny model.

    README's first training has the embedded model. tests/test_examples.py runs the recipes with it, and
    tests/test_wheel.py the demo.
    """

    def shorten(line):
        if not line.startswith(("tunesmith demo", "tunesmith train ", "tunesmith tune ")):
            return line
        seeds = " tune.seeds=1" if "tune examples" in line else ""
        tiny = "" if line == example_output()[0] or "model=" in line else f" model={tiny_model}"
        return line + seeds + tiny + ("" if "probe" in line else " train.max_steps=3")

    return shorten


ROWS = 120
"""Every intent is among the first rows of the example."""


@pytest.mark.slow
@pytest.mark.timeout(1800)  # about a minute; many more where other programs take the cores
def test_every_command_of_the_docs_runs(tmp_path, monkeypatch, tunesmith, shortened):
    """In an empty folder with the examples. The demo brings its rows itself, other commands learn from fewer."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ROOT / "examples" / "reviews.csv", tmp_path)
    train = tmp_path / "examples" / "support" / "train.jsonl"
    train.write_text("".join(train.read_text().splitlines(keepends=True)[:ROWS]))
    monkeypatch.chdir(tmp_path)
    assert len(commands()) >= 8
    outputs = {}
    for line in commands():
        done = tunesmith(*shlex.split(shortened(line))[1:])
        assert done.code == 0, f"{line}\n{done.err[-2000:]}"
        outputs[line] = done.out
    command, shown = example_output()
    assert shape(shown) == shape(outputs[command])


def example_output():
    """README's first training, and what README shows of its output."""
    page = (ROOT / "README.md").read_text()
    command, output = re.search(
        r"```console\n(tunesmith train [^\n]+)\n```\n.+?```text\n(.+?)```", page, re.DOTALL
    ).groups()
    return command, output


def shape(output):
    """The first word of each line, where it does not depend on the scores; a verdict does."""
    words = [line.split()[0] if line.strip() else "" for line in output.strip().splitlines()]
    known = {
        "",
        "split",
        "test",
        "accuracy",
        "majority",
        "tfidf_logistic_regression",
        "probe",
        "this",
        "model",
    }
    known |= {"report", "next"}
    return [word if word in known or word.startswith("─") else "…" for word in words]


def test_the_readme_shows_a_picture_and_an_output():
    command, output = example_output()
    assert command.startswith("tunesmith train reviews.csv")
    assert "this model" in output
    assert (ROOT / "docs" / "images" / "report.png").stat().st_size < 300_000


def test_make_targets_of_the_docs_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", page.read_text(), re.MULTILINE):
            assert ({*target} - {""}) <= targets, target
