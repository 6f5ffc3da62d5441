"""Weights and products in bfloat16."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file

from tunesmith.acceleration import operators
from tunesmith.acceleration.bf16 import bf16_is_faster
from tunesmith.testing.export_contract import ExporterContract


class TestBf16(ExporterContract):
    name = "bf16"
    near = 0.03

    def test_every_weight_is_rounded_and_none_else(self, run, facts):
        ours = load_file(run.model / "model.safetensors")
        theirs = load_file(f"{facts['path']}/model.safetensors")
        assert set(ours) == set(theirs)
        for name, weight in ours.items():
            assert torch.equal(theirs[name], weight.to(torch.bfloat16)), name
        assert facts["bytes"] < 0.75 * sum(f.stat().st_size for f in run.model.iterdir())

    def test_products_are_in_bfloat16_where_the_processor_has_them(self, facts, predictors):
        from torch.overrides import TorchFunctionMode

        class Products(TorchFunctionMode):
            def __init__(self):
                super().__init__()
                self.evaluated = set()

            def __torch_function__(self, func, types, args=(), kwargs=None):
                result = func(*args, **(kwargs or {}))
                if func in (torch.addmm, torch.bmm):
                    self.evaluated.add(result.dtype)
                return result

        with Products() as products:
            predictors[1](self.questions())
        expected = torch.bfloat16 if bf16_is_faster("cpu") else torch.float32
        assert products.evaluated == {expected}
        assert facts["made"]["arithmetic"] == str(expected).removeprefix("torch.")

    def test_without_such_products_it_is_told_and_float32_computes(self, run, tmp_path, monkeypatch):
        from tunesmith import export, load
        from tunesmith.testing.listeners import Recorder

        find = operators.find
        asked = {"cpu._is_avx512_bf16_supported", "cpu._is_amx_tile_supported"}
        monkeypatch.setattr(operators, "find", lambda name: (lambda: False) if name in asked else find(name))
        notes = Recorder()
        facts = export(run.path, "bf16", output_dir=tmp_path / "plain", listeners=[notes])
        assert any("not faster on this machine" in text for text in notes.said)
        assert facts["made"]["arithmetic"] == "float32"
        assert not load(facts["path"]).bf16

    def test_plain_transformers_loads_it_in_half_precision(self, facts, predictors):
        from transformers import pipeline

        texts = [question["text"] for question in self.questions()]
        classify = pipeline("text-classification", facts["path"])
        assert classify.model.dtype == torch.bfloat16
        for ours, theirs in zip(predictors[0](texts), classify(texts), strict=True):
            assert theirs["score"] == pytest.approx(ours["score"], abs=0.05)


class TestBf16TokenClassification(ExporterContract):
    name = "bf16"
    task = "token-classification"
    allowed: ClassVar = {"export.min_agreement": 0.9}
    near = 0.05


class TestBf16Text2TextGeneration(ExporterContract):
    name = "bf16"
    task = "text2text-generation"
    family = "bart"
    allowed: ClassVar = {"export.min_agreement": 0.8, "export.max_metric_drop": 0.2}
