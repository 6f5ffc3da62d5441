"""An ONNX graph with the interface of a model, so that the other code can use it unchanged.

onnxruntime computes. Inputs and outputs have the names that a task uses. The session uses as many threads as
torch, whose threads are idle meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tunesmith._telemetry import import_onnxruntime

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Config


class OnnxModel:
    """A forward pass of transformers, run by onnxruntime on the CPU.

    Args:
        file: path of the graph.
        config: config of the exported model.
    """

    training = False

    def __init__(self, file: Path, config: Config) -> None:
        import torch

        onnxruntime = import_onnxruntime()

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
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

        ids = tensors["input_ids"]
        absent = {"attention_mask": torch.ones_like, "token_type_ids": torch.zeros_like}
        feeds = {
            name: (tensors[name] if name in tensors else absent[name](ids)).numpy() for name in self.inputs
        }
        values = self._session.run(None, feeds)
        return SimpleNamespace(
            **{name: torch.from_numpy(value) for name, value in zip(self.outputs, values, strict=True)}
        )

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
