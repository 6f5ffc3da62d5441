"""The body is found in the files under whatever name another class has saved it."""

from __future__ import annotations

import torch

from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.models.saving import save_model
from tunesmith.tasks import TASKS
from tunesmith.testing.families import write_family


def test_a_decoder_that_was_saved_to_write_answers_questions_too(tmp_path):
    from transformers import AutoModelForCausalLM, AutoModelForQuestionAnswering

    folder = write_family(tmp_path / "base", "qwen3")
    loaded = load_for_training(
        resolve_model(str(folder)),
        TASKS.get("question-answering"),
        {"longest_answer": 3, "has_unanswerable": False},
        pooling="auto",
        seed=0,
    )
    table = AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight
    assert torch.equal(loaded.model.get_input_embeddings().weight, table)
    save_model(loaded.model, loaded.tokenizer, tmp_path / "saved", max_length=16)
    again, info = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not info["missing_keys"]
    assert torch.equal(again.get_input_embeddings().weight, table)
