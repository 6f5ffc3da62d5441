"""Functions of test files in processes of their own that have the libraries already.

The processes are forked from a server that has imported the libraries and does nothing else. So they start in a
tenth of a second, and no thread of the tests can have left a lock behind, as in a fork of the tests' own process.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess

_PRELOADED = (
    "torch", "torch._dynamo", "transformers.models.bert.modeling_bert", "accelerate", "scipy.stats",
    "sklearn.linear_model", "matplotlib.figure", "jinja2", "tunesmith.pipeline",
)  # fmt: skip
_PATIENCE_S = 300


def start(function: Callable[..., object], *given: object, **variables: str) -> BaseProcess:
    """Calls a function of the outermost level of a file in a new process, which ends as the function does.

    Args:
        function: it is found again by its file and name.
        given: its arguments.
        variables: environment variables besides those of this process.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(list(_PRELOADED))
    where = function.__code__.co_filename, function.__name__
    process = server.Process(target=_call, args=(*where, given, {**os.environ, **variables}))
    process.start()
    return process


def exit_codes_of_two(function: Callable[..., object], *given: object) -> list[int | None]:
    """Calls a function in two processes that train together, with the variables that `torchrun` sets."""
    with socket.create_server(("localhost", 0)) as free:
        group = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
    group |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = [start(function, *given, **group, RANK=rank, LOCAL_RANK=rank) for rank in "01"]
    for process in ranks:
        process.join(_PATIENCE_S)
    for process in ranks:
        process.kill()  # if it waits for the other for ever
        process.join()
    return [process.exitcode for process in ranks]


def _call(file: str, name: str, given: tuple[object, ...], variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    runpy.run_path(file)[name](*given)
