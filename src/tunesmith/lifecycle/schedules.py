"""Files with which systemd or cron run `tunesmith update` again and again, in place of `update --every`.

    NAME.service    one update
    NAME.timer      when it is due; a machine that was off catches up
    NAME.cron       the same as a line of crontab

Nothing is installed: `install.txt` says how.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RecipeError
from tunesmith.masking import masked_argument
from tunesmith.recipe.durations import seconds_in
from tunesmith.run import write_atomically

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_HOUR_S, _DAY_S = 3600.0, 86_400.0
_AT_HOUR = 3
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]")
"""Characters that the name of a unit of systemd cannot have."""
_SERVICE = """[Unit]
Description=tunesmith update of {run}
After=network.target

[Service]
Type=oneshot
WorkingDirectory={here}
ExecStart={command}
Nice=10
# 75: a stop has saved everything, and the next start goes on.
SuccessExitStatus=75
TimeoutStopSec=5min
"""
_TIMER = """[Unit]
Description=When tunesmith updates {run}

[Timer]
OnUnitActiveSec={seconds}s
OnActiveSec=5min
RandomizedDelaySec=5min

[Install]
WantedBy=timers.target
"""
_INSTALL = """systemd, as the user that owns the runs:

    mkdir -p ~/.config/systemd/user
    cp {name}.service {name}.timer ~/.config/systemd/user/
    systemctl --user daemon-reload
    systemctl --user enable --now {name}.timer
    loginctl enable-linger

cron, in place of it:

    (crontab -l; cat {name}.cron) | crontab -
"""


def write_schedule(
    run: str, every: str, arguments: Sequence[str], folder: Path, *, force: bool = False
) -> JsonObject:
    """Writes the files of a schedule.

    Args:
        run: folder of the champion, or of a registry.
        every: time between two updates: `7d`, `12h`.
        arguments: arguments of `tunesmith update` behind the run.
        folder: folder for the files.
        force: replace earlier files.

    Returns:
        `path`, `files` and `command`.

    Raises:
        RecipeError: cron cannot express the time, an argument has a password, or the files are there already.
    """
    _refuse_secrets(arguments)
    seconds = seconds_in(every, what="--schedule", remedy="Example: `--schedule 7d`.")
    name, here = f"tunesmith-update-{_NOT_IN_A_NAME.sub('-', Path(run).resolve().name)}", Path.cwd()
    # The interpreter of this environment: neither systemd nor cron knows which one is active.
    command = shlex.join([sys.executable, "-m", "tunesmith", "update", str(Path(run).resolve()), *arguments])
    facts = {
        "run": run,
        "here": here,
        "command": _for_systemd(command),
        "seconds": round(seconds),
        "name": name,
    }
    escaped = command.replace("%", "\\%")  # cron ends a line at `%`
    line = f"{_cron_time(seconds, every)} cd {shlex.quote(str(here))} && {escaped}\n"
    texts = {
        f"{name}.service": _SERVICE.format(**facts),
        f"{name}.timer": _TIMER.format(**facts),
        f"{name}.cron": line,
        "install.txt": _INSTALL.format(**facts),
    }
    for file in texts:
        if (folder / file).exists() and not force:
            raise RecipeError(
                f"`{folder / file}` already exists.", remedy="Give another folder, or `--force`."
            )
    for file, text in texts.items():
        write_atomically(folder / file, text)
    return {"path": str(folder), "files": sorted(texts), "command": command}


def _refuse_secrets(arguments: Sequence[str]) -> None:
    """Raises RecipeError for a password in an argument, which files of a schedule would show to others."""
    for argument in arguments:
        if (masked := masked_argument(argument)) != argument:
            raise RecipeError(
                f"files of a schedule must not hold a password, and `{masked}` has one.",
                remedy="Write `${NAME}` in its place, and set the variable where the command runs: "
                "`Environment=` or `EnvironmentFile=` of systemd, a line `NAME=…` of crontab.",
            )


def _for_systemd(command: str) -> str:
    """A command as `ExecStart` takes it: `%` and `$` have a meaning there."""
    return command.replace("%", "%%").replace("$", "$$")


def _cron_time(seconds: float, every: str) -> str:
    """The five fields of cron for a time between two updates.

    Raises:
        RecipeError: cron has no such time.
    """
    hours, days = seconds / _HOUR_S, seconds / _DAY_S
    if days == 7:
        return f"0 {_AT_HOUR} * * 0"
    if days == 1:
        return f"0 {_AT_HOUR} * * *"
    if hours in (1, 2, 3, 4, 6, 8, 12):
        return "0 * * * *" if hours == 1 else f"0 */{hours:.0f} * * *"
    if days in (30, 31):
        return f"0 {_AT_HOUR} 1 * *"
    raise RecipeError(
        f"cron has no time for `--schedule {every}`.",
        remedy="Give 1h, 2h, 3h, 4h, 6h, 8h, 12h, 1d, 7d or 30d.",
    )
