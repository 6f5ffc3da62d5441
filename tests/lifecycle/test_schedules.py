"""Files for systemd and cron."""

import configparser
import json
import shlex
import shutil
import subprocess
import sys

import pytest

from tunesmith.errors import RecipeError
from tunesmith.lifecycle.schedules import write_schedule


def unit(path):
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


def test_the_command_is_that_of_this_environment(tmp_path):
    found = write_schedule("runs/a b", "7d", ["--data", "/x/100%.csv"], tmp_path)
    name = "tunesmith-update-a-b"
    service, timer = unit(tmp_path / f"{name}.service"), unit(tmp_path / f"{name}.timer")
    command = service["Service"]["ExecStart"]
    assert "100%%.csv" in command
    words = shlex.split(found["command"])
    assert words[:4] == [sys.executable, "-m", "tunesmith", "update"]
    assert words[-2:] == ["--data", "/x/100%.csv"]
    assert timer["Timer"]["OnUnitActiveSec"] == "604800s"
    line = (tmp_path / f"{name}.cron").read_text()
    assert line.startswith("0 3 * * 0 cd ")
    assert "100\\%.csv" in line
    if shutil.which("systemd-analyze"):
        subprocess.run(["systemd-analyze", "verify", tmp_path / f"{name}.timer"], check=True)


@pytest.mark.parametrize(
    ("every", "fields"),
    [
        ("1d", "0 3 * * *"),
        ("24h", "0 3 * * *"),
        ("12h", "0 */12 * * *"),
        ("1h", "0 * * * *"),
        ("30d", "0 3 1 * *"),
    ],
)
def test_times_that_cron_has(tmp_path, every, fields):
    write_schedule("a", every, [], tmp_path)
    assert (tmp_path / "tunesmith-update-a.cron").read_text().startswith(f"{fields} cd ")


def test_what_cron_cannot_say_is_refused_and_nothing_is_overwritten(tmp_path):
    with pytest.raises(RecipeError, match="cron has no time"):
        write_schedule("a", "5d", [], tmp_path)
    with pytest.raises(RecipeError, match="--schedule must be above zero"):
        write_schedule("a", "soon", [], tmp_path)
    assert not list(tmp_path.iterdir())
    write_schedule("a", "1d", [], tmp_path)
    with pytest.raises(RecipeError, match="already exists"):
        write_schedule("a", "7d", [], tmp_path)
    assert len(write_schedule("a", "7d", [], tmp_path, force=True)["files"]) == 4


def test_a_password_is_not_written(tmp_path):
    with pytest.raises(
        RecipeError, match=r"must not hold a password, and `postgresql://u:\*\*\*@host/log`"
    ) as refused:
        write_schedule("a", "1d", ["--log", "postgresql://u:s3cret@host/log"], tmp_path)
    assert "s3cret" not in str(refused.value)
    assert not list(tmp_path.iterdir())
    found = write_schedule("a", "1d", ["--log", "postgresql://u:${LOG}@host/log"], tmp_path)
    assert shlex.split(found["command"])[-1] == "postgresql://u:${LOG}@host/log"


def test_export_writes_them(tunesmith, tmp_path):
    out = tmp_path / "files"
    done = tunesmith(
        "export",
        "runs/a",
        "--schedule",
        "7d",
        "--data",
        "new.csv",
        "--registry",
        "reg",
        "--output-dir",
        out,
        "--json",
    )
    assert done.code == 0, done.err
    assert "--registry" in json.loads(done.out)["command"]
    assert tunesmith("export", "runs/a", "--schedule", "7d").code == 2
    assert tunesmith("export", "runs/a").code == 2
    assert tunesmith("export", "runs/a", "--to", "onnx", "--log", "x").code == 2
