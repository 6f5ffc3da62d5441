"""Whether a text would be written, without writing it: compared with `generate` of plain transformers."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from tunesmith.encoded import Encoded
from tunesmith.inference.greedy import greedy, nats_and_misses
from tunesmith.tasks import IGNORED, TASKS
from tunesmith.testing.tiny import write_tiny_model


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = write_tiny_model(tmp_path_factory.mktemp("greedy") / "llama", family="llama")
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def test_what_greedy_decoding_writes_has_no_misses_and_nothing_else(llama):
    model, tokenizer = llama
    prompt = tokenizer("the red cat", return_tensors="pt", add_special_tokens=False)["input_ids"]
    written = model.generate(prompt, max_new_tokens=6, min_new_tokens=6, do_sample=False)[0].tolist()
    n = prompt.shape[1]
    other = [*written[:-2], (written[-2] + 1) % len(tokenizer), written[-1]]
    labels = [[IGNORED] * n + ids[n:] for ids in (written, other)]
    # Beside sequences of another length, and with labels on all of them.
    encoded = Encoded.of(
        {"input_ids": [written, other, written[: n + 1]], "labels": [*labels, written[: n + 1]]}
    )
    found = nats_and_misses(TASKS.get("text-generation"), model, tokenizer, encoded)
    assert found[0, 1] == 0
    assert found[1, 1] >= 1
    with torch.no_grad():
        logits = model(torch.tensor([written])).logits[0].double().log_softmax(-1)
    expected = -sum(logits[at - 1, written[at]].item() for at in range(n, len(written)))
    assert found[0, 0] == pytest.approx(expected, rel=1e-4)


def test_the_target_of_a_model_with_an_encoder(tmp_path):
    folder = write_tiny_model(tmp_path / "bart", family="bart")
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    source = tokenizer("the red cat")["input_ids"]
    written: list[int] = []
    for _ in range(5):
        start = torch.tensor([[model.config.decoder_start_token_id, *written]])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([source]), decoder_input_ids=start).logits[0, -1]
        written.append(int(logits.argmax()))
    other = [*written[:-1], (written[-1] + 1) % len(tokenizer)]
    encoded = Encoded.of({"input_ids": [source, source], "decoder_labels": [written, other]})
    found = nats_and_misses(TASKS.get("summarization"), model, tokenizer, encoded)
    assert found[:, 1].tolist() == [0, 1]
    assert np.isfinite(found).all()


def test_settings_of_the_model_are_as_before_afterwards(llama):
    model, _ = llama
    before = model.generation_config
    with greedy(model, 3):
        assert model.generation_config.max_new_tokens == 3
        assert not model.generation_config.do_sample
    assert model.generation_config is before
