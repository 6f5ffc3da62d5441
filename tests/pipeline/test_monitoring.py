"""`monitor` from a run and rows to alarms: files, logs with and without texts, older runs."""

import csv
import json
import random
import shutil

import numpy as np
import pytest

import tunesmith
from tunesmith import pipeline
from tunesmith.errors import DataError, RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.monitoring.prediction_log import Answer, PredictionLog
from tunesmith.monitoring.reference import FILE, Reference
from tunesmith.run import Run
from tunesmith.testing.tiny import tiny_rows

STRANGE = "el perro de la vecina corre por la calle y ladra a los gatos"


@pytest.fixture(scope="module")
def run(finished_run):
    return finished_run


def write(path, rows, *, labels=True):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(("text", "label") if labels else ("text",))
        writer.writerows((row["text"], row["label"]) if labels else (row["text"],) for row in rows)
    return path


@pytest.fixture(scope="module")
def new_rows():
    rows = tiny_rows(1200)[260:]
    random.Random(0).shuffle(rows)
    return rows


@pytest.fixture(scope="module")
def drifted(new_rows):
    return [
        *new_rows[:60],
        *({"text": f"{STRANGE} {i}", "label": it["label"]} for i, it in enumerate(new_rows[:60])),
    ]


def test_every_run_keeps_a_reference_without_texts(run, tiny_files):
    reference = Reference.load(run.data)
    with tiny_files["test"].open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert len(reference.rows) == 60 + 40  # validation rows join, as there are few test rows
    assert reference.split == "test"
    assert reference.rows.vectors.shape[0] == 100
    assert len(reference.rows.known("correct")) == 60
    kept = (run.data / FILE).read_bytes().decode("utf-8", "replace")
    assert not any(row["text"] in kept for row in rows)


def test_the_rows_of_the_reference_are_what_monitor_sees_of_the_same_file(run, tiny_files):
    """What a training keeps and what a file gives are computed on two ways, and must agree."""
    reference = Reference.load(run.data)
    found = pipeline.monitor(run.path, data=[str(tiny_files["test"])], window=60)
    (window,) = found["windows"]
    test = reference.rows.take(np.arange(60))
    assert window["statistics"]["real_accuracy"]["value"] == pytest.approx(test.known("correct").mean())
    assert window["statistics"]["length"]["value"] == np.median(test.known("tokens"))
    assert window["statistics"]["unknown_words"]["value"] == pytest.approx(
        test.known("unknown_words").mean(), abs=1e-4
    )
    assert window["statistics"]["estimated_accuracy"]["details"]["average_confidence"] == pytest.approx(
        test.known("score").mean(), abs=1e-4
    )
    assert found["ok"]


def test_other_texts_alarm_and_their_examples_are_given(run, drifted, tmp_path):
    found = tunesmith.monitor(run, str(write(tmp_path / "new.csv", drifted)), window=60, progress=False)
    assert not found.ok
    assert {alarm["window"] for alarm in found.alarms} == {2}
    drift = next(alarm for alarm in found.alarms if alarm["statistic"] == "input_drift")
    assert STRANGE in drift["evidence"]["rows"][0]["text"]
    assert drift["evidence"]["rows"][0]["row"].startswith("new.csv:")
    json.dumps(found, allow_nan=False)
    assert "ALARM  window 2" in repr(found)
    found.write(tmp_path / "monitor.html")
    assert "perro" in (tmp_path / "monitor.html").read_text(encoding="utf-8")


def test_rows_need_no_labels_and_unknown_labels_are_said(run, new_rows, tmp_path):
    bare = pipeline.monitor(
        run.path, data=[str(write(tmp_path / "bare.csv", new_rows[:60], labels=False))], window=60
    )
    assert bare["not_measured"]["real_accuracy"] == "no row has a true label"
    odd = [
        {**row, "label": "never heard of" if i < 5 else row["label"]} for i, row in enumerate(new_rows[:60])
    ]
    found = pipeline.monitor(run.path, data=[str(write(tmp_path / "odd.csv", odd))], window=60)
    assert found["windows"][0]["statistics"]["real_accuracy"]["details"]["labels"] == 55
    assert any("5 rows have a label that the run does not know" in note for note in found["notes"])


def test_only_the_newest_windows_are_measured_when_asked(run, new_rows, tmp_path):
    file = write(tmp_path / "new.csv", new_rows[:180])
    found = pipeline.monitor(run.path, data=[str(file)], window=60, last=1)
    assert [window["window"] for window in found["windows"]] == [3]


@pytest.fixture(scope="module")
def answered(run, new_rows):
    predictor = Predictor.from_run(run.path)
    texts = [*(row["text"] for row in new_rows[:120]), *(f"{STRANGE} {i}" for i in range(60))]
    return texts, predictor(texts)


def log_of(folder, answered, run, mode, feedback=()):
    log = PredictionLog(folder, mode)
    texts, answers = answered
    log.add(
        Answer(f"r-{i}", 1e9 + 60 * i, run.path.name, text, {**given, "tokens": len(text.split()) + 2}, 0.01)
        for i, (text, given) in enumerate(zip(texts, answers, strict=True))
    )
    for name, label in feedback:
        assert log.feedback(name, label)
    log.close()
    return str(folder)


