"""Checksums of a run's files and of its manifest; what readers do with them is in tests/faults/test_damage.py."""

from tunesmith.run.checksums import file_checksums, has_wrong_sum, problems, with_sum


def test_a_manifest_with_its_sum_is_right_until_something_changes():
    manifest = with_sum({"seed": 42, "name": "é"})
    assert not has_wrong_sum(manifest)
    assert not has_wrong_sum(with_sum({**manifest, "seed": 43}))
    assert has_wrong_sum({**manifest, "seed": 43})
    assert not has_wrong_sum({"seed": 42}), "an earlier version wrote none"
    assert not has_wrong_sum([])


def test_the_log_may_grow_after_the_end_and_nothing_else(tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("model/a", "model/README.md", "metrics.json", "events.jsonl"):
        (tmp_path / name).write_text(name)
    known = file_checksums(tmp_path)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write("more")
    assert problems(tmp_path, known, decisive=False) == []
    (tmp_path / "model" / "README.md").write_text("mine")
    (tmp_path / "model" / "a").write_text("b")
    assert problems(tmp_path, known, decisive=True) == ["model/a is damaged or is another file"]
    assert len(problems(tmp_path, known, decisive=False)) == 2
    (tmp_path / "metrics.json").unlink()
    assert "metrics.json is missing" in problems(tmp_path, known, decisive=True)
