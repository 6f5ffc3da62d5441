"""Processes that train together: the first one locks and writes, all read and compute.

`torchrun` starts them; accelerate joins them (gloo on CPUs, nccl on CUDA devices). Every process goes through the
same phases, and the first one makes each decision that could differ between them. Nothing is pickled: what they
share is JSON.
"""

from __future__ import annotations

import atexit
import json
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, cast

from tunesmith.errors import CheckBlockedError, OtherProcessError, RunError, TunesmithError, UserError
from tunesmith.run.locking import launcher_variable

if TYPE_CHECKING:
    from types import ModuleType

    import torch
    from accelerate import Accelerator

T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""How long a process waits for another, which may score a large test set meanwhile."""
_SET_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_IN_USE: deque[torch.Tensor] = deque(maxlen=8)
"""Tensors of the last operations, which threads of gloo may not have let go of yet."""
_LET_GO_S = 10.0


def launched() -> tuple[int, int]:
    """Rank of this process and number of processes, as `torchrun` has set them; 0 and 1 without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this is the process that writes and prints."""
    return launched()[0] == 0


def refuse_other_launchers() -> None:
    """Raises RunError under a launcher other than `torchrun`: each process would do the whole work."""
    if all(name in os.environ for name in _SET_BY_TORCHRUN):
        return
    if name := launcher_variable():
        size = os.environ[name]
        raise RunError(
            f"the launcher must be `torchrun`, and another one has started {size} processes ({name} is {size}).",
            remedy="Use `torchrun --nproc-per-node N -m tunesmith train …`.",
        )


def make_accelerator() -> Accelerator:
    """The object of accelerate for this process, or for the group that it was launched in."""
    import torch
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    if launched()[1] == 1:
        return Accelerator(mixed_precision="no")
    atexit.register(_wait_for_gloo)
    group = InitProcessGroupKwargs(timeout=_PATIENCE)
    return Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available(), kwargs_handlers=[group])


def _wait_for_gloo() -> None:
    """Waits until the threads of gloo have let go of their tensors.

    They do so a moment after an operation, and need Python for it. A process that has begun to end by then is
    aborted (SIGABRT), and with it all that `torchrun` has started.
    """
    deadline = time.monotonic() + _LET_GO_S
    while any(_holders(tensor) > 1 for tensor in _IN_USE) and time.monotonic() < deadline:
        time.sleep(0.001)


def _holders(tensor: torch.Tensor) -> int:
    """How many hold a tensor beside its variables in Python, plus one; torch's count is private."""
    count = getattr(tensor, "_use_count", None)
    return int(count()) if count else 1


class Processes:
    """The processes that train together; this one alone without a launcher."""

    def __init__(self) -> None:
        self.rank, self.world = launched()

    @cached_property
    def accelerator(self) -> Accelerator:
        """The object of accelerate; made when it is first needed."""
        return make_accelerator()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def first(self, act: Callable[[], T]) -> T | None:
        """Calls a function in the first process; its result there, None in the others.

        Raises:
            TunesmithError: in every process, when the function raised it.
        """
        result, error = None, None
        if self.is_first:
            try:
                result = act()
            except TunesmithError as raised:
                error = raised
        told = self.share(None if error is None else _described(error))
        if error is not None:
            raise error
        if told is not None:
            raise _error_of(told)
        return result

    def share(self, value: T) -> T:
        """The first process's value, in every process; a value of JSON, where a float keeps all its digits.

        Raises:
            OtherProcessError: another process has ended.
        """
        if self.world == 1:
            return value
        import torch

        device = self.accelerator.device
        text = json.dumps(value).encode() if self.is_first else b""
        size = torch.tensor([len(text)], device=device)
        self._together(lambda group: group.broadcast(size, 0), size)
        data = torch.zeros(int(size), dtype=torch.uint8, device=device)
        if self.is_first:
            data.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        self._together(lambda group: group.broadcast(data, 0), data)
        shared: T = json.loads(bytes(data.cpu().numpy()))
        return shared

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in any process."""
        if self.world == 1:
            return flag
        import torch

        count = torch.tensor([float(flag)], device=self.accelerator.device)
        self.sum_([count])
        return bool(count > 0)

    def sum_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replaces tensors of one type with their sums over all processes."""
        import torch

        if self.world == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._together(lambda group: group.all_reduce(flat), flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def copy_from_first_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replaces tensors with those of the first process."""
        for tensor in tensors if self.world > 1 else ():
            self._broadcast(tensor.detach())

    def wait(self) -> None:
        """Waits for all processes."""
        self.any(False)

    def in_turn(self, act: Callable[[], T]) -> T:
        """Calls a function in the first process, and then in the others, which find what it wrote.

        Raises:
            TunesmithError: in every process, when the function raised it in the first one.
        """
        result = self.first(act)
        return cast(T, result) if self.is_first else act()

    def _broadcast(self, tensor: torch.Tensor) -> None:
        whole = tensor.contiguous()
        self._together(lambda group: group.broadcast(whole, 0), whole)
        if whole is not tensor:
            tensor.copy_(whole)

    def _together(self, act: Callable[[ModuleType], object], tensor: torch.Tensor) -> None:
        """Calls a collective operation of torch on a tensor."""
        import torch.distributed as group

        _ = self.accelerator
        _IN_USE.append(tensor)
        try:
            act(group)
        except RuntimeError as error:
            raise OtherProcessError(
                "another process has ended, and this one cannot continue alone.",
                remedy="See the message of the other one. The same command resumes.",
            ) from error


def _described(error: TunesmithError) -> dict[str, str]:
    fields = {"rule": error.rule, "remedy": error.remedy, "location": error.location}
    kinds = (("check", CheckBlockedError), ("user", UserError))
    return {**fields, "kind": next((name for name, kind in kinds if isinstance(error, kind)), "other")}


def _error_of(told: dict[str, str]) -> TunesmithError:
    kinds = {"check": CheckBlockedError, "user": RunError}
    return kinds.get(told.pop("kind"), TunesmithError)(told.pop("rule"), **told)
