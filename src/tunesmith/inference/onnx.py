"""An ONNX graph that behaves like the model it was made from, so that everything else stays as it is.

onnxruntime computes; tensors come in and go out under the names that a task knows. The session takes as many
threads as torch would: they are idle while it computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tunesmith._telemetry import import_onnxruntime

if TYPE_CHECKING:
    import torch


class OnnxModel:
    """A forward pass of transformers, run by onnxruntime on the CPU.

    Args:
        file: the graph.
        config: of the model it was made from.
    """

    training = False

    def __init__(self, file: Path, config: Any) -> None:
        import torch

        onnxruntime = import_onnxruntime()

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors; a warning of an optimization is none for the user
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.config = config
        self.inputs = [known.name for known in self._session.get_inputs()]
        self.outputs = [made.name for made in self._session.get_outputs()]

    def __call__(self, **tensors: torch.Tensor) -> SimpleNamespace:
        """What the graph makes of padded tensors [b, s], by name: `logits`, ….

        Args:
            tensors: `input_ids` and what else there is; what the graph does not take is left out, and kinds of
                tokens that are not given are 0, as in transformers.
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
        """One empty tensor, which says where batches belong: the CPU."""
        import torch

        yield torch.empty(0)

    def eval(self) -> OnnxModel:
        """The graph knows no other mode."""
        return self

    def train(self, mode: bool = True) -> OnnxModel:
        """See `eval`: there is nothing to switch."""
        return self
