import json
import os

import pytest

from tunesmith.errors import RunError
from tunesmith.recipe import Recipe
from tunesmith.run import Run, finite, read_json, request_entries, write_atomically, write_json


def a_recipe(**changes):
    return Recipe.model_validate({"data": {"train": ["a.csv"]}, **changes})


def begun(tmp_path, recipe, fingerprint="f"):
    run = Run(tmp_path / "run")
    run.update_manifest(**request_entries(recipe), data={"fingerprint": fingerprint})
    return run


def test_a_new_folder_is_taken_and_the_same_recipe_resumes(tmp_path):
    assert Run(tmp_path / "new").begin(a_recipe(), fingerprint="f") is False
    assert begun(tmp_path, a_recipe()).begin(a_recipe(), fingerprint="f") is True


def test_where_the_folder_lies_does_not_make_another_recipe(tmp_path):
    assert begun(tmp_path, a_recipe()).begin(a_recipe(output_dir="elsewhere"), fingerprint="f")


def test_another_recipe_is_refused_and_the_difference_named(tmp_path):
    with pytest.raises(RunError, match="it differs in `seed`"):
        begun(tmp_path, a_recipe()).begin(a_recipe(seed=1), fingerprint="f")


def test_a_folder_that_is_no_run_is_refused_and_left(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty and holds no run"):
        Run(tmp_path).begin(a_recipe(), fingerprint="f")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_open_wants_a_finished_run(tmp_path):
    with pytest.raises(RunError, match="is not there"):
        Run.open(tmp_path / "nothing")
    with pytest.raises(RunError, match="not come to its end"):
        Run.open(begun(tmp_path, a_recipe()).path)


def test_json_never_holds_a_nan_and_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "metrics.json"
    write_json(file, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(file, {"a": float("nan")})
    assert json.loads(file.read_text()) == {"a": 1}
    assert finite(float("nan")) is None
    assert finite(0.5) == 0.5


def test_atomic_writing_leaves_nothing_aside(tmp_path):
    write_atomically(tmp_path / "a" / "b.txt", "hello")
    assert os.listdir(tmp_path / "a") == ["b.txt"]


def test_a_damaged_file_is_an_error_of_the_run(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        read_json(tmp_path / "manifest.json")


def test_pieces_are_one_file_and_a_failing_piece_leaves_the_old_one(tmp_path):
    file = tmp_path / "a.txt"
    write_atomically(file, (f"line {i}\n" for i in range(3)))
    assert file.read_text() == "line 0\nline 1\nline 2\n"

    def failing():
        yield "half"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_atomically(file, failing())
    assert file.read_text() == "line 0\nline 1\nline 2\n"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_manifest_without_its_data_is_damage_and_not_an_error_of_the_program(tmp_path):
    run = Run(tmp_path / "run")
    run.update_manifest(seed=1)
    with pytest.raises(RunError, match="does not say from which data the run began"):
        run.begin(Recipe.model_validate({"data": {"train": ["a.csv"]}}), fingerprint="f")
