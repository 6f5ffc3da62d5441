"""A run as people hold it."""

import json
import os
from pathlib import Path
from weakref import WeakValueDictionary

import pandas as pd
import pytest

import tunesmith
from tunesmith import run as folders
from tunesmith.testing.tiny import tiny_rows


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame(tiny_rows(120)).rename(columns={"text": "body", "label": "intent"})


@pytest.fixture(scope="module")
def run(tiny_model, frame, tmp_path_factory):
    return tunesmith.train(
        frame, label="intent", text="body", model=tiny_model, output_dir=tmp_path_factory.mktemp("run") / "a",
        method="probe", validation=0.2, overrides={"evaluate.bootstrap_samples": 100}, progress=False,
    )  # fmt: skip


def test_a_run_is_taken_wherever_its_path_is(run):
    assert os.fspath(run) == str(run.path)
    assert isinstance(run, tunesmith.Run)
    assert isinstance(run, folders.Run)
    assert tunesmith.load(run)("a cat") == run.predict("a cat")
    assert tunesmith.Run.open(run.path).metrics == run.metrics
    assert isinstance(tunesmith.Run.open(run.path), tunesmith.Run)


def test_the_model_is_loaded_once(run):
    assert run.predictor is run.predictor
    assert isinstance(run.predictor, tunesmith.Predictor)


def test_it_says_what_it_is(run, tmp_path):
    value = run.metrics["primary"]["value"]
    assert repr(run).startswith(f"<Run {run.path}: text-classification, accuracy {100 * value:.1f} % (")
    n = run.metrics["primary"]["n"]
    assert n + run.metrics["primary"]["left_out"] == 24
    assert repr(run).endswith(f"on {n} validation rows>")
    page = run._repr_html_()
    assert f"<code>{run.path}</code>" in page
    assert f"{100 * value:.1f} %" in page
    assert "no run is there" in repr(tunesmith.Run(tmp_path / "none"))


def test_a_run_that_was_stopped_says_so(run, tmp_path):
    manifest = {key: value for key, value in run.manifest().items() if key not in ("finished", "sum")}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    stopped = tunesmith.Run(tmp_path)
    assert "has not come to its end" in repr(stopped)
    assert "has not come to its end" in stopped._repr_html_()
    with pytest.raises(tunesmith.RunError, match="has not come to its end"):
        stopped.predict("a cat")


def test_its_report_is_a_page_in_a_notebook(run, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    assert str(run.report) == os.fspath(run.report) == str(run.report_file)
    assert run.report.path == run.report_file
    assert run.report.open()
    assert opened == [run.report_file.resolve().as_uri()]
    page = run.report._repr_html_()
    assert page.startswith('<iframe srcdoc="&lt;!')
    assert page.count('"') == 6, "what is in the page must not end the attribute"


def test_evaluate_and_export_take_objects_too(run, frame):
    scores = run.evaluate(frame[:50], progress=False)
    assert scores["seen_in_training"]["of"] == 50
    facts = run.export("merged", progress=False)
    assert facts["check"]["agreement"] == 1.0
    assert facts["check"]["rows"] == 24, "the run's own validation rows"
    assert tunesmith.load(facts["path"])("a cat")["label"] == run.predict("a cat")["label"]


def test_an_export_in_another_process_needs_the_rows_again(run, frame, monkeypatch):
    """Given again, they are the run's own; others are rows to check with."""
    path = Path(run.path)
    monkeypatch.setattr("tunesmith.data.formats.memory._HELD", WeakValueDictionary())
    with pytest.raises(tunesmith.DataError, match=r"they cannot be read: .* was an object in the memory"):
        tunesmith.export(path, "merged", output_dir=path.with_name("b"), progress=False)
    again = tunesmith.export(
        path, "merged", output_dir=path.with_name("c"), data=frame.copy(), progress=False
    )
    assert again["check"]["rows"] == 24
    other = tunesmith.export(path, "merged", output_dir=path.with_name("d"), data=frame[:30], progress=False)
    assert other["check"]["rows"] == 30


def test_wrong_rows_are_named(run, frame):
    wrong = frame.copy()
    wrong.loc[wrong.index[17], "body"] = None
    with pytest.raises(tunesmith.DataError, match=r"DataFrame, row 17: .*no text"):
        run.predict(wrong)
    with pytest.raises(tunesmith.DataError, match="DataFrame, row 17: no text"):
        run.evaluate(wrong, progress=False)
    with pytest.raises(tunesmith.RowError, match="row 17 of the Series: no text"):
        run.predict(wrong["body"])
    with pytest.raises(tunesmith.DataError, match=r"trained with `text` = column `body`"):
        run.predict(frame.rename(columns={"body": "other"}))
