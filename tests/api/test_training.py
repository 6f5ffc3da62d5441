"""`tunesmith.train`: everything that people hold, as data and as a model."""

import inspect
import json
import subprocess
import sys

import datasets
import pandas as pd
import pytest

import tunesmith
from tunesmith.events import Finished, Note, Step
from tunesmith.recipe import recipe_keys
from tunesmith.testing.tiny import tiny_rows

pytestmark = pytest.mark.usefixtures("lean")

ROWS = tiny_rows(160)
FRAME = pd.DataFrame(ROWS)


@pytest.fixture
def how(tiny_model, tmp_path):
    """A training that takes a second."""
    return {
        "model": tiny_model, "output_dir": tmp_path / "run", "method": "probe", "progress": False,
        "overrides": {"evaluate.bootstrap_samples": 100, "evaluate.baselines": False},
    }  # fmt: skip


def test_train_load_predict_evaluate(tiny_files, how):
    run = tunesmith.train(
        [tiny_files["train"]], validation=tiny_files["validation"], test=[str(tiny_files["test"])], **how
    )
    assert run.metrics["seen_in_training"]["of"] == 60
    assert run.manifest()["data"]["from_memory"] is False
    answer = tunesmith.predict(run, "the cat is red")
    assert answer["label"] == tunesmith.load(run.path)("the cat is red")["label"]
    scores = tunesmith.evaluate(run.path, tiny_files["test"], progress=False)
    assert scores["splits"]["test"] == run.metrics["splits"]["test"]


def a_data_set(rows):
    names = ["animal", "colour"]
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    columns = {"text": [row["text"] for row in rows], "label": [names.index(row["label"]) for row in rows]}
    return datasets.Dataset.from_dict(columns, features=features)


GIVEN = {
    "DataFrame": lambda: (FRAME, {}),
    "Dataset": lambda: (a_data_set(ROWS), {}),
    "rows": lambda: (ROWS, {}),
    "columns": lambda: (dict(FRAME), {}),
    "tuple": lambda: ((list(FRAME["text"]), list(FRAME["label"])), {}),
    "labels": lambda: (list(FRAME["text"]), {"labels": FRAME["label"].to_numpy()}),
}


@pytest.fixture(scope="module")
def expected(tiny_model, tmp_path_factory):
    """The weights that the same rows give from a file."""
    folder = tmp_path_factory.mktemp("expected")
    FRAME.to_json(folder / "rows.jsonl", orient="records", lines=True)
    run = tunesmith.train(
        folder / "rows.jsonl", model=tiny_model, output_dir=folder / "run", method="probe", progress=False
    )
    return (run.model / "model.safetensors").read_bytes(), run.metrics["primary"]


@pytest.mark.parametrize("kind", GIVEN)
def test_whatever_holds_the_rows_the_weights_are_those_of_a_file(kind, how, expected):
    data, more = GIVEN[kind]()
    run = tunesmith.train(data, **more, **how)
    weights, primary = expected
    assert (run.model / "model.safetensors").read_bytes() == weights
    assert run.metrics["primary"] == primary
    assert run.manifest()["data"]["from_memory"] is True
    assert run.manifest()["label_schema"] == {"labels": ["animal", "colour"]}


def test_splits_of_a_data_set_dictionary_are_used(how):
    splits = {"train": ROWS[:100], "validation": ROWS[100:130], "test": ROWS[130:]}
    run = tunesmith.train(datasets.DatasetDict({k: a_data_set(v) for k, v in splits.items()}), **how)
    assert run.manifest()["data"]["rows"] == {"train": 100, "validation": 30, "test": 30}
    assert run.metrics["primary"]["split"] == "test"


def test_each_split_may_be_held_otherwise(how, tiny_files):
    run = tunesmith.train(
        FRAME, validation=(FRAME["text"][:40], FRAME["label"][:40]), test=tiny_files["test"], **how
    )
    assert run.manifest()["data"]["rows"] == {"train": 160, "validation": 40, "test": 60}


def test_several_tables_and_files_are_one_split(how, tiny_files):
    run = tunesmith.train([FRAME[:80], tiny_files["train"], FRAME[80:]], validation=0.25, **how)
    assert sum(run.manifest()["data"]["rows"].values()) == 320
    names = {row.rpartition(":")[0] for row in json.loads((run.data / "splits.json").read_text())["train"]}
    assert names == {"train-1 DataFrame", "train.csv", "train-3 DataFrame"}


def test_the_same_rows_resume_and_others_are_refused(how):
    """As of a file: what counts is the content, not the object."""
    how["method"] = "full"
    how["overrides"] = {"train.max_steps": 6, "train.save_steps": 2, "evaluate.baselines": False}
    steps = []

    def stop():
        return len(steps) >= 3

    with pytest.raises(tunesmith.InterruptedRunError):
        tunesmith.train(
            FRAME,
            listeners=[lambda e: steps.append(e) if isinstance(e, Step) else None],
            should_stop=stop,
            **how,
        )
    with pytest.raises(tunesmith.RunError, match=r"it differs in `data\.train`"):
        tunesmith.train(FRAME[:150], **how)
    seen = []
    run = tunesmith.train(FRAME.copy(), listeners=[seen.append], **how)
    assert run.is_finished
    assert 0 < min(event.step for event in seen if isinstance(event, Step)) <= 4
    assert isinstance(seen[-1], Finished)


