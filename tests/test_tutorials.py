"""The tutorials run: every command and every block of Python, in order, in one folder, with few steps on few rows.

A tiny model with random weights is in the place of a model of the Hub, and of the embedded one where
tests/test_examples.py runs the same recipe with it.
"""

import functools
import re
import shlex
import shutil
from pathlib import Path

import pytest

import tunesmith
from tunesmith.testing.tiny import write_tiny_model

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
ROWS = 28
HUB_MODELS = {"chat": "llama", "tools": "llama", "summarization": "bart", "translation": "bart"}
TINY_MODELS = {**HUB_MODELS, "question-answering": "bert", "token-classification": "bert"}
SHORT = ["train.max_steps=2", "evaluate.bootstrap_samples=100"]
SHORT_WRITING = ["data.max_length=128", "generate.max_new_tokens=8", "evaluate.baselines=false"]


@pytest.fixture(scope="module")
def tiny_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        family: str(write_tiny_model(folder / family, family=family)) for family in {*TINY_MODELS.values()}
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the first rows of the examples."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    files = [*(tmp_path / "examples").rglob("*.jsonl"), tmp_path / "examples" / "reviews.csv"]
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        file.write_text("".join(lines[:ROWS]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(page):
    """Commands, and blocks of Python, in their order."""
    for language, text in re.findall(
        r"^```(console|python)\n(.+?)^```", page.read_text(), re.DOTALL | re.MULTILINE
    ):
        if language == "python":
            yield language, text
        else:
            yield from (("console", line) for line in text.splitlines() if line.strip())


def shortened(arguments, tiny_models):
    """A training of few steps, with a tiny model where there is one for the recipe."""
    if arguments[0] != "train":
        return arguments
    name = Path(arguments[1]).stem
    tiny = [f"model={tiny_models[TINY_MODELS[name]]}"] if name in TINY_MODELS else []
    writes = name in {*HUB_MODELS, "preference"}
    return [*arguments, *SHORT, *tiny, *(SHORT_WRITING if writes else [])]


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs(page, folder, tunesmith, tiny_models, capsys):
    found = list(blocks(page))
    assert len(found) >= 2
    for language, text in found:
        if language == "python":
            exec(compile(text, str(page), "exec"), {})
            assert capsys.readouterr().out.strip()
            continue
        program, *arguments = shlex.split(text)
        done = tunesmith(*shortened(arguments, tiny_models))
        assert program == "tunesmith"
        assert done.code == 0, f"{text}\n{done.err[-2000:]}"
        assert done.out.strip() or "--output" in text


def test_there_is_a_tutorial_for_every_use():
    assert {page.stem for page in TUTORIALS} >= {"sentiment", "entities", "documents", "translation", "chat"}


@pytest.mark.slow
def test_the_python_of_the_readme_runs(folder, monkeypatch, capsys):
    """With few steps: README's call is the same, but for the steps."""
    train = tunesmith.train
    monkeypatch.setattr(tunesmith, "train", functools.partial(train, overrides=SHORT))
    shutil.copy(folder / "examples" / "reviews.csv", folder)
    [(_, text)] = [block for block in blocks(ROOT / "README.md") if block[0] == "python"]
    exec(compile(text, "README.md", "exec"), {})
    assert "accuracy" in capsys.readouterr().out
    assert (folder / "runs" / "reviews" / "report.html").is_file()
