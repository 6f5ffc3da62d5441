"""A search whose trials a real PostgreSQL server keeps, and that two machines share.

The server is that of `tunesmith.testing.postgresql`.
"""

import socket

import pytest

from tunesmith import tuning
from tunesmith.errors import RunError
from tunesmith.recipe import Recipe
from tunesmith.run import read_json
from tunesmith.testing.forked import start
from tunesmith.tuning import Options
from tunesmith.tuning.storage import open_server

pytestmark = pytest.mark.usefixtures("lean")


def trials(folder):
    return [it for it in read_json(folder.result_file)["trials"] if it["stage"] in ("coarse", "fine")]


@pytest.mark.slow
def test_the_trials_are_on_the_server_and_the_search_is_that_of_a_journal(
    postgresql, search_recipe, tmp_path
):
    kept = tuning.tune(search_recipe(tmp_path / "server", trials=4, seeds=1), Options(storage=postgresql))
    own = tuning.tune(search_recipe(tmp_path / "journal", trials=4, seeds=1))
    assert not kept.journal.exists()
    assert [it["values"] for it in trials(kept)] == [it["values"] for it in trials(own)]
    assert [it["value"] for it in trials(kept)] == [it["value"] for it in trials(own)]


def search_of_a_machine(tree, url, name):
    """A search on a machine of this name."""
    socket.gethostname = lambda: name
    tuning.tune(Recipe.model_validate_json(tree), Options(storage=url))


@pytest.mark.slow
def test_two_machines_share_a_search(postgresql, search_recipe, tmp_path):
    """Two processes with a folder each and names of two machines: each trial is run once, and one leads."""
    folders, processes = [tmp_path / name for name in ("first", "second")], []
    for folder in folders:
        tree = search_recipe(folder, trials=10, seeds=1, train={"num_train_epochs": 5}).model_dump_json(
            exclude_unset=True
        )
        processes.append(start(search_of_a_machine, tree, postgresql, folder.name))
    for process in processes:
        process.join(150)
    assert [process.exitcode for process in processes] == [0, 0]
    led = [folder for folder in folders if (folder / "tune.json").is_file()]
    assert len(led) == 1
    names = [{path.name for path in folder.glob("trials/*")} for folder in folders]
    assert not names[0] & names[1], "run twice"
    assert len([name for name in names[0] | names[1] if not name.startswith("finalists")]) == 10
    assert all(names), "both have run trials"


def test_force_clears_the_server_too(postgresql, search_recipe, tmp_path):
    """Else the first trial would be that of another process, which leads the search."""
    recipe = search_recipe(tmp_path / "forced", trials=1, train={"num_train_epochs": 1})
    tuning.tune(recipe, Options(storage=postgresql))
    folder = tuning.tune(recipe, Options(storage=postgresql, force=True))
    assert folder.result_file.is_file()


def test_a_wrong_database_is_an_error(postgresql):
    with pytest.raises(RunError, match="does not exist"):
        open_server(postgresql.removesuffix("postgres") + "nowhere")
