import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from tunesmith import load, pipeline
from tunesmith.data.batches import collate
from tunesmith.data.packing import pack
from tunesmith.inference.forward import forward
from tunesmith.recipe import Recipe
from tunesmith.tasks import IGNORED, PLAIN_LOSS, TASKS, EncodeOptions, EvalPredictions, point_scores
from tunesmith.tasks._language import supervised, windows
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model

pytestmark = pytest.mark.usefixtures("lean")

TASK = TASKS.get("text-generation")
TEXTS = [row["text"] for row in tiny_task_rows("text-generation", 40, seed=2)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Positions that turn, and positions that are learned."""
    path = tmp_path_factory.mktemp("models")
    llama = write_tiny_model(path / "llama", family="llama", dropout=0.0)
    tokenizer = AutoTokenizer.from_pretrained(llama)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64, initializer_range=0.2,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(path / "gpt2")
    tokenizer.save_pretrained(path / "gpt2")
    return {"llama": llama, "gpt2": path / "gpt2"}


@pytest.fixture(scope="module")
def tokenizer(folders):
    return AutoTokenizer.from_pretrained(folders["llama"])


def encode(texts, tokenizer, purpose="train", max_length=None, overlap=0):
    return TASK.encode({"text": texts}, tokenizer, EncodeOptions(max_length, purpose, overlap), {})


# ---- packing ----


def loss_and_gradient(model, encoded):
    batch = collate(encoded, pad_token_id=0)
    model.zero_grad()
    loss = TASK.loss(TASK.forward(model, batch), batch, PLAIN_LOSS)
    loss.backward()
    return float(loss), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_packed_texts_have_the_loss_and_gradient_of_the_texts_alone(
    folders, tokenizer, family, attention, mode, monkeypatch
):
    """In float64: no text sees another, no padding is seen, no first token is a target."""
    softmax = torch.nn.functional.softmax
    # Llama's eager attention asks for a float32 softmax, which would hide what is looked for.
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda x, dim, dtype=None: softmax(x, dim))
    model = AutoModelForCausalLM.from_pretrained(folders[family], attn_implementation=attention).double()
    model.train(mode == "train")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    encoded = encode(TEXTS[:24], tokenizer)
    packed = pack(encoded, 64)
    assert len(packed) < len(encoded) / 2
    assert len(set(packed.lengths.tolist())) > 1, "some are padded"
    assert TASK.num_items(packed).sum() == TASK.num_items(encoded).sum()
    alone = [loss_and_gradient(model, encoded.take(np.array([i]))) for i in range(len(encoded))]
    loss, gradient = loss_and_gradient(model, packed)
    assert loss == pytest.approx(sum(one for one, _ in alone), rel=1e-10, abs=1e-8)
    expected = torch.stack([g for _, g in alone]).sum(0)
    assert float((gradient - expected).abs().max()) < 1e-8
    assert float(gradient.abs().max()) > 1e-2


def test_a_batch_of_one_packed_sequence_is_no_exception(folders, tokenizer):
    """transformers takes positions for packed ones only where there is no mask and no cache."""
    model = AutoModelForCausalLM.from_pretrained(folders["llama"]).double().eval()
    encoded = encode(TEXTS[:3], tokenizer)
    packed = pack(encoded, 250)
    assert len(packed) == 1
    alone = sum(loss_and_gradient(model, encoded.take(np.array([i])))[0] for i in range(3))
    assert loss_and_gradient(model, packed)[0] == pytest.approx(alone, rel=1e-10)


@pytest.mark.parametrize("packing", ["auto", False])
def test_a_run_learns_the_same_items_packed_or_not(folders, tmp_path, packing):
    recipe = recipe_for(folders["llama"], tmp_path, max_steps=2).replace(data={"packing": packing})
    run = pipeline.train(recipe)
    metrics = run.metrics
    assert metrics["primary"]["name"] == "bits_per_byte"
    assert math.isfinite(metrics["primary"]["value"])
    assert metrics["train"]["examples"] > 0


# ---- windows ----


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 200), st.integers(2, 60), st.integers(0, 59))
def test_strided_windows_score_every_token_once(n, max_length, overlap):
    """All but the first, which has no past; each with as many tokens before it as windows share."""
    overlap = min(overlap, max_length - 1)
    parts = windows(list(range(n)), list(range(n)), max_length, overlap)
    scored = []
    for ids, labels in parts:
        assert len(ids) == len(labels) <= max_length
        assert all(label in (IGNORED, token) for token, label in zip(ids, labels, strict=True))
        scored += [token for location, token in enumerate(labels) if token != IGNORED and location > 0]
        for location, token in enumerate(labels):
            if token != IGNORED and location > 0:
                assert location >= min(overlap, token)
    # Windows share a token at least: the first of each has no past to be predicted from.
    assert scored == list(range(1, n))


@pytest.mark.parametrize("overlap", [1, 4, 10, 0])
def test_scored_tokens_and_bytes_are_those_of_the_text(tokenizer, overlap):
    texts = [" ".join(TEXTS[:6]), "a", "猫🙂"]
    encoded = encode(texts, tokenizer, "score", 20, overlap)
    n_tokens = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert encoded.sum_by_row(encoded.dense["n_bytes"]).tolist() == [len(text.encode()) for text in texts]
    assert encoded.sum_by_row(supervised(encoded)).tolist() == n_tokens


def test_the_end_of_a_text_is_learned_but_not_scored(tokenizer):
    for purpose, extra in (("train", 1), ("score", 0)):
        encoded = encode(["the cat"], tokenizer, purpose)
        ids, labels = (encoded.ragged[name][0].tolist() for name in ("input_ids", "labels"))
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert labels[-1] == (tokenizer.eos_token_id if extra else IGNORED)
        assert TASK.num_items(encoded)[0] == len(ids) - 2 + extra


# ---- scores ----


def by_hand(folder, text):
    """Nats of a text under plain transformers, token by token, each with all before it."""
    model = AutoModelForCausalLM.from_pretrained(folder).double().eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    nll = 0.0
    with torch.no_grad():
        for location in range(1, len(ids)):
            logits = model(torch.tensor([ids[:location]])).logits[0, -1]
            nll -= float(logits.log_softmax(-1)[ids[location]])
    return nll, len(ids) - 1


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_bits_per_byte_are_those_by_hand(folders, tokenizer, family):
    texts = ["the cat is red 🙂", TEXTS[3]]
    model = AutoModelForCausalLM.from_pretrained(folders[family])
    encoded = encode(texts, tokenizer, "score", 64, 16)
    kept = forward(TASK, model, encoded, pad_token_id=0)
    evaluated = EvalPredictions({"text": texts}, encoded, kept, None, tokenizer)
    nll, tokens = np.array([by_hand(folders[family], text) for text in texts]).T
    n_bytes = sum(len(text.encode()) for text in texts)
    scores = point_scores(TASK, evaluated, {})
    assert scores["bits_per_byte"] == pytest.approx(nll.sum() / math.log(2) / n_bytes, rel=1e-5)
    assert scores["loss"] == pytest.approx(nll.sum() / tokens.sum(), rel=1e-5)
    assert scores["perplexity"] == pytest.approx(math.exp(nll.sum() / tokens.sum()), rel=1e-5)
    for text, one, answer in zip(texts, nll, TASK.decode(evaluated, {}), strict=True):
        assert answer["bits_per_byte"] == pytest.approx(one / math.log(2) / len(text.encode()), abs=1e-4)


def test_without_a_first_token_the_first_one_is_not_counted(folders):
    fresh = AutoTokenizer.from_pretrained(folders["llama"])
    fresh.bos_token = None
    encoded = encode([" cat dog", "🙂"], fresh, "score")
    assert TASK.num_items(encoded)[0] == 1
    assert encoded.dense["n_bytes"].tolist()[0] == len(" dog")
    assert encoded.dense["n_bytes"].tolist()[1] >= 0


# ---- answers ----


def recipe_for(folder, path, **train):
    file = write_rows(path / "rows.jsonl", [{"text": text} for text in TEXTS])
    return Recipe.model_validate({
        "task": "text-generation", "model": str(folder), "output_dir": str(path / "run"),
        "data": {"train": [str(file)], "test": 0.2},
        "train": {"max_steps": 4, "per_device_train_batch_size": 4, "learning_rate": 1e-3, **train},
        "evaluate": {"bootstrap_samples": 100, "samples": 2},
    })  # fmt: skip


@pytest.mark.parametrize("n_tokens", [3, 30, 33, 60, 63, 64, 65, 200])
def test_a_prompt_of_any_length_is_gone_on_with(folders, tmp_path_factory, n_tokens, request):
    run = _gpt2_run(folders, tmp_path_factory)
    predictor = load(run)
    prompt = " cat" * n_tokens
    assert len(predictor.tokenizer(prompt, add_special_tokens=False)["input_ids"]) == n_tokens
    answer = predictor(prompt)
    assert isinstance(answer["generated_text"], str)


_RUNS = {}


def _gpt2_run(folders, tmp_path_factory):
    if "gpt2" not in _RUNS:
        _RUNS["gpt2"] = pipeline.train(recipe_for(folders["gpt2"], tmp_path_factory.mktemp("gpt2"))).path
    return _RUNS["gpt2"]


def test_a_sample_goes_on_from_the_beginning_of_its_text():
    for text in (*TEXTS, "x", "猫は赤い", "one two", " a b"):
        (start,) = TASK.generation.sample_prompts({"text": [text]})["text"]
        assert start
        assert text.startswith(start)
        (rest,) = TASK.gold({"text": [text]}, {})
        assert text.startswith(start + rest)
