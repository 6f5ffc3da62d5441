"""A limit of the memory that a few lines may take, for files that others made: a template, a compressed column.

The kernel refuses addresses beyond the limit (RLIMIT_AS), so an allocation fails with MemoryError before it takes
memory from the machine. The limit holds for the whole process, above what it has at that moment. So it is
generous and short: another thread would have to ask for as much within the same milliseconds to be refused. Where
the system does not say how many addresses a process has (macOS, Windows), there is no limit.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_SIZES = Path("/proc/self/statm")


class _Limit:
    """The limit of the process, and how many threads want one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._before = (-1, -1)

    @contextmanager
    def limited(self, n_bytes: int) -> Iterator[None]:
        """A context in which the process can take this many bytes, and no more.

        Args:
            n_bytes: bytes beyond those that the process has at the start.

        Raises:
            MemoryError: the code within wants more.
        """
        if resource is None or not _SIZES.is_file():
            yield
            return
        with self._lock:
            if not self._n_inside:
                self._before = resource.getrlimit(resource.RLIMIT_AS)
            self._n_inside += 1
            self._set(n_bytes)
        try:
            yield
        finally:
            with self._lock:
                self._n_inside -= 1
                if not self._n_inside:
                    resource.setrlimit(resource.RLIMIT_AS, self._before)

    def _set(self, n_bytes: int) -> None:
        most = int(_SIZES.read_text(encoding="ascii").split()[0]) * mmap.PAGESIZE + n_bytes
        known = [limit for limit in self._before if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min([most, *known]), self._before[1]))


limited_memory = _Limit().limited
