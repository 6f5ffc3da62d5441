import os

import pytest

from tunesmith.run import files
from tunesmith.run.files import give_usual_rights, new_folder, write_atomically


@pytest.fixture(params=[0o077, 0o022, 0o002], ids=oct)
def umask(request):
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def rights(path):
    return path.stat().st_mode & 0o777


def test_files_and_folders_have_the_rights_of_the_umask(tmp_path, umask):
    write_atomically(tmp_path / "new" / "a.txt", "text")
    folder = new_folder(tmp_path, ".a.")
    assert rights(tmp_path / "new" / "a.txt") == 0o666 & ~umask
    assert rights(tmp_path / "new") == rights(folder) == 0o777 & ~umask


def test_what_a_library_wrote_for_its_owner_alone_gets_them_too(tmp_path, umask):
    folder = new_folder(tmp_path, ".a.")
    for name in ("a.safetensors", "b.sh"):
        (folder / name).touch()
    (folder / "a.safetensors").chmod(0o600)
    (folder / "b.sh").chmod(0o755)
    give_usual_rights(folder)
    assert rights(folder / "a.safetensors") == rights(folder / "b.sh") == 0o666 & ~umask


def test_a_new_folder_is_new(tmp_path):
    folders = {new_folder(tmp_path, ".a.") for _ in range(20)}
    assert len(folders) == 20
    assert all(folder.name.startswith(".a.") and folder.is_dir() for folder in folders)


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path):
    file = tmp_path / "a.txt"
    write_atomically(file, "old")

    def pieces():
        yield "new"
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_atomically(file, pieces())
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    for name in (".model.0123abcd", "model", ".hidden"):
        (tmp_path / name).mkdir()
    for name in (".metrics.json.89abcdef", "metrics.json", ".notes.txt.0123abcd", ".metrics.json.swp"):
        (tmp_path / name).touch()
    files.remove_unfinished(tmp_path, ["model", "metrics.json"])
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".hidden", ".metrics.json.swp", ".notes.txt.0123abcd", "metrics.json", "model"]
    files.remove_unfinished(tmp_path / "none")


def test_an_error_of_the_system_within_a_library_is_that_error(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, files.system_errors(tmp_path):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    assert (caught.value.errno, caught.value.filename) == (28, str(tmp_path))
    with pytest.raises(RuntimeError, match="another"), files.system_errors(tmp_path):
        raise RuntimeError("another")
