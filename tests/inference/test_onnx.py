"""An ONNX graph behaves like the model where a task calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tunesmith
from tunesmith.errors import ModelError, RunError, UserError
from tunesmith.exporters import _graph
from tunesmith.inference.onnx import OnnxModel
from tunesmith.run import read_json, write_json

pytestmark = pytest.mark.usefixtures("lean")


@pytest.fixture(scope="module")
def exported(finished_run, tmp_path_factory):
    """With the weights in a file of their own, as those of larger models are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_graph, "WEIGHTS_APART_BYTES", 0)
        folder = tmp_path_factory.mktemp("exports") / "onnx"
        return tunesmith.export(finished_run.path, "onnx", output_dir=folder)


@pytest.fixture(scope="module")
def graph(exported, finished_run):
    return OnnxModel(f"{exported['path']}/model.onnx", tunesmith.load(finished_run.path).model.config)


@pytest.mark.slow
def test_the_graph_names_no_file_of_this_machine(exported):
    """The trap: torch writes a stack trace into every node."""
    content = Path(f"{exported['path']}/model.onnx").read_bytes()
    for folder in (Path(tunesmith.__file__).parent, Path(torch.__file__).parents[1], Path.home()):
        assert str(folder).encode() not in content


def test_inputs_that_are_not_given_are_what_transformers_takes(graph):
    ids = torch.tensor([[2, 9, 30, 3], [2, 8, 3, 0]])
    mask = (ids != 0).long()
    whole = graph(input_ids=ids, attention_mask=mask, token_type_ids=torch.zeros_like(ids)).logits
    assert torch.equal(graph(input_ids=ids, attention_mask=mask).logits, whole)
    assert not torch.allclose(graph(input_ids=ids).logits[1], whole[1], atol=1e-3)
    assert torch.equal(graph(input_ids=ids, attention_mask=mask, position_ids=ids).logits, whole)


def test_it_is_a_model_where_one_is_asked_for(graph):
    assert graph.eval() is graph
    assert graph.train(True).training is False
    assert next(graph.parameters()).device.type == "cpu"


def test_it_takes_as_many_threads_as_torch(graph):
    options = graph._session.get_session_options()
    assert options.intra_op_num_threads == torch.get_num_threads()


COLD = """import sys, json
from tunesmith.inference.predictor import Predictor
answers = Predictor.from_run(sys.argv[1])(json.loads(sys.argv[2]), top_k=None)
print(json.dumps([answers, sorted({"torch", "transformers"} & set(sys.modules))]))"""


def test_an_answer_needs_neither_torch_nor_transformers(exported, finished_run):
    texts = ["the cat is red", "old new big blue", "x " * 200]
    command = [sys.executable, "-c", COLD, exported["path"], json.dumps(texts)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answers, imported = json.loads(done.stdout)
    assert imported == []
    ours = tunesmith.load(finished_run.path)(texts, top_k=None)
    for one, other in zip(answers, ours, strict=True):
        assert one["label"] == other["label"]
        assert one.get("truncated") == other.get("truncated")
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)


def test_an_export_of_an_earlier_version_is_read_with_transformers(exported, tmp_path):
    import shutil

    shutil.copytree(exported["path"], tmp_path / "old")
    facts = read_json(tmp_path / "old" / "export.json")
    del facts["tokenizer"]
    write_json(tmp_path / "old" / "export.json", facts)
    text = "the cat is red"
    assert tunesmith.load(tmp_path / "old")(text) == tunesmith.load(exported["path"])(text)


def test_without_the_package_the_error_names_the_command(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'tunesmith\[onnx\]'"):
        tunesmith.load(exported["path"])


def test_a_damaged_export_says_so(exported, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(exported["path"], broken)
    for name in ("model.onnx.data", "model.onnx"):
        (broken / name).write_bytes((broken / name).read_bytes()[:1000])
        with pytest.raises(ModelError, match="cannot be loaded"):
            tunesmith.load(broken)
        shutil.copy(f"{exported['path']}/{name}", broken / name)
    (broken / "export.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        tunesmith.load(broken)
    shutil.copy(f"{exported['path']}/export.json", broken / "export.json")
    write_json(broken / "export.json", {**read_json(broken / "export.json"), "runtime": "gguf"})
    with pytest.raises(ModelError, match="an unknown runtime"):
        tunesmith.load(broken)
