"""Measurements in processes of their own: each prints one JSON object as its last line."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).parent


class FailedError(Exception):
    """A measurement ended in an error; its last words."""


def measure(script: str, spec: Mapping[str, Any], *, cache: Path) -> dict[str, Any]:
    """Runs a script of this folder with a specification.

    Args:
        script: file name.
        spec: what it reads as its only argument.
        cache: our cache of encodings.

    Raises:
        FailedError: it ended in an error.
    """
    command = [sys.executable, str(HERE / script), json.dumps(spec)]
    done = subprocess.run(command, env=environment(cache), capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedError("\n".join(done.stderr.strip().splitlines()[-12:]))
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def measure_preloaded(script: str, spec: Mapping[str, Any], *, cache: Path) -> dict[str, Any]:
    """The same, forked from a process that has imported the libraries: the start takes a fraction of the time.

    Args:
        script: file name.
        spec: what it reads as its only argument.
        cache: our cache of encodings.

    Raises:
        FailedError: it ended in an error.
    """
    # The server imports with the environment of its start, and finds the modules by it.
    wanted = environment(cache) | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["_preload"])
    with tempfile.TemporaryDirectory() as folder:
        process = server.Process(target=_run, args=(script, dict(spec), wanted, folder))
        with mock.patch.dict(os.environ, wanted, clear=True):
            process.start()
        process.join()
        out, err = (Path(folder, name).read_text(encoding="utf-8") for name in _STREAMS)
    if process.exitcode:
        raise FailedError("\n".join(err.strip().splitlines()[-12:]))
    return dict(json.loads(out.strip().splitlines()[-1]))


_STREAMS = ("stdout", "stderr")


def _run(script: str, spec: Mapping[str, Any], variables: Mapping[str, str], folder: str) -> None:
    os.environ.update(variables)
    for number, name in enumerate(_STREAMS, start=1):
        os.dup2(os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT), number)
    sys.argv = [script, json.dumps(spec)]
    importlib.import_module(Path(script).stem).main()


def environment(cache: Path) -> dict[str, str]:
    """Of every measurement: offline, with a cache that is ours alone, and with threads that wait as they do by
    themselves, unless the program itself has them do otherwise."""
    return {
        **{name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"},
        "HF_HUB_OFFLINE": "1",
        "TUNESMITH_CACHE": str(cache),
        "PYTHONWARNINGS": "ignore",
    }
