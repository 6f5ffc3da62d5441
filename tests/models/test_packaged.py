"""The embedded decoder is the model that its file says it is."""

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunesmith.models.base_card import read_base_card
from tunesmith.models.packaged import PACKAGED
from tunesmith.models.resolve import ModelFiles

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture(scope="module")
def tokenizer(smollm):
    return AutoTokenizer.from_pretrained(smollm)


@pytest.fixture(scope="module")
def said():
    """The metadata of the file, read by the package `gguf`."""
    from gguf import GGUFReader

    packaged = PACKAGED[NAME]
    folder = Path(next(iter(importlib.util.find_spec(packaged.module).submodule_search_locations)))
    fields = GGUFReader(folder / packaged.weights).fields
    return {
        name: fields[name].contents()
        for name in fields
        if name.startswith(("tokenizer.", "llama.", "general."))
    }


def test_config_and_licence_are_those_of_the_file(smollm, said):
    model = AutoModelForCausalLM.from_pretrained(smollm)
    assert model.num_parameters() == 134_515_008
    assert model.config.max_position_embeddings == said["llama.context_length"] == 8192
    assert model.config.tie_word_embeddings
    assert read_base_card(ModelFiles(NAME, smollm, "")) == {"license": "apache-2.0", "language": ["en"]}


def test_tokens_are_those_of_the_file(tokenizer, said):
    tokens = said["tokenizer.ggml.tokens"]
    assert tokenizer.convert_ids_to_tokens(list(range(len(tokens)))) == tokens
    assert len(tokenizer) == len(tokens) == 49_152
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        assert getattr(tokenizer, f"{name}_token_id") == said[f"tokenizer.ggml.{key}_token_id"]
    control = [i for i, kind in enumerate(said["tokenizer.ggml.token_type"]) if kind == 3]
    special = [i for i, token in tokenizer.added_tokens_decoder.items() if token.special]
    assert special == control


def test_texts_are_split_as_in_the_pretraining(tokenizer):
    """Each digit is a token, and line breaks before one stay together."""
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("Two:\n\n1. It's 2,048  7")["input_ids"])
    assert pieces == ["Two", ":", "ĊĊ", "1", ".", "ĠIt", "'s", "Ġ", "2", ",", "0", "4", "8", "ĠĠ", "7"]


def test_the_chat_template_is_that_of_the_file(tokenizer, said):
    assert tokenizer.chat_template == said["tokenizer.chat_template"]
    asked = [{"role": "user", "content": "Hello"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    assert text.startswith("<|im_start|>system\n")


def test_it_answers_a_question_and_ends(smollm, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(smollm, dtype=torch.float32)
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    written = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(written, skip_special_tokens=True)
    assert written[-1] == tokenizer.eos_token_id