def test_the_recipe_of_such_a_run_says_in_another_process_what_it_lacks(how):
    run = tunesmith.train(FRAME, **how)
    events = run.events_file.read_text()
    assert "can be made again only with the same objects" in events
    assert "can be made again only with the same objects" in str(run.manifest()["data"]["notices"])
    command = [
        sys.executable,
        "-m",
        "tunesmith",
        "train",
        str(run.recipe_file),
        f"output_dir={run.path}-again",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "was an object in the memory of a program, and this one does not hold it" in done.stderr
    assert "tunesmith.train(data, recipe=…)" in done.stderr
    again = tunesmith.train(FRAME, recipe=run.recipe_file, progress=False)
    assert again.path == run.path
    assert again.metrics == run.metrics


def test_columns_are_named_by_their_part_whatever_the_task_calls_them(how):
    frame = FRAME.rename(columns={"text": "body", "label": "intent"}).assign(n=range(160))
    run = tunesmith.train(frame, label="intent", text="body", **how)
    assert run.recipe().data.columns == {"text": "body", "label": "intent"}
    both = run.predict(frame[:3]), run.predict(frame["body"][:3])
    assert both[0] == both[1]
    assert len(both[0]) == 3
    assert run.evaluate((frame["body"], frame["intent"]), progress=False)["seen_in_training"]["of"] == 160
    assert run.evaluate(frame, progress=False)["seen_in_training"]["of"] == 160
    with pytest.raises(tunesmith.UserError, match="named twice"):
        tunesmith.train(frame, label="intent", columns={"label": "n"}, **how)


def test_a_model_in_memory_trains_as_its_folder(how, expected, tiny_model):
    import transformers

    model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    longest = tokenizer.model_max_length
    run = tunesmith.train(FRAME, **{**how, "model": model, "tokenizer": tokenizer})
    described = run.manifest()["model"]
    assert described["found_in"] == "memory"
    assert "BertForSequenceClassification-" in described["name"]
    assert "model.safetensors" in described["sha256"]
    assert tokenizer.model_max_length == longest
    again = tunesmith.train(FRAME, **{**how, "model": model, "tokenizer": tokenizer})
    assert again.metrics == run.metrics
    with pytest.raises(tunesmith.ModelError, match="must come with its tokenizer"):
        tunesmith.train(FRAME, **{**how, "model": model})


def test_a_model_may_be_a_run(how, tmp_path):
    first = tunesmith.train(FRAME, **how)
    second = tunesmith.train(FRAME[:100], **{**how, "model": first, "output_dir": tmp_path / "second"})
    assert second.manifest()["model"]["found_in"] == "run"


def test_keywords_are_keys_of_the_recipe(how, tmp_path):
    run = tunesmith.train(
        FRAME, validation=0.3, epochs=1, learning_rate=1e-3, batch_size=8, max_length=32, seed=7,
        **{**how, "method": "full", "overrides": {**how["overrides"], "train.max_steps": 2}},
    )  # fmt: skip
    used = run.recipe()
    assert (
        used.train.num_train_epochs,
        used.train.learning_rate,
        used.train.per_device_train_batch_size,
    ) == (1, 1e-3, 8)
    assert (used.data.validation, used.data.max_length, used.seed, used.train.method) == (0.3, 32, 7, "full")
    documented = inspect.getdoc(tunesmith.train)
    for name in inspect.signature(tunesmith.train).parameters:
        assert f"{name}: " in documented, name


def test_the_docstring_names_only_keys_that_exist():
    import re

    named = re.findall(r"\(recipe: `([\w.]+)`\)", inspect.getdoc(tunesmith.train))
    assert len(named) > 10
    assert set(named) <= set(recipe_keys())


@pytest.mark.parametrize(
    ("data", "more", "said"),
    [
        (["I like this film", "I do not"], {}, "`I like this film` is none"),
        (3, {}, "got 3"),
        (FRAME, {"labels": ["a"]}, "texts must be a list, an array or a Series, got `DataFrame`"),
        (FRAME, {"validation": 3}, "data.validation must be"),
        (FRAME, {"overrides": {"data.columns": FRAME}}, "got a DataFrame"),
        (FRAME, {"overrides": {"train.learning_rate": "x" * 999}}, "…"),
        (FRAME, {"recipe": {"data": {"train": 3}}, "label": "stars"}, "`stars`"),
        ({"task": "chat"}, {"recipe": {}}, "two recipes"),
        ("a.csv", {"tokenizer": object()}, "only with a model in memory"),
    ],
)
def test_what_cannot_be_read_is_named_without_its_content(data, more, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tunesmith.UserError) as error:
        tunesmith.train(data, progress=False, **more)
    assert said in str(error.value)
    assert len(str(error.value)) < 700


def test_listeners_are_called_with_or_without_the_display(how, capsys):
    seen = []
    tunesmith.train(FRAME, listeners=[seen.append], **how)
    assert isinstance(seen[-1], Finished)
    assert "Reading the data" not in capsys.readouterr().err
    shown = []
    tunesmith.train(FRAME, listeners=[shown.append], **{**how, "progress": True, "force": True})
    assert len(shown) == len(seen)
    assert "Reading the data" in capsys.readouterr().err


def test_a_process_that_is_not_tuned_is_told_how(how, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    seen = []
    tunesmith.train(FRAME, listeners=[seen.append], **how)
    told = [event.text for event in seen if isinstance(event, Note) and "tune_process" in event.text]
    assert len(told) == sys.platform.startswith("linux")
    monkeypatch.setenv("GOMP_SPINCOUNT", "3000")
    seen.clear()
    tunesmith.train(FRAME, listeners=[seen.append], **how)
    assert not any(isinstance(event, Note) and "tune_process" in event.text for event in seen)
