"""What a killed search leaves half-written is removed, and what others wrote is not."""

import pytest

from tunesmith.errors import RunError
from tunesmith.tuning import SearchFolder


@pytest.mark.parametrize("name", ["search.json", "tune.json", "best.yaml", "tune.html"])
def test_a_search_that_was_killed_while_it_wrote_a_file_can_begin_again(tmp_path, name):
    half = tmp_path / f".{name}.0123abcd"
    half.write_text("{")
    folder = SearchFolder(tmp_path)
    with pytest.raises(RunError, match="holds no search"):
        folder.refuse_other_content()
    folder.recover()
    assert not half.exists()
    folder.refuse_other_content()


def test_files_of_others_stay(tmp_path):
    for name in (".notes.0123abcd", ".search.json.old", "search.json.0123abcd"):
        (tmp_path / name).write_text("mine")
    SearchFolder(tmp_path).recover()
    assert len(list(tmp_path.iterdir())) == 3
