"""A real PostgreSQL server for tests: Debian's `postgresql`, started in a folder of its own, and stopped."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def server_programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; None where they are not installed."""
    found = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    newest = found[-1] if found else shutil.which("initdb")
    return Path(newest).resolve().parent if newest else None


def _run_as_owner(*command: str | Path) -> None:
    """Runs a command of the server, which refuses to run as root, as its own user."""
    if os.geteuid() == 0:
        command = ("runuser", "-u", "postgres", "--", *command)
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=60, cwd="/")


@contextmanager
def running_postgresql(programs: Path) -> Iterator[str]:
    """URL of a running server with an empty database.

    Args:
        programs: folder of `initdb` and `pg_ctl`.
    """
    owner = "postgres" if os.geteuid() == 0 else getpass.getuser()
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-postgresql-"))  # pytest's own is for its user alone
    if os.geteuid() == 0:
        shutil.chown(folder, owner)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    control = (programs / "pg_ctl", "-D", folder / "data")
    settings = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
    _run_as_owner(programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", owner, "--no-sync")
    _run_as_owner(*control, "-l", folder / "log", "-o", settings, "-w", "start")
    try:
        yield f"postgresql://{owner}@127.0.0.1:{port}/postgres"
    finally:
        _run_as_owner(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder)
