"""Texts that are written together are those that are written alone, however they come and go."""

from __future__ import annotations

import pytest
import torch

from tunesmith.encoded import Encoded
from tunesmith.inference.continuous import Continuous, Text, texts_at_once, write
from tunesmith.inference.generation import generate
from tunesmith.inference.sampling import Choice, follows, next_token
from tunesmith.testing.tiny import write_tiny_model

PROMPTS = [[1, 5, 9, 30], [1, 7], [1, *range(20, 60)], [1, 33, 34, 35, 36, 37, 38], [1, 80, 3], [1, 4, 4, 4]]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = write_tiny_model(tmp_path_factory.mktemp("decoder") / "llama", family="llama")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    model.generation_config.max_new_tokens = 24
    return model, AutoTokenizer.from_pretrained(folder)


def alone(model, tokenizer, prompt):
    """What transformers writes for one prompt."""
    ids = torch.tensor([prompt])
    found = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0)
    written = found[0, len(prompt) :].tolist()
    return written[: written.index(2)] if 2 in written else written


@pytest.mark.parametrize("most", [1, 2, 3, 64])
def test_greedy_texts_are_those_of_transformers(decoder, most):
    model, tokenizer = decoder
    continuous = Continuous(model, tokenizer)
    assert continuous._most_texts > 1
    continuous._most_texts = most
    lengths = [24, 3, 24, 9, 1, 24]
    texts = [Text(p, n, owner=i) for i, (p, n) in enumerate(zip(PROMPTS, lengths, strict=True))]
    done = list(write(continuous, texts))
    assert sorted(text.owner for text in done) == list(range(6))
    for text, prompt, most_tokens in zip(texts, PROMPTS, lengths, strict=True):
        expected = alone(model, tokenizer, prompt)
        assert text.written == expected[:most_tokens]
        assert text.ended == (len(expected) < 24 and len(expected) < most_tokens)
    assert continuous.texts == []
    assert continuous._cache is None


def test_a_text_that_is_cancelled_changes_no_other(decoder):
    model, tokenizer = decoder
    continuous = Continuous(model, tokenizer)
    texts = [Text(prompt, 24) for prompt in PROMPTS]
    continuous.start(texts)
    for step in range(30):
        if step == 3:
            texts[2].is_over = True  # the longest prompt: the padding of the others goes with it
            continuous.drop()
        if not continuous.texts:
            break
        continuous.step()
    for i in (0, 1, 3, 4, 5):
        assert texts[i].written == alone(model, tokenizer, PROMPTS[i])


def test_draws_depend_on_the_seed_and_not_on_the_others(decoder):
    model, tokenizer = decoder
    choice = Choice(temperature=1.5, top_p=0.9, top_k=40, seed=5)

    def drawn(others):
        text = Text(PROMPTS[0], 12, choice)
        more = [Text(prompt, 12, Choice(temperature=1.0, seed=i)) for i, prompt in enumerate(others)]
        list(write(Continuous(model, tokenizer), [*more, text]))
        return text.written

    assert drawn([]) == drawn(PROMPTS[1:]) == drawn(PROMPTS[2:4])


def test_a_penalty_is_that_of_transformers(decoder):
    model, tokenizer = decoder
    model.generation_config.repetition_penalty = 1.4
    try:
        assert follows(model.generation_config)
        choice = Choice.of_model(model.generation_config)
        texts = [Text(prompt, 24, choice) for prompt in PROMPTS[:3]]
        list(write(Continuous(model, tokenizer), texts))
        prompts = Encoded.of({"input_ids": PROMPTS[:3]})
        expected = generate(model, tokenizer, prompts).texts
        found = [tokenizer.decode(text.written, skip_special_tokens=True) for text in texts]
        assert found == expected
    finally:
        model.generation_config.repetition_penalty = 1.0


def test_beams_are_not_followed(decoder):
    model, _ = decoder
    model.generation_config.num_beams = 2
    try:
        assert not follows(model.generation_config)
    finally:
        model.generation_config.num_beams = 1


def test_draws_have_the_probabilities_of_the_scores():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    generator = torch.Generator().manual_seed(0)
    before = torch.tensor([[0]])

    def shares(choice, n=4000):
        drawn = [next_token(logits, before, choice, generator) for _ in range(n)]
        return [drawn.count(token) / n for token in range(4)]

    assert shares(Choice(temperature=1.0)) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert shares(Choice(temperature=1.0, top_k=2)) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    assert shares(Choice(temperature=1.0, top_p=0.7), 500)[2:] == [0, 0]
    assert shares(Choice(), 10) == [1, 0, 0, 0]


def test_the_room_is_counted(decoder):
    model, tokenizer = decoder
    continuous = Continuous(model, tokenizer)
    continuous._most_tokens = 100
    assert continuous.has_room_for(Text([1] * 500, 10))  # alone, it always has
    assert continuous.has_room_for(Text([1] * 20, 10), [Text([1] * 30, 20)])
    assert not continuous.has_room_for(Text([1] * 20, 10), [Text([1] * 31, 20)])


@pytest.mark.parametrize(
    ("family", "at_once"), [("gpt2", 64), ("gpt_neox", 64), ("bloom", 64), ("gemma2", 1), ("mamba2", 0)]
)
def test_families_are_tried(tmp_path, family, at_once):
    """Tables of positions, rotated ones, none; windows, one text at a time; and states that are no cache."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tunesmith.testing.families import write_family

    write_family(tmp_path / family, family, auto_class="AutoModelForCausalLM")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / family, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / family)
    tokenizer.pad_token_id = 0
    assert texts_at_once(model, tokenizer) == at_once
    if not at_once:
        return
    model.generation_config.max_new_tokens, model.generation_config.eos_token_id = 8, 2
    texts = [Text(prompt, 8) for prompt in ([11, 12, 13], [20], [31, 32, 33, 34, 35, 36, 37])]
    list(write(Continuous(model, tokenizer, most_texts=min(at_once, 2)), texts))
    assert [text.written for text in texts] == [alone(model, tokenizer, text.prompt) for text in texts]
