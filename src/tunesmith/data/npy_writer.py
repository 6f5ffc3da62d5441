"""An array in a `.npy` file that grows along its first axis, so that it need not fit into memory."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tunesmith.types import Array


class GrowingArray:
    """A `.npy` file to append to. It is a context manager; at the end, the header gets the length.

    Args:
        path: path of the file.
        like: an array with the same dtype, and the same shape except for the first axis.
    """

    def __init__(self, path: Path, like: Array) -> None:
        self._path, self._dtype, self._shape = path, like.dtype, like.shape[1:]
        self._rows = 0

    def __enter__(self) -> GrowingArray:
        self._handle: IO[bytes] = self._path.open("wb")
        self._start = self._write_header()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._handle:
            if kind is None:
                self._handle.seek(0)
                # numpy leaves room in a header for the first axis to grow.
                if self._write_header() != self._start:
                    raise OSError(f"the header of `{self._path}` has become longer")

    def __len__(self) -> int:
        return self._rows

    def append(self, values: Array) -> None:
        """Adds rows.

        Raises:
            TypeError: the rows have another dtype or shape than the first ones.
        """
        same = np.asarray(values).astype(self._dtype, order="C", casting="safe" if len(values) else "unsafe")
        if same.shape[1:] != self._shape:
            raise TypeError(f"rows of {same.shape[1:]} cannot follow rows of {self._shape}")
        self._handle.write(same.tobytes())
        self._rows += len(same)

    def _write_header(self) -> int:
        np.lib.format.write_array_header_1_0(
            self._handle,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self._rows, *self._shape),
            },
        )
        return self._handle.tell()
