"""What is checked, refused, and left behind."""

import json

import pytest

import tunesmith
from tunesmith import pipeline
from tunesmith.errors import DataError, ModelError, RecipeError, RunError, UnknownNameError, UserError
from tunesmith.exporters import EXPORTERS, Exporter
from tunesmith.exporters._stock import write_merged
from tunesmith.recipe import Recipe
from tunesmith.testing.tiny import tiny_rows, write_rows

pytestmark = pytest.mark.usefixtures("lean")


@pytest.fixture
def run(finished_run):
    return finished_run


def forgetful(source, folder):
    """A real export of a model whose head has lost one label."""
    from safetensors.torch import load_file, save_file

    write_merged(source, folder)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] -= 100
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return {}


@pytest.fixture
def _forgetful_format():
    made = Exporter(summary="forgets a label", write=forgetful, runtime="transformers")
    with EXPORTERS.replaced("forgetful", made):
        yield


@pytest.mark.usefixtures("_forgetful_format")
def test_an_export_that_loses_too_much_is_refused_and_leaves_nothing(run, tmp_path):
    target = tmp_path / "out" / "export"
    with pytest.raises(
        ModelError, match=r"(?s)refused.*of its answers.*min_agreement.*accuracy falls by"
    ) as e:
        tunesmith.export(run.path, "forgetful", output_dir=target)
    assert e.value.exit_code == 2
    assert "export.min_agreement" in str(e.value)
    assert list(target.parent.iterdir()) == []


@pytest.mark.usefixtures("_forgetful_format")
def test_a_refused_export_leaves_the_one_before(run, tmp_path):
    before = tunesmith.export(run.path, "merged", output_dir=tmp_path / "export")
    with pytest.raises(ModelError, match="refused"):
        tunesmith.export(run.path, "forgetful", output_dir=tmp_path / "export", force=True)
    assert json.loads((tmp_path / "export" / "export.json").read_text())["format"] == before["format"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


@pytest.mark.usefixtures("_forgetful_format")
def test_the_caller_may_allow_more_and_it_is_written_down(run, tmp_path):
    allowed = {"export.min_agreement": 0.0, "export.max_metric_drop": 1.0}
    facts = tunesmith.export(run.path, "forgetful", output_dir=tmp_path / "export", overrides=allowed)
    assert facts["check"]["allowed"] == {"min_agreement": 0.0, "max_metric_drop": 1.0}
    assert facts["check"]["agreement"] < 0.9
    assert facts["check"]["drop"]["value"] > 0.1
    labels = {tunesmith.predict(tmp_path / "export", row["text"])["label"] for row in tiny_rows(20, seed=5)}
    assert len(labels) == 1


def test_a_trained_run_changes_only_what_an_export_may_lose(run, tmp_path):
    with pytest.raises(RecipeError, match="only keys of `export` can be changed"):
        tunesmith.export(run.path, "merged", output_dir=tmp_path / "x", overrides={"seed": 3})
    with pytest.raises(RecipeError, match="min_agreement"):
        tunesmith.export(run.path, "merged", output_dir=tmp_path / "x", overrides={"export.min_agreement": 3})
    assert list(tmp_path.iterdir()) == []


def test_what_is_unknown_or_not_there(run, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean `onnx`"):
        tunesmith.export(run.path, "onx")
    with pytest.raises(RunError, match="is not there"):
        tunesmith.export(tmp_path / "nothing", "onnx")


def test_a_missing_package_is_named_before_any_work(run, tmp_path):
    needs = Exporter("s", lambda s, f: {}, "x", modules=("no_such_module",), extra="onnx")
    missing = pytest.raises(UserError, match=r"`no_such_module`(?s:.*)pip install 'tunesmith\[onnx\]'")
    with EXPORTERS.replaced("needy", needs), missing:
        tunesmith.export(run.path, "needy", output_dir=tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def own_run(tiny_model, tmp_path):
    """A run whose data file may be changed; its validation rows are held out."""
    rows = tiny_rows(120, seed=2)
    data = write_rows(tmp_path / "data" / "rows.csv", rows)
    recipe = Recipe.model_validate({
        "model": str(tiny_model),
        "output_dir": str(tmp_path / "runs" / "run"),
        "data": {"train": [str(data)], "validation": 0.2},
        "train": {"method": "probe"},
        "evaluate": {"bootstrap_samples": 100, "baselines": False},
    })  # fmt: skip
    return pipeline.train(recipe), data


def test_held_out_rows_are_found_again(own_run, tmp_path):
    run, _ = own_run
    facts = tunesmith.export(run.path, "merged")
    assert facts["check"]["rows"] == 24
    assert facts["check"]["run"]["value"] == pytest.approx(run.metrics["primary"]["value"])


@pytest.mark.slow
def test_changed_or_missing_data_want_other_rows(own_run, tmp_path):
    run, data = own_run
    data.write_text(data.read_text() + "the cat is here again,animal\n")
    with pytest.raises(DataError, match=r"changed since(?s:.*)--data FILE"):
        tunesmith.export(run.path, "merged")
    data.unlink()
    with pytest.raises(DataError, match=r"cannot be read(?s:.*)--data FILE"):
        tunesmith.export(run.path, "merged")
    assert [path.name for path in run.path.parent.iterdir()] == ["run"]
    others = write_rows(tmp_path / "others.csv", tiny_rows(30, seed=77))
    facts = tunesmith.export(run.path, "onnx-int8", data=str(others), overrides={"export.min_agreement": 0.9})
    assert facts["check"]["rows"] == 30
    assert facts["made"]["calibration_rows"] == 30
