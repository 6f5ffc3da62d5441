"""An ONNX graph with the interface of a model, so that the other code can use it unchanged.

onnxruntime computes. Inputs and outputs have the names that a task uses. The session uses as many threads as
torch, whose threads are idle meanwhile; without torch, as many as `OMP_NUM_THREADS` says, or one a physical core.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith._telemetry import import_onnxruntime

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.types import Config


class OnnxModel:
    """A forward pass of transformers, run by onnxruntime on the CPU.

    Args:
        file: path of the graph.
        config: config of the exported model.
    """

    training = False

    def __init__(self, file: Path, config: Config) -> None:
        onnxruntime = import_onnxruntime()

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _threads()
        options.log_severity_level = 3  # errors only; warnings of the optimizer do not concern the user
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.config = config
        self.inputs = [known.name for known in self._session.get_inputs()]
        self.outputs = [made.name for made in self._session.get_outputs()]

    def __call__(self, **tensors: torch.Tensor) -> SimpleNamespace:
        """The outputs of the graph for padded tensors [b, s], by name: `logits`, ….

        Args:
            tensors: `input_ids` and other inputs; inputs that the graph does not take are ignored, and token types
                that are not given are 0, as in transformers.
        """
        import torch

        found = self.run({name: tensor.numpy() for name, tensor in tensors.items()})
        return SimpleNamespace(**{name: torch.from_numpy(value) for name, value in found.items()})

    def run(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """The outputs of the graph for arrays [b, s], by name; see `__call__`."""
        ids = batch["input_ids"]
        absent = {"attention_mask": np.ones_like, "token_type_ids": np.zeros_like}
        feeds = {name: batch[name] if name in batch else absent[name](ids) for name in self.inputs}
        return dict(zip(self.outputs, self._session.run(None, feeds), strict=True))

    def parameters(self) -> Iterator[torch.Tensor]:
        """One empty tensor on the CPU, which gives the device of the model."""
        import torch

        yield torch.empty(0)

    def eval(self) -> OnnxModel:
        """Returns itself: the graph has no other mode."""
        return self

    def train(self, mode: bool = True) -> OnnxModel:
        """Returns itself, see `eval`."""
        return self


def _threads() -> int:
    if "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else 0