def test_a_log_with_texts_is_measured_like_a_file(run, answered, new_rows, tmp_path):
    feedback = [(f"r-{i}", new_rows[i]["label"]) for i in range(0, 120, 2)]
    place = log_of(tmp_path / "log", answered, run, "text", feedback)
    found = pipeline.monitor(run.path, log=place, window=60)
    assert {alarm["window"] for alarm in found["alarms"]} == {3}
    assert "input_drift" in {alarm["statistic"] for alarm in found["alarms"]}
    assert found["windows"][1]["statistics"]["real_accuracy"]["details"] | {
        "labels": 30, "all_labels": 60,
    } == found["windows"][1]["statistics"]["real_accuracy"]["details"]  # fmt: skip
    assert found["windows"][0]["from"] == 1e9
    file = write(tmp_path / "same.csv", [{"text": text} for text in answered[0]], labels=False)
    same = pipeline.monitor(run.path, data=[str(file)], window=60)
    for name in ("input_drift", "output_drift", "unknown_words", "language", "out_of_scope"):
        for one, other in zip(found["windows"], same["windows"], strict=True):
            assert one["statistics"][name]["value"] == pytest.approx(
                other["statistics"][name]["value"], rel=1e-3
            )


def test_a_log_without_texts_says_what_it_cannot_measure(run, answered, tmp_path):
    place = log_of(tmp_path / "log", answered, run, "hashed")
    found = pipeline.monitor(run.path, log=place, window=60)
    assert found["not_measured"]["input_drift"] == "the texts are not at hand"
    assert {"language", "unknown_words"} <= set(found["not_measured"])
    assert {"output_drift", "length", "estimated_accuracy"} <= set(found["windows"][0]["statistics"])
    assert any("--log text" in note for note in found["notes"])


def test_a_window_of_a_log_that_is_not_full_waits(run, answered, tmp_path):
    place = log_of(tmp_path / "log", answered, run, "hashed")
    found = pipeline.monitor(run.path, log=place, window=100)
    assert (len(found["windows"]), found["waiting"], found["ok"]) == (1, 80, True)


def test_a_log_of_another_run_and_no_log_are_errors(run, answered, tmp_path):
    place = log_of(tmp_path / "log", answered, run, "hashed")
    with pytest.raises(RecipeError, match="no answer of a run with the name `other`") as refused:
        pipeline.monitor(run.path, log=place, served_as="other")
    assert f"`{run.path.name}`" in refused.value.remedy
    with pytest.raises(RecipeError, match="holds no prediction log"):
        pipeline.monitor(run.path, log=str(tmp_path))
    assert not list(tmp_path.glob("*.sqlite"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "got neither"), ({"data": ["a.csv"], "log": "b"}, "got both"),
        ({"data": ["a.csv"], "window": 10}, "50"),
        ({"data": ["a.csv"], "served_as": "x"}, "no effect"), ({"data": ["a.csv"], "last": 0}, "at least 1"),
        ({"data": ["a.csv"], "alpha": 1.5}, "between 0 and 1"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(run, given, said):
    with pytest.raises(RecipeError, match=said):
        pipeline.monitor(run.path, **given)


def test_an_older_run_gets_its_reference_from_its_data_or_says_what_to_do(run, tmp_path, new_rows):
    older = tmp_path / "older"
    shutil.copytree(run.path, older)
    (older / "data" / FILE).unlink()
    Run(older).update_manifest(files={})  # an older run has no checksums
    file = str(write(tmp_path / "new.csv", new_rows[:60]))
    said = []
    pipeline.monitor(older, data=[file], window=60, listeners=[said.append])
    assert any("its reference is made from its data" in getattr(event, "text", "") for event in said)
    kept, made = Reference.load(run.data), Reference.load(Run(older).data)
    np.testing.assert_allclose(made.rows.vectors, kept.rows.vectors, atol=2e-3)
    for name in ("correct", "gold", "tokens", "out_of_scope"):
        np.testing.assert_array_equal(made.rows.number(name), kept.rows.number(name))
    assert made.vocabulary == kept.vocabulary

    (older / "data" / FILE).unlink()
    Run(older).update_manifest(data={**Run(older).manifest()["data"], "fingerprint": "0" * 64})
    with pytest.raises(DataError, match="without a reference to compare with") as refused:
        pipeline.monitor(older, data=[file])
    assert "train the model again" in refused.value.remedy


def test_personal_data_in_new_texts_are_no_drift_of_a_log(run, new_rows, tmp_path):
    """A log keeps `[EMAIL]` where a file has an address; both are read as `[EMAIL]`."""
    texts = [f"{row['text']} ann{i}@example.org" for i, row in enumerate(new_rows[:60])]
    answers = Predictor.from_run(run.path)(texts)
    place = log_of(tmp_path / "log", (texts, answers), run, "text")
    file = write(tmp_path / "same.csv", [{"text": text} for text in texts], labels=False)
    from_log = pipeline.monitor(run.path, log=place, window=60)["windows"][0]["statistics"]
    from_file = pipeline.monitor(run.path, data=[str(file)], window=60)["windows"][0]["statistics"]
    for name in ("input_drift", "unknown_words"):
        assert from_log[name]["value"] == pytest.approx(from_file[name]["value"], rel=1e-3)
