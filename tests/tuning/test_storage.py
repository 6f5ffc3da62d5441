"""The storage of trials: a journal that survives kills, and a server."""

import json

import pytest

from tunesmith.errors import RecipeError, RunError
from tunesmith.tuning.storage import open_journal, open_server


def study(storage):
    import optuna

    return optuna.create_study(storage=storage, study_name="s", load_if_exists=True)


def test_a_line_that_a_kill_has_cut_off_is_removed(tmp_path):
    journal = tmp_path / "journal.log"
    first = study(open_journal(journal))
    first.tell(first.ask(), 1.0)
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"x","stu')
    again = study(open_journal(journal))
    again.tell(again.ask(), 2.0)
    assert [trial.value for trial in study(open_journal(journal)).trials] == [1.0, 2.0]
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_a_lock_that_a_killed_process_has_left_blocks_nobody(tmp_path):
    (tmp_path / "journal.lock").touch()
    (tmp_path / "journal.log.lock").touch()
    assert study(open_journal(tmp_path / "journal.log")).trials == []


@pytest.mark.parametrize("url", ["sqlite:///x.db", "mysql://a:b@c/d", "postgresql", "nonsense"])
def test_other_storages_are_refused(url):
    with pytest.raises(RecipeError, match="must be `postgresql://") as found:
        open_server(url)
    assert "Leave `--storage` out" in found.value.remedy


def test_a_server_that_is_not_there_is_an_error_without_its_password():
    with pytest.raises(RunError, match="cannot be reached") as found:
        open_server("postgresql://me:secret@127.0.0.1:1/tunes")
    assert "secret" not in str(found.value)
    assert "Check that the server runs" in found.value.remedy
