"""Entries of the cache: whole or absent, checked, and gone when they are old."""

import os
import platform
import time

import pytest

from tunesmith import cache
from tunesmith.cache import new_entry, open_entry, remove_old, used_since
from tunesmith.errors import RecipeError

DAY = 24 * 3600


def written(entry, content=b"x" * 1000, **facts):
    with new_entry(entry) as (folder, said):
        (folder / "a.bin").write_bytes(content)
        said.update(facts)
    return entry


def age(path, days):
    then = time.time() - days * DAY
    for one in (*path.glob("*"), path):
        os.utime(one, (then, then))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_entry_says_what_its_writer_did(tmp_path):
    entry = written(tmp_path / "aa", rows=3, lost={"tokens": [1, 2]})
    assert open_entry(entry) == {"rows": 3, "lost": {"tokens": [1, 2]}}
    assert open_entry(tmp_path / "bb") is None


@pytest.mark.parametrize("damage", ["cut", "zeroed", "gone", "empty"])
@pytest.mark.parametrize("name", ["a.bin", "facts.json"])
def test_a_damaged_file_makes_the_entry_none_and_it_can_be_written_again(tmp_path, name, damage):
    entry = written(tmp_path / "aa", rows=3)
    file, whole = entry / name, (entry / name).read_bytes()
    ways = {"cut": whole[:-1], "zeroed": bytes(len(whole)), "empty": b""}
    file.unlink() if damage == "gone" else file.write_bytes(ways[damage])
    assert open_entry(entry) is None
    written(entry, rows=4)
    assert open_entry(entry) == {"rows": 4}
    assert names(tmp_path) == ["aa"]


def test_a_fact_that_was_changed_is_found(tmp_path):
    entry = written(tmp_path / "aa", rows=3)
    facts = entry / "facts.json"
    facts.write_text(facts.read_text().replace('"rows": 3', '"rows": 4'))
    assert open_entry(entry) is None


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), new_entry(tmp_path / "aa") as (folder, _):
        (folder / "a.bin").write_bytes(b"half")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_what_nobody_used_for_long_goes_but_for_what_is_kept(tmp_path):
    for name, days in (("aa", 29), ("bb", 31), ("cc", 31)):
        age(written(tmp_path / name), days)
    remove_old(tmp_path, kept=[tmp_path / "cc"])
    assert names(tmp_path) == ["aa", "cc"]


def test_reading_an_entry_makes_it_young(tmp_path):
    entry = written(tmp_path / "aa")
    age(entry, 31)
    began = time.time()
    assert used_since(tmp_path, began) == []
    assert open_entry(entry) is not None
    assert used_since(tmp_path, began) == [entry]
    remove_old(tmp_path)
    assert names(tmp_path) == ["aa"]


def test_the_limits_are_those_of_the_environment(tmp_path, monkeypatch):
    for number, name in enumerate(("aa", "bb", "cc")):
        age(written(tmp_path / name), 3 - number)
    monkeypatch.setenv(cache.GB_VARIABLE, "0.000003")
    remove_old(tmp_path)
    assert names(tmp_path) == ["bb", "cc"], "1.2 kB each"
    monkeypatch.setenv(cache.DAYS_VARIABLE, "0.5")
    remove_old(tmp_path)
    assert names(tmp_path) == []
    monkeypatch.setenv(cache.GB_VARIABLE, "much")
    with pytest.raises(RecipeError, match="TUNESMITH_CACHE_GB must be a number, got `much`"):
        remove_old(tmp_path)


def test_what_dead_processes_and_other_machines_left_goes_in_time(tmp_path):
    here, there = f"{platform.node()}-{os.getpid()}-0a", "another-host-1-0a"
    for name in (f".new-{here}", f".new-{there}", f".old-{there}x", f".new-{platform.node()}-999999999-0a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.bin").touch()
    age(tmp_path / f".old-{there}x", 3)
    remove_old(tmp_path)
    assert names(tmp_path) == sorted([f".new-{here}", f".new-{there}"])


def test_an_entry_that_is_removed_while_it_is_open_is_read_on(tmp_path):
    entry = written(tmp_path / "aa")
    with (entry / "a.bin").open("rb") as handle:
        remove_old(tmp_path, 0)
        assert names(tmp_path) == []
        assert handle.read() == b"x" * 1000


def test_an_entry_has_the_rights_of_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        entry = written(tmp_path / "aa")
    finally:
        os.umask(old)
    assert entry.stat().st_mode & 0o777 == 0o755
    assert (entry / "facts.json").stat().st_mode & 0o777 == 0o644
