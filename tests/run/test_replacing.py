"""A process that is killed while one run replaces another."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.run import replacing


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


KILLED = """
import os, signal, sys
from pathlib import Path
from tunesmith.run import replacing
folder, where = Path(sys.argv[1]), sys.argv[2]
count = 0
def rename(path, target, really=Path.rename):
    global count
    if f"{count}" == where:
        os.kill(os.getpid(), signal.SIGKILL)
    count += 1
    return really(path, target)
Path.rename = rename
with replacing.set_aside(folder, ["manifest.json", "model", "data"]) as begun:
    (folder / "manifest.json").write_text("new")
    if where == "inside":
        os.kill(os.getpid(), signal.SIGKILL)
    begun()
"""


@pytest.mark.parametrize("where", ["0", "1", "2", "3", "inside", "4", "5"])
def test_a_process_that_is_killed_leaves_the_old_run_or_the_new_one_whole(tmp_path, where):
    (tmp_path / "manifest.json").write_text("old")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("old")
    (tmp_path / "data").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    command = [sys.executable, "-c", KILLED, str(tmp_path), where]
    killed = subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert killed == (where != "5")
    names = ["manifest.json", "model", "data"]
    came_back = replacing.put_back(tmp_path, names)
    assert not replacing.put_back(tmp_path, names)
    after = snapshot(tmp_path)
    if killed:
        assert came_back
        assert after == before
    else:
        assert after == {"manifest.json": b"new", "notes.txt": b"mine"}
