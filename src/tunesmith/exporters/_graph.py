"""Exports a model of transformers as an ONNX graph, for any number of sequences of any length.

torch.onnx.export with dynamo traces the model once with symbolic sizes, so the graph does not depend on the shape
of the example. The graph is then compared with the model on other shapes.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import ModelError
from tunesmith.inference.onnx import OnnxModel
from tunesmith.models.positions import position_limit

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch
    from transformers.utils import ModelOutput

    from tunesmith.types import JsonObject, Model, Tokenizer

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OUTPUTS = ("logits", "start_logits", "end_logits", "last_hidden_state")
_EXAMPLE = (3, 11)
# Another number of texts, a single one, a single token, a long batch without padding.
_OTHER_SHAPES = ((5, 7), (1, 9), (4, 1), (1, 1), (2, 48))
_TOLERANCE = 1e-4
WEIGHTS_APART_BYTES = 16 << 20
"""From here on, weights go into a file beside model.onnx, which is mapped and not read: onnxruntime opens the
default model in a third of the time, and processes share its pages. A protobuf message ends at 2 GB anyway."""


def write_graph(model: Model, tokenizer: Tokenizer, file: Path) -> JsonObject:
    """Writes a model's forward pass as ONNX.

    Args:
        model: a model of transformers, in evaluation mode, with its stock code.
        tokenizer: tokenizer of the model.
        file: file to write.

    Returns:
        Names of the inputs and outputs, and the opset.

    Raises:
        ModelError: the architecture cannot be exported, or the graph gives other outputs.
    """
    import torch

    names = _inputs_of(model, tokenizer)
    example = _batch(model, *_EXAMPLE, names)
    with torch.no_grad():
        outputs = _outputs_of(model(**example))
    module = _by_position(model, names, outputs)
    sizes = {0: "batch", 1: "sequence"}
    try:
        with quietly(), torch.no_grad():
            program = torch.onnx.export(
                module,
                tuple(example[name] for name in names),
                input_names=names,
                output_names=outputs,
                dynamic_shapes={"tensors": tuple(sizes for _ in names)},
                dynamo=True,
                verbose=False,
            )
            assert program is not None  # with dynamo=True
            _leave_out_traces(program.model)
            program.save(str(file), external_data=_weights_bytes(model) >= WEIGHTS_APART_BYTES)
    except Exception as error:  # the exporter may raise any exception
        raise ModelError(
            f"this kind of {model.config.model_type} model cannot be written as ONNX: {_first_line(error)}",
            remedy="Use `--to merged`.",
        ) from error
    _compare(model, names, file, longest=position_limit(model, tokenizer))
    return {"inputs": names, "outputs": outputs, "opset": program.model.opset_imports[""]}


def _leave_out_traces(model: ir.Model) -> None:
    """Removes the stack traces of the exporter, which name the files of this machine in every node."""
    nodes = [*model.graph.all_nodes()]
    for function in model.functions.values():
        nodes += function.all_nodes()
    for node in nodes:
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()


def _inputs_of(model: Model, tokenizer: Tokenizer) -> list[str]:
    """The inputs that the model takes and its tokenizer returns."""
    taken = inspect.signature(model.forward).parameters
    made = {"attention_mask", *tokenizer.model_input_names}
    return [name for name in _INPUTS if name in taken and name in made]


def _outputs_of(output: ModelOutput) -> list[str]:
    return [name for name in _OUTPUTS if getattr(output, name, None) is not None]


def _batch(model: Model, rows: int, tokens: int, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """A batch of arbitrary tokens; from the second row on, the end is padding."""
    import torch

    known = int(model.config.vocab_size)
    ids = (7 * torch.arange(rows * tokens) + 5).remainder(known).reshape(rows, tokens)
    mask = torch.ones_like(ids)
    mask[1:, (tokens + 1) // 2 :] = 0
    padding = getattr(model.config, "pad_token_id", None) or 0
    ids = ids.masked_fill(ids == padding, (padding + 1) % known).masked_fill(mask == 0, padding)
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return {name: batch[name] for name in names}


def _by_position(model: Model, names: Sequence[str], outputs: Sequence[str]) -> torch.nn.Module:
    """The model as a module that takes and returns plain tensors."""
    import torch

    class ByPosition(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            output = self.model(**dict(zip(names, tensors, strict=True)))
            return tuple(getattr(output, name) for name in outputs)

    return ByPosition().eval()


def _compare(model: Model, names: Sequence[str], file: Path, *, longest: int) -> None:
    """Compares the graph with the model on other shapes than that of the trace."""
    import torch

    graph = OnnxModel(file, model.config)
    for rows, tokens in _OTHER_SHAPES:
        batch = _batch(model, rows, min(tokens, longest), names)
        with torch.no_grad():
            ours, theirs = model(**batch), graph(**batch)
        for name in graph.outputs:
            a, b = getattr(ours, name), getattr(theirs, name)
            if not torch.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE * float(1 + a.abs().max())):
                far = float((a - b).abs().max())
                raise ModelError(
                    f"the ONNX graph of this {model.config.model_type} model gives other outputs: {name} "
                    f"differ by up to {far:.2g} for {rows} texts of {tokens} tokens.",
                    remedy="Use `--to merged`.",
                )


def _weights_bytes(model: Model) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """A context without the libraries' log messages and warnings; the result is compared afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    lines = [line for line in str(cause).splitlines() if line.strip()]
    return (lines or [type(cause).__name__])[0].strip().rstrip(".") + "."
