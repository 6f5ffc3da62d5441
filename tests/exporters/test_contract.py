"""Every exporter, on every kind of model that it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tunesmith
from tunesmith.errors import ModelError
from tunesmith.testing.export_contract import ExporterContract

LORA = {"method": "lora", "lora_r": 4}
INT8 = {"export.min_agreement": 0.9, "export.max_metric_drop": 0.1}


class TestMerged(ExporterContract):
    name = "merged"

    def test_plain_transformers_gives_the_same_answers(self, facts, predictors):
        from transformers import pipeline

        texts = [question["text"] for question in self.questions()]
        classify = pipeline("text-classification", facts["path"])
        for ours, theirs in zip(predictors[0](texts), classify(texts), strict=True):
            assert theirs["label"] == ours["label"]
            assert theirs["score"] == pytest.approx(ours["score"], abs=1e-4)


class TestMergedAdapter(ExporterContract):
    name = "merged"
    train = LORA

    def test_neither_peft_nor_the_base_is_needed(self, run, facts, predictors):
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        names = {path.name for path in (run.path.parent / "run-merged").iterdir()}
        assert {"config.json", "model.safetensors", "README.md"} <= names
        assert not any("adapter" in name for name in names)
        model = AutoModelForSequenceClassification.from_pretrained(facts["path"])
        tokenizer = AutoTokenizer.from_pretrained(facts["path"])
        text = self.questions()[0]["text"]
        with torch.no_grad():
            scores = model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0]
        found = {item["label"]: item["score"] for item in predictors[0](text, top_k=None)["top"]}
        np.testing.assert_allclose(scores, [found[name] for name in predictors[0].labels], atol=1e-5)


@pytest.mark.slow
class TestMergedText2TextGeneration(ExporterContract):
    name = "merged"
    task = "text2text-generation"
    family = "bart"


class TestMergedChatAdapter(ExporterContract):
    name = "merged"
    task = "chat"
    family = "llama"
    train = LORA


@pytest.mark.slow
class TestMergedPreference(ExporterContract):
    name = "merged"
    task = "preference"
    family = "llama"

    def questions(self):
        return [row["prompt"] for row in self.rows(12, seed=9)]


class TestOnnx(ExporterContract):
    name = "onnx"

    def test_long_texts_are_cut_alike(self, predictors):
        ours, theirs = (predictor("the cat " * 60) for predictor in predictors)
        assert ours["truncated"]
        assert theirs["truncated"]
        assert theirs["score"] == pytest.approx(ours["score"], abs=1e-4)

    def test_what_writes_texts_is_refused(self, tmp_path):
        from tunesmith.exporters import EXPORTERS, refuse_unfit
        from tunesmith.tasks import TASKS

        for name in ("chat", "summarization", "preference", "text-generation"):
            with pytest.raises(ModelError, match="--to merged"):
                refuse_unfit("onnx", EXPORTERS.get("onnx"), TASKS.get(name))


@pytest.mark.slow
class TestOnnxAdapter(ExporterContract):
    name = "onnx"
    layers = 1  # half of the time to trace a graph
    train = LORA


@pytest.mark.slow
class TestOnnxMultiLabel(ExporterContract):
    name = "onnx"
    layers = 1  # half of the time to trace a graph
    task = "multi-label-classification"
    family = "roberta"


@pytest.mark.slow
class TestOnnxRegression(ExporterContract):
    name = "onnx"
    layers = 1  # half of the time to trace a graph
    task = "text-regression"


class TestOnnxTokenClassification(ExporterContract):
    name = "onnx"
    layers = 1  # half of the time to trace a graph
    task = "token-classification"


@pytest.mark.slow
class TestOnnxQuestionAnswering(ExporterContract):
    name = "onnx"
    layers = 1  # half of the time to trace a graph
    task = "question-answering"


@pytest.mark.slow
class TestOnnxFillMask(ExporterContract):
    name = "onnx"
    layers = 1  # half of the time to trace a graph
    task = "fill-mask"

    def questions(self):
        return [f"{row['text']} <mask>" for row in self.rows(12, seed=9)]


class TestOnnxInt8(ExporterContract):
    name = "onnx-int8"
    allowed = INT8
    near = 0.1

    def test_its_products_are_in_eight_bits_and_its_head_is_not(self, facts):
        import onnx

        model = onnx.load(f"{facts['path']}/model.onnx")
        types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        eight_bits = [name for name, kind in types.items() if kind == onnx.TensorProto.INT8]
        assert len([name for name in eight_bits if name.endswith("_quantized")]) == 12
        assert facts["made"]["int8_products"] == 12  # two layers: q, k, v, out, up, down
        assert types["model.classifier.weight"] == onnx.TensorProto.FLOAT


@pytest.mark.slow
class TestOnnxInt8TokenClassification(ExporterContract):
    name = "onnx-int8"
    layers = 1  # half of the time to trace a graph
    task = "token-classification"
    allowed = INT8
    near = 0.1


def test_the_facade_exports(finished_run, tmp_path):
    facts = tunesmith.export(finished_run.path, "onnx", output_dir=tmp_path / "onnx")
    assert facts["check"]["agreement"] == 1.0
    assert facts["made"]["inputs"][:2] == ["input_ids", "attention_mask"]
    assert tunesmith.predict(tmp_path / "onnx", "the cat is red")["label"] in ("animal", "colour")


class TestMergedTextSimilarity(ExporterContract):
    name = "merged"
    task = "text-similarity"

    def test_it_is_a_folder_of_sentence_transformers(self, run, facts):
        from sentence_transformers import SentenceTransformer

        texts = [question["text"] for question in self.questions()]
        theirs = SentenceTransformer(facts["path"], device="cpu").encode(texts)
        np.testing.assert_allclose(tunesmith.embed(run.path, texts), theirs, atol=1e-5)


@pytest.mark.slow
class TestOnnxTextSimilarity(ExporterContract):
    name = "onnx"
    layers = 1  # half of the time to trace a graph
    task = "text-similarity"

    def test_it_gives_the_same_vectors(self, run, facts):
        texts = [question["text"] for question in self.questions()]
        ours, theirs = (tunesmith.embed(path, texts) for path in (run.path, facts["path"]))
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
