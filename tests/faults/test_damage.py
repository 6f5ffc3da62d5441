"""A finished run whose files are damaged is refused where answers come from them, and reported elsewhere."""

import json
import shutil

import pytest

from tunesmith import pipeline
from tunesmith.errors import RunError
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.testing.listeners import Recorder

DAMAGES = ("truncated", "one bit flipped", "deleted", "of another run")


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "one bit flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "deleted":
        path.unlink()
    else:  # what another run would have there: the same kind of content, but another one
        path.write_bytes(bytes(data) + b" ")


@pytest.fixture
def copy(finished_run, tmp_path):
    return Run(shutil.copytree(finished_run.path, tmp_path / "copy"))


def files_of(run):
    return sorted(str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file())


@pytest.mark.parametrize("how", DAMAGES)
def test_every_file_that_answers_come_from_is_checked_before_it_is_used(finished_run, tmp_path, how):
    decisive = [
        name for name in files_of(finished_run)
        if name.startswith(("model/", "data/", "predictions/")) and not name.endswith("README.md")
    ]  # fmt: skip
    assert {"model/model.safetensors", "model/tokenizer.json", "data/splits.json"} < set(decisive)
    copy = Run(shutil.copytree(finished_run.path, tmp_path / "copy"))
    for name in [*decisive, "metrics.json"]:
        damage(copy.path / name, how)
        with pytest.raises(RunError, match="is not as it was written") as caught:
            Run.open(copy.path)
        assert name in caught.value.rule
        assert "--force" in caught.value.remedy
        copy.path.joinpath(name).write_bytes((finished_run.path / name).read_bytes())
    Run.open(copy.path)


@pytest.mark.parametrize("how", DAMAGES[:3])
def test_a_manifest_is_checked_against_itself(copy, how):
    damage(copy.manifest_file, how)
    with pytest.raises(RunError):
        Run.open(copy.path)


def test_a_changed_number_in_the_manifest_is_found(copy):
    copy.manifest_file.write_text(copy.manifest_file.read_text().replace('"seed": 42', '"seed": 43', 1))
    with pytest.raises(RunError, match="was changed after it was written"):
        copy.manifest()


def test_the_manifest_of_another_run_is_found_by_the_files(copy, finished_run):
    manifest = json.loads(copy.manifest_file.read_text())
    copy.manifest_file.unlink()
    copy.update_manifest(
        **{**manifest, "run_id": "another", "files": {**manifest["files"], "metrics.json": "0"}}
    )
    with pytest.raises(RunError, match=r"metrics\.json is damaged or is another file"):
        Run.open(copy.path)


def test_what_people_may_edit_is_reported_by_train_and_stops_no_reader(copy):
    for name in ("report.html", "recipe.yaml", "model/README.md", "events.jsonl"):
        damage(copy.path / name, "truncated")
    Run.open(copy.path)
    recorder = Recorder()
    recipe = Recipe.model_validate(copy.manifest()["requested"])
    pipeline.train(recipe.model_copy(update={"output_dir": str(copy.path)}), listeners=[recorder])
    for name in ("report.html", "recipe.yaml", "model/README.md", "events.jsonl"):
        assert any(text.startswith(f"{name} is damaged") for text in recorder.warnings), name


def test_a_run_of_an_earlier_version_has_no_checksums_and_opens(copy):
    damage(copy.metrics_file, "of another run")
    with pytest.raises(RunError, match="is not as it was written"):
        Run.open(copy.path)
    manifest = {
        key: v for key, v in json.loads(copy.manifest_file.read_text()).items() if key not in ("sum", "files")
    }
    copy.manifest_file.write_text(json.dumps(manifest))
    assert Run.open(copy.path).problems() == []
