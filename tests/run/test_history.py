"""The runs of a folder: state, parent, what changed; a damaged one hides no other."""

import json

import pytest

from tunesmith.errors import RunError
from tunesmith.run.checksums import with_sum
from tunesmith.run.history import runs_in
from tunesmith.run.locking import locked
from tunesmith.run.manifest import updated_manifest

METRICS = {
    "task": "t",
    "primary": {"name": "accuracy", "split": "test", "value": 0.5, "low": 0.4, "high": 0.6},
}


def write_run(folder, *, started, finished=True, found_in="folder", fingerprint="f", keys=(), **requested):
    folder.mkdir(parents=True)
    recipe = {"task": "text-classification", "model": "m", "seed": 42, "output_dir": str(folder), **requested}
    manifest = updated_manifest({}, {
        "requested": recipe, "requested_keys": ["task", "output_dir", *keys], "started": started,
        "data": {"fingerprint": fingerprint}, "model": {"found_in": found_in},
    })  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(with_sum({**manifest, "finished": finished})))
    if finished:
        (folder / "metrics.json").write_text(json.dumps(METRICS))
    return folder


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "a", started="2026-01-01")
    write_run(
        tmp_path / "b", started="2026-01-02", seed=7, train={"method": "probe"}, keys=["seed", "train.method"]
    )
    write_run(
        tmp_path / "deep" / "c",
        started="2026-01-03",
        found_in="run",
        model=str(tmp_path / "a"),
        fingerprint="g",
    )
    write_run(tmp_path / "other", started="2026-01-04", fingerprint="h")
    write_run(tmp_path / "stopped", started="2026-01-05", finished=False, fingerprint="h")
    return tmp_path


def by_name(folder):
    return {entry.path.name: entry for entry in runs_in(folder)}


def test_a_parent_is_the_run_of_the_model_or_the_one_before_on_the_same_data(runs):
    found = by_name(runs)
    assert list(found) == ["a", "b", "c", "other", "stopped"]
    assert (found["a"].parent, found["other"].parent) == (None, None)
    assert (found["b"].parent, found["b"].parent_kind) == (runs / "a", "data")
    assert (found["c"].parent, found["c"].parent_kind) == (runs / "a", "model")
    assert found["b"].changed == {"seed": (42, 7), "train.method": (None, "probe")}
    assert found["a"].primary["value"] == 0.5


def test_a_folder_of_runs_that_was_moved_keeps_its_parents(runs, tmp_path_factory):
    moved = tmp_path_factory.mktemp("elsewhere") / "runs"
    runs.rename(moved)
    assert by_name(moved)["c"].parent == moved / "a"
    moved.rename(runs)


def test_states_are_seen_without_touching_the_run(runs):
    assert by_name(runs)["stopped"].state == "unfinished"
    with locked(runs / "stopped"):
        assert by_name(runs)["stopped"].state == "running"
    assert not (runs / "stopped" / ".lock").exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 99}', '{"requested": 3}', '{"data": []}', "\udcff"]
)
def test_a_damaged_run_is_listed_with_the_reason_and_hides_no_other(runs, content):
    (runs / "b" / "manifest.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    found = by_name(runs)
    assert set(found) == {"a", "b", "c", "other", "stopped"}
    assert found["b"].state == "damaged"
    assert found["b"].problem
    assert json.dumps([entry.to_json() for entry in found.values()])


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"primary": 3}'])
def test_damaged_metrics_are_the_reason(runs, content):
    (runs / "b" / "metrics.json").write_text(content)
    found = by_name(runs)["b"]
    assert (found.state, found.problem.startswith("metrics.json: ")) == ("damaged", True)
    (runs / "b" / "metrics.json").unlink()
    assert by_name(runs)["b"].state == "damaged"


def test_no_folder_no_runs(tmp_path):
    assert runs_in(tmp_path) == []
    with pytest.raises(RunError, match="there is no folder"):
        runs_in(tmp_path / "nothing")
