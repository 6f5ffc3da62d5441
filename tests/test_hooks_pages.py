"""docs/hooks.md and docs/trackers.md: their code runs, in order; what they list is what there is."""

import re
from pathlib import Path

import pytest

import tunesmith
from tunesmith.run import Run
from tunesmith.testing.tiny import tiny_rows, write_rows
from tunesmith.trackers import TRACKERS
from tunesmith.training.callback_methods import CALLED, NEVER_CALLED

DOCS = Path(__file__).parents[1] / "docs"
HOOKS, TRACKERS_PAGE = ((DOCS / name).read_text() for name in ("hooks.md", "trackers.md"))


def blocks(page):
    return re.findall(r"```python\n(.+?)```", page, re.DOTALL)


@pytest.fixture
def place(tiny_model, tmp_path, monkeypatch):
    """A folder with the data of the page, where its trainings have few steps and a tiny model."""
    rows = [{"text": row["text"], "intent": row["label"]} for row in tiny_rows(120)]
    write_rows(tmp_path / "messages.csv", rows)
    monkeypatch.chdir(tmp_path)
    train = tunesmith.train
    short = {"train.max_steps": 4, "train.eval_steps": 2, "evaluate.baselines": False}
    monkeypatch.setattr(
        tunesmith, "train", lambda **given: train(**given, model=tiny_model, progress=False, overrides=short),
        raising=False,
    )  # fmt: skip
    monkeypatch.setattr("tunesmith.pipeline.training.write_report", lambda run: None)
    return tmp_path


@pytest.mark.slow
def test_the_examples_of_hooks_run(place):
    names = {}
    for block in blocks(HOOKS):
        exec(compile(block, "docs/hooks.md", "exec"), names)
    runs = {path.name: Run.open(path) for path in (place / "runs").iterdir()}
    given = {name: list(run.manifest()["hooks"]) for name, run in runs.items()}
    assert given == {
        "watched": ["callbacks"], "halved": ["callbacks"], "focal": ["loss"], "sgd": ["optimizer"],
        "root": ["scheduler"], "cycle": ["scheduler"], "deeper": ["model_init"], "forgetful": ["model_init"],
        "dropout": ["collate"],
    }  # fmt: skip
    assert any("perplexity" in e.get("values", {}) for e in runs["watched"].events())
    assert runs["focal"].manifest()["hooks"]["loss"]["arguments"] == {"gamma": "2.0"}


def test_every_keyword_of_hooks_is_described():
    from dataclasses import fields

    from tunesmith.hooks import Hooks

    rows = re.findall(r"^\| `(\w+)` \| ", HOOKS.split("## Resuming")[0], re.MULTILINE)
    assert rows == [field.name for field in fields(Hooks)]


def test_every_method_of_a_callback_is_described():
    table = re.findall(r"^\| ((?:`on_\w+`(?:, )?)+) \|", HOOKS, re.MULTILINE)
    assert set(re.findall(r"on_\w+", " ".join(table))) == set(CALLED)
    assert all(f"`{name}`" in HOOKS for name in NEVER_CALLED)


def test_the_example_of_a_tracker_tracks(tiny_recipe, monkeypatch):
    from tunesmith import pipeline

    names = {}
    exec(compile(blocks(TRACKERS_PAGE)[0], "docs/trackers.md", "exec"), names)
    train = {"max_steps": 2, "num_train_epochs": "auto", "report_to": ["lines"]}
    with TRACKERS.replaced("lines", names["tracker"]):
        run = pipeline.train(tiny_recipe.replace(train=train))
    written = (run.path / "trackers" / "lines" / "log.jsonl").read_text()
    assert "train/loss" in written
    assert "test/accuracy_low" in written


def test_every_tracker_is_described():
    rows = re.findall(r"^\| `(\w+)` \| `pip install 'tunesmith\[(\w+)\]'`", TRACKERS_PAGE, re.MULTILINE)
    assert sorted(rows) == [(name, TRACKERS.get(name).extra) for name in TRACKERS.built_in()]
