"""Smoothing changes how numbers are rounded, and nothing else."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tunesmith.exporters._smoothing import find_peaks, products, smooth
from tunesmith.exporters.onnx_int8 import _quantize
from tunesmith.inference.onnx import OnnxModel

N_TOKENS, WIDTH, HIDDEN, LABELS = 50, 16, 24, 3
OUTLIER = 5


@pytest.fixture
def graph(tmp_path):
    """Embedding → product → product → head; one channel of the embedding is forty times the others."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(N_TOKENS, WIDTH)).astype(np.float32)
    table[:, OUTLIER] *= 40
    weights = {
        "table": table,
        "first": rng.normal(size=(WIDTH, HIDDEN)).astype(np.float32),
        "second": rng.normal(size=(HIDDEN, HIDDEN)).astype(np.float32),
        "head": rng.normal(size=(HIDDEN, LABELS)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"], name="gather"),
        helper.make_node("MatMul", ["x", "first"], ["a"], name="first"),
        helper.make_node("Tanh", ["a"], ["t"], name="tanh"),
        helper.make_node("MatMul", ["t", "second"], ["b"], name="second"),
        helper.make_node("MatMul", ["b", "head"], ["logits"], name="head"),
    ]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", LABELS])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(file))
    return file


def batches(n=4):
    generator = torch.Generator().manual_seed(0)
    for tokens in range(3, 3 + n):
        yield {"input_ids": torch.randint(N_TOKENS, (8, tokens), generator=generator)}


def test_the_head_is_left_out(graph):
    assert [node.name for node in products(onnx.load(str(graph)).graph)] == ["first", "second"]


def test_peaks_are_the_largest_of_each_channel(graph):
    peaks = find_peaks(graph, None, batches())
    table = numpy_helper.to_array(onnx.load(str(graph)).graph.initializer[0])
    used = np.unique(np.concatenate([batch["input_ids"].numpy().ravel() for batch in batches()]))
    assert set(peaks) == {"x", "t"}
    np.testing.assert_allclose(peaks["x"], np.abs(table[used]).max(axis=0))
    assert (peaks["t"] <= 1).all()


def test_smoothing_alone_changes_no_answer(graph, tmp_path):
    before = OnnxModel(graph, None)
    model = onnx.load(str(graph))
    assert smooth(model, find_peaks(graph, None, batches())) == 2
    onnx.save(model, str(tmp_path / "smooth.onnx"))
    after = OnnxModel(tmp_path / "smooth.onnx", None)
    for batch in batches():
        np.testing.assert_allclose(after(**batch).logits, before(**batch).logits, rtol=1e-4, atol=1e-4)
    names = [node.op_type for node in model.graph.node]
    assert names == ["Gather", "Mul", "MatMul", "Tanh", "Mul", "MatMul", "MatMul"]


def test_smoothed_products_lose_less_in_eight_bits(graph, tmp_path):
    exact = OnnxModel(graph, None)

    def error(name, *, is_smooth):
        model = onnx.load(str(graph))
        if is_smooth:
            smooth(model, find_peaks(graph, None, batches()))
        scratch = tmp_path / name
        scratch.mkdir()
        assert _quantize(model, scratch, scratch / "int8.onnx") == 2
        rounded = OnnxModel(scratch / "int8.onnx", None)
        return np.sqrt(
            np.mean([((rounded(**b).logits - exact(**b).logits) ** 2).mean().item() for b in batches()])
        )

    assert error("smooth", is_smooth=True) < 0.5 * error("plain", is_smooth=False)
