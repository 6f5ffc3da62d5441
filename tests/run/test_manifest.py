"""Formats, the run's id, and what a newer version wrote."""

import json
from importlib import metadata

import pytest

from tunesmith.errors import RunError
from tunesmith.recipe import Recipe
from tunesmith.run import Run, request_entries
from tunesmith.run.checksums import with_sum
from tunesmith.run.migrations import FORMAT


@pytest.fixture
def run(tmp_path) -> Run:
    run = Run(tmp_path / "run")
    recipe = Recipe.model_validate({"data": {"train": ["a.csv"]}})
    entries = request_entries(recipe)
    run.update_manifest(
        **entries, used=entries["requested"], data={"fingerprint": "f"}, versions={"tunesmith": "9.9.0"}
    )
    return run


def rewrite(run: Run, **entries) -> None:
    content = json.loads(run.manifest_file.read_text())
    run.manifest_file.write_text(json.dumps(with_sum({**content, **entries})))


def test_a_new_run_has_todays_format_and_an_id_of_its_own(run, tmp_path):
    manifest = json.loads(run.manifest_file.read_text())
    assert list(manifest)[:2] == ["format", "run_id"]
    assert (manifest["format"], manifest["run_id"]) == (FORMAT, run.run_id)
    run.update_manifest(finished=True)
    assert run.run_id == manifest["run_id"]
    other = Run(tmp_path / "other")
    other.update_manifest(finished=True)
    assert len({run.run_id, other.run_id, ""}) == 3


def test_a_run_of_a_newer_format_is_refused_with_the_version_that_wrote_it(run):
    rewrite(run, format=FORMAT + 1, finished=True)
    this = metadata.version("tunesmith")
    for use in (run.manifest, run.recipe, lambda: Run.open(run.path)):
        with pytest.raises(RunError) as error:
            use()
        assert error.value.rule == (
            f"the run was written by tunesmith 9.9.0, and this is {this}: its format is {FORMAT + 1}, and this "
            f"version reads up to {FORMAT}."
        )
        assert error.value.remedy == "Install it: `pip install 'tunesmith>=9.9.0'`."
        assert error.value.location == str(run.manifest_file)


def test_the_version_that_resumed_it_last_is_the_one_that_wrote_it(run):
    rewrite(run, format=FORMAT + 1, continued=[{"versions": {"tunesmith": "9.9.1"}}])
    with pytest.raises(RunError, match=r"written by tunesmith 9\.9\.1"):
        run.manifest()


def test_without_a_known_version_the_error_names_none(run):
    rewrite(run, format=FORMAT + 1, versions={})
    with pytest.raises(RunError, match="written by another version of tunesmith") as error:
        run.manifest()
    assert error.value.remedy == "Install the version that wrote it, or a newer one."


@pytest.mark.parametrize(
    ("section", "key", "value"), [("train", "warp", 1), ("data", "too_long", "fold"), (None, "universe", {})]
)
def test_a_recipe_with_unknown_keys_or_values_is_refused_readably(run, section, key, value):
    used = run.manifest()["used"]
    (used[section] if section else used)[key] = value
    rewrite(run, used=used)
    named = f"{section}.{key}" if section else key
    with pytest.raises(RunError, match=f"key or value that this version does not know: `{named}`"):
        run.recipe()
    with pytest.raises(RunError, match=f"`{named}`"):
        run.begin(Recipe.model_validate({"data": {"train": ["a.csv"]}}), fingerprint="f")


@pytest.mark.parametrize("value", ["2", 0, None])
def test_a_format_that_is_no_number_is_damage(run, value):
    rewrite(run, format=value)
    with pytest.raises(RunError, match="format of a run must be a whole number"):
        run.manifest()
