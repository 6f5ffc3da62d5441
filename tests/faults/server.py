"""The parent of all trials: has the libraries, does nothing, and forks a process for each `tunesmith` command.

It reads a JSON object a line: `{"start": {…}}` is answered with the pid of the new process, `{"wait": pid}` with
its exit code (negative for a signal, as in `subprocess`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import json
import os
import signal
import sys
from pathlib import Path

_PRELOADED = (
    "torch", "torch._dynamo", "transformers.models.bert.modeling_bert", "transformers.models.llama.modeling_llama",
    "accelerate", "scipy.stats", "sklearn.linear_model", "matplotlib.figure", "jinja2", "peft", "optuna",
    "torch.distributed.run", "tunesmith.pipeline", "tunesmith.tuning", "tunesmith.cli.main", "tunesmith.reports",
)  # fmt: skip
ACTIONS = (
    "count", "kill", "kill_halfway", "fail", "fail_from_now_on", "delay", "corrupt", "signal", "kill_all",
    "signal_twice",
)  # fmt: skip
_SUBREAPER = 36
"""`PR_SET_CHILD_SUBREAPER`: processes whose parent is killed become children of this one."""
POINTS = (
    "tunesmith.pipeline.training:prepare_data",
    "tunesmith.pipeline.training:open_model",
    "tunesmith.pipeline.training:encode",
    "tunesmith.pipeline.training:make_plan",
    "tunesmith.pipeline.training:score_base_model",
    "tunesmith.pipeline.training:start_from_probe",
    "tunesmith.pipeline.training:save",
    "tunesmith.pipeline.training:score_saved",
    "tunesmith.pipeline.training:write_report",
    "tunesmith.training.loop:_Loop._step",
    "tunesmith.training.loop:_Loop._clip",
    "tunesmith.training.loop:_Loop._evaluate",
    "tunesmith.training.loop:_Loop._save",
    "tunesmith.tuning.tune:prepare_search",
    "tunesmith.tuning.tune:first_trial",
    "tunesmith.tuning.running:run_trial",
    "tunesmith.tuning.tune:_finish",
)
"""Functions whose begin and end are places too."""


def main() -> None:
    """Answers until the input ends."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    for name in _PRELOADED:
        importlib.import_module(name)
    _warm_up(Path(sys.argv[1]))
    for line in sys.stdin:
        order = json.loads(line)
        answer = {"code": _end_of(order["wait"])} if "wait" in order else {"pid": _fork(order["start"])}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _warm_up(folder: Path) -> None:
    """Trains here once: what libraries import and compile at their first use, no trial has to do again."""
    from recipes import write_recipe

    from tunesmith import pipeline
    from tunesmith.recipe import RecipeDraft

    os.environ["TUNESMITH_CACHE"] = str(folder / "warm-cache")
    draft = RecipeDraft.read(write_recipe("probe + full", folder / "warm"))
    draft.override_all(["train.max_steps=1", f"output_dir={folder / 'warm' / 'run'}"])
    pipeline.train(draft.validate(), force=True)


def _fork(how: dict) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    try:
        how["code"] = _run(how) if how["processes"] == 1 else _launch(how)
    finally:
        os._exit(how.get("code", 70))


def _end_of(pid: int) -> int:
    """The exit code of a process, when all processes of its group have ended."""
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-pid, 0)
    return os.waitstatus_to_exitcode(status)


def _launch(how: dict) -> int:
    """The command in several processes, under the agent of `torchrun`, which forks them; returns its exit code."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.dup2(os.open(f"{how['folder']}/.torchrun", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
    n = how["processes"]
    config = LaunchConfig(
        1, 1, n, run_id="faults", rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
        start_method="fork",
    )  # fmt: skip
    codes, (reading, writing) = {}, os.pipe()
    try:
        elastic_launch(config, _rank)(how, writing)
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
    os.close(writing)
    with os.fdopen(reading) as said:
        codes |= dict(map(json.loads, said))
    Path(how["folder"], ".codes").write_text(
        json.dumps([codes.get(rank, -signal.SIGTERM) for rank in range(n)])
    )
    return int(any(codes.values()))


def _rank(how: dict, report: int) -> None:
    """One of the processes; the agent itself knows the exit code of only one that fails."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # that of the training of the parent
    code = _run(how)
    os.write(report, f"[{os.environ['RANK']}, {code}]\n".encode())
    sys.exit(code)


def _run(how: dict) -> int:
    """The command, as in a process of its own; returns its exit code."""
    for number, path in ((1, how["out"]), (2, how["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(how["folder"])
    os.environ.update(how["environment"])
    for patch in how.get("patches", ()):
        exec(patch, {})
    shim = ctypes.CDLL(None)
    if "fault" in how:
        _arm(shim, **how["fault"])
    sys.argv = ["tunesmith", *how["arguments"]]
    from tunesmith.cli.main import main as command

    try:
        command()
    except SystemExit as stopped:
        how["code"] = code = stopped.code  # a signal may come before this process has ended
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(bool(code))


def _arm(shim: ctypes.CDLL, below: str, at: int, action: str, value: int, rank: int, log: str) -> None:
    own = int(os.environ.get("RANK", "0"))
    if own != rank and at >= 0:
        return
    for place in POINTS:
        _mark(shim, place)
    file = os.open(f"{log}-{own}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    shim.faults_arm(below.encode(), ctypes.c_long(at), ACTIONS.index(action), value, file)


def _mark(shim: ctypes.CDLL, place: str) -> None:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    really = getattr(owner, name)

    @functools.wraps(really)
    def marked(*given, **named):
        shim.faults_point(f"{name.lstrip('_')} begins".encode())
        result = really(*given, **named)
        shim.faults_point(f"{name.lstrip('_')} ends".encode())
        return result

    setattr(owner, name, marked)


if __name__ == "__main__":
    main()
