from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunesmith import pipeline
from tunesmith.data.batches import collate
from tunesmith.inference.forward import forward
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.tasks import (
    IGNORED,
    TASKS,
    EncodeOptions,
    EvalPredictions,
    LossOptions,
    RowError,
    point_scores,
    prepare_tokenizer,
)
from tunesmith.testing.listeners import at_step, raising
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model
from tunesmith.training.reference import load_reference, with_reference

pytestmark = pytest.mark.usefixtures("lean")

TASK = TASKS.get("preference")
ROWS = tiny_task_rows("preference", 60, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "llama", family="llama", dropout=0.0)


@pytest.fixture(scope="module")
def tokenizer(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prepare_tokenizer(TASK, tokenizer, {}, chat_template="auto")
    return tokenizer


def encode(rows, tokenizer, purpose="train", max_length=None):
    read = [TASK.read(row) for row in rows]
    batch = {name: [row[name] for row in read] for name in read[0]}
    return batch, TASK.encode(batch, tokenizer, EncodeOptions(max_length, purpose), {})


def likelihood(model, ids, labels):
    """Of the labelled tokens of one conversation, each given those before it; a scalar."""
    logits = model(torch.tensor(ids).long()[None]).logits[0]
    places = [i for i, label in enumerate(labels.tolist()) if label != IGNORED]
    return sum(logits[i - 1].log_softmax(-1)[int(labels[i])] for i in places)


@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_the_loss_is_dpo_written_by_hand(folder, tokenizer, beta):
    """Rafailov et al. 2023, equation 7, in float64, each reply in a pass of its own; and its gradient."""
    model = AutoModelForCausalLM.from_pretrained(folder).double().eval()
    before = AutoModelForCausalLM.from_pretrained(folder).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    _, encoded = encode(ROWS[:8], tokenizer)
    expected, reference = 0.0, []
    for row in range(8):
        pairs = [
            (encoded.ragged[f"{p}input_ids"][row], encoded.ragged[f"{p}labels"][row])
            for p in ("", "rejected_")
        ]
        with torch.no_grad():
            reference.append([float(likelihood(before, *pair)) for pair in pairs])
        chosen, rejected = (likelihood(model, *pair) for pair in pairs)
        margin = (chosen - reference[-1][0]) - (rejected - reference[-1][1])
        expected = expected - torch.log(torch.sigmoid(beta * margin))
    expected.backward()
    by_hand = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.zero_grad()
    batch = collate(with_reference(encoded, np.array(reference)), pad_token_id=tokenizer.pad_token_id)
    loss = TASK.loss(TASK.forward(model, batch), batch, LossOptions(dpo_beta=beta))
    loss.backward()
    ours = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert float(loss) == pytest.approx(float(expected), rel=1e-8)
    assert float((ours - by_hand).abs().max()) < 1e-8 * float(by_hand.abs().max()) + 1e-12


def test_only_the_replies_count(folder, tokenizer):
    batch, encoded = encode(ROWS[:5], tokenizer)
    for row in range(5):
        for prefix, name in (("", "chosen"), ("rejected_", "rejected")):
            labels = encoded.ragged[f"{prefix}labels"][row]
            said = tokenizer.decode(labels[labels != IGNORED])
            assert said == ROWS[row][name] + tokenizer.eos_token
    assert TASK.num_items(encoded).tolist() == [1] * 5
    assert TASK.gold(batch, {}) == [{"chosen": r["chosen"], "rejected": r["rejected"]} for r in ROWS[:5]]


def test_an_earlier_reply_in_the_prompt_does_not_count(tokenizer):
    talk = [{"role": "user", "content": "is it"}, {"role": "assistant", "content": "yes"},
            {"role": "user", "content": "the cat"}]  # fmt: skip
    row = {"prompt": talk, "chosen": "it is here", "rejected": "no"}
    _, encoded = encode([row], tokenizer)
    labels = encoded.ragged["labels"][0]
    assert tokenizer.decode(labels[labels != IGNORED]) == "it is here</s>"


def test_both_begin_with_the_same_prompt(tokenizer):
    _, encoded = encode(ROWS, tokenizer)
    _, asked = encode(ROWS, tokenizer, "predict")
    for row in range(len(ROWS)):
        prompt = asked.ragged["input_ids"][row]
        for prefix in ("", "rejected_"):
            ids, labels = (encoded.ragged[f"{prefix}{name}"][row] for name in ("input_ids", "labels"))
            assert ids[: len(prompt)].tolist() == prompt.tolist()
            assert (labels[: len(prompt)] == IGNORED).all()
            assert labels[len(prompt)] != IGNORED


@pytest.mark.parametrize("max_length", [16, 24, 40])
def test_a_long_prompt_is_cut_and_the_reply_is_kept(tokenizer, max_length):
    long = {"prompt": "the old cat is near the dog " * 20, "chosen": "the cat", "rejected": "not goat"}
    _, encoded = encode([long, ROWS[0]], tokenizer, "train", max_length)
    for prefix, name in (("", "chosen"), ("rejected_", "rejected")):
        ids, labels = (encoded.ragged[f"{prefix}{field}"][0] for field in ("input_ids", "labels"))
        assert len(ids) <= max_length
        if max_length > 16:
            assert tokenizer.decode(labels[labels != IGNORED]) == long[name] + tokenizer.eos_token
        assert (labels[labels != IGNORED] == ids[labels != IGNORED]).all()
    assert TASK.num_items(encoded).tolist() == [1, 1]


def test_a_long_prompt_loses_its_oldest_turns_and_neither_its_beginning_nor_the_system_turn(tokenizer):
    system = {"role": "system", "content": "the goat is red"}
    said = [{"role": ("user", "assistant")[i % 2], "content": f"the cat {i} is near"} for i in range(7)]
    short = {"prompt": [system, *said[4:]], "chosen": "the cat", "rejected": "not goat"}
    _, whole = encode([short], tokenizer)
    longest = int(max(whole.ragged[f"{prefix}input_ids"].lengths[0] for prefix in ("", "rejected_")))
    _, found = encode([{**short, "prompt": [system, *said]}], tokenizer, "train", longest + 1)
    for name in whole.ragged:
        assert found.ragged[name][0].tolist() == whole.ragged[name][0].tolist()
    _, asked = encode([{**short, "prompt": [system, *said]}], tokenizer, "predict", 2 * longest)
    assert system["content"] in tokenizer.decode(asked.ragged["input_ids"][0])


def test_a_reply_too_long_loses_its_end_and_the_prompt_half(tokenizer):
    long = {"prompt": "the old cat " * 20, "chosen": "the dog " * 40, "rejected": "not"}
    _, encoded = encode([long], tokenizer, "train", 40)
    labels = encoded.ragged["labels"][0]
    counted = labels[labels != IGNORED]
    assert len(labels) == 40
    assert len(counted) == 20
    assert tokenizer.eos_token_id not in counted


def test_an_untouched_model_has_a_reward_accuracy_of_one_half(folder, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    batch, encoded = encode(ROWS, tokenizer)
    kept = forward(TASK, model, encoded, pad_token_id=tokenizer.pad_token_id)
    again = forward(TASK, model, encoded, pad_token_id=tokenizer.pad_token_id)
    evaluated = EvalPredictions(batch, with_reference(encoded, kept), again, None, tokenizer)
    untouched = {"reward_accuracy": 0.5, "reward_margin": 0.0, "loss": np.log(2)}
    assert point_scores(TASK, evaluated, {}) == pytest.approx(untouched)
    assert TASK.validation_scores(evaluated, {})["loss"] == pytest.approx(np.log(2))
    loss_of = collate(evaluated.encoded, pad_token_id=0)
    with torch.no_grad():
        loss = TASK.loss(torch.from_numpy(kept), loss_of, LossOptions())
    assert float(loss) == pytest.approx(len(ROWS) * np.log(2), rel=1e-6)


def test_rewards_are_gains_over_the_reference(tokenizer):
    batch, encoded = encode(ROWS[:3], tokenizer)
    reference = np.array([[-5.0, -5.0], [-1.0, -2.0], [-3.0, -3.0]])
    kept = np.array([[-4.0, -6.0], [-2.0, -1.0], [-3.0, -3.0]])
    evaluated = EvalPredictions(batch, with_reference(encoded, reference), kept, None, tokenizer)
    answers = TASK.decode(evaluated, {})
    assert [(a["chosen_gain"], a["rejected_gain"]) for a in answers] == [(1.0, -1.0), (-1.0, 1.0), (0.0, 0.0)]
    assert [TASK.is_correct(a, None) for a in answers] == [True, False, False]
    scores = point_scores(TASK, evaluated, {})
    assert (scores["reward_accuracy"], scores["reward_margin"]) == (0.5, 0.0)
    without = replace(evaluated, encoded=encoded)
    assert point_scores(TASK, without, {})["reward_accuracy"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "are the same"),
        ({"prompt": "", "chosen": "b", "rejected": "c"}, "empty"),
        ({"prompt": "a", "chosen": "", "rejected": "c"}, "empty"),
    ],
)
def test_pairs_that_teach_nothing_are_refused(row, reason):
    with pytest.raises(RowError, match=reason):
        TASK.read(row)


@pytest.mark.parametrize("text", ["[CLS] the cat", "[1] see below", "[citation needed]"])
def test_a_text_that_begins_with_a_bracket_is_a_text(text):
    assert TASK.read({"prompt": text, "chosen": "a", "rejected": text})["prompt"][0]["content"] == text


# ---- the run ----


def recipe_for(folder, path, name):
    file = write_rows(path / "rows.jsonl", ROWS)
    return Recipe.model_validate({
        "task": "preference", "model": str(folder), "output_dir": str(path / name),
        "data": {"train": [str(file)], "validation": 0.2, "test": 0.2},
        "train": {"max_steps": 12, "per_device_train_batch_size": 8, "learning_rate": 2e-3, "eval_steps": 3},
        "generate": {"max_new_tokens": 4},
        "evaluate": {"bootstrap_samples": 100, "samples": 1},
    })  # fmt: skip


class StopError(Exception):
    pass


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_reference_is_computed_again(folder, tmp_path_factory, tmp_path, damage):
    """The run goes on to the same bits, and the file is as it was."""
    calm = _calm_run(folder, tmp_path_factory)
    recipe = recipe_for(folder, tmp_path, "hurt")
    with pytest.raises(StopError):
        pipeline.train(recipe, listeners=[at_step(8, raising(StopError))])
    file = tmp_path / "hurt" / "checkpoints" / "reference-train.safetensors"
    before = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(before[:-9] + bytes([before[-9] ^ 4]) + before[-8:])
    elif damage == "cut":
        file.write_bytes(before[:-20])
    else:
        file.unlink()
    assert load_reference(file, Run(tmp_path / "hurt").run_id) is None
    run = pipeline.train(recipe)
    assert file.read_bytes() == before
    assert (run.model / "model.safetensors").read_bytes() == (calm.model / "model.safetensors").read_bytes()
    assert run.metrics["splits"] == calm.metrics["splits"]


_RUNS = {}


def _calm_run(folder, tmp_path_factory):
    if not _RUNS:
        _RUNS["calm"] = pipeline.train(recipe_for(folder, tmp_path_factory.mktemp("calm"), "calm"))
    return _RUNS["calm"]


def test_it_learns_what_was_preferred(folder, tmp_path_factory):
    metrics = _calm_run(folder, tmp_path_factory).metrics
    assert metrics["primary"]["name"] == "reward_accuracy"
    assert metrics["primary"]["value"] > 0.8
    assert metrics["splits"]["test"]["reward_margin"]["value"] > 0


CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]


def calling(city):
    return {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "weather", "arguments": {"city": city}}}],
    }


def called(city):
    return [
        calling(city),
        {"role": "tool", "content": "rain"},
        {"role": "assistant", "content": f"rain {city}"},
    ]


def counted(encoded, tokenizer, prefix=""):
    labels = encoded.ragged[f"{prefix}labels"][0]
    return tokenizer.decode(labels[labels != IGNORED])


def test_calls_and_tools_are_those_of_chat(tokenizer):
    """The ids are those that the task `chat` gives for the whole conversation with the same tools."""
    asked = [{"role": "user", "content": "the weather"}]
    row = {"prompt": asked, "chosen": called("a"), "rejected": called("b"), "tools": TOOLS}
    batch, encoded = encode([row], tokenizer)
    assert batch["tools"] == [TOOLS]
    for prefix, city in (("", "a"), ("rejected_", "b")):
        chat = TASKS.get("chat")
        whole = chat.read({"messages": [*asked, *called(city)], "tools": TOOLS})
        expected = chat.encode(
            {name: [value] for name, value in whole.items()}, tokenizer, EncodeOptions(None), {}
        )
        for name in ("input_ids", "labels"):
            assert encoded.ragged[prefix + name][0].tolist() == expected.ragged[name][0].tolist()
    _, prompt = encode([row], tokenizer, "predict")
    n = len(prompt.ragged["input_ids"][0])
    assert prompt.ragged["input_ids"][0].tolist() == encoded.ragged["input_ids"][0][:n].tolist()
    assert '"weather"' in tokenizer.decode(prompt.ragged["input_ids"][0])


def test_a_marked_turn_of_a_reply_does_not_count(tokenizer):
    asked = [{"role": "user", "content": "the weather"}]
    marked = [{**turn, "train": False} if "tool_calls" in turn else turn for turn in called("a")]
    _, encoded = encode([{"prompt": asked, "chosen": marked, "rejected": called("b")}], tokenizer)
    assert counted(encoded, tokenizer) == "rain a" + tokenizer.eos_token
    assert "<tool_call>" in counted(encoded, tokenizer, "rejected_")
    silent = [{**turn, "weight": 0} if turn["role"] == "assistant" else turn for turn in called("a")]
    _, none = encode([{"prompt": asked, "chosen": silent, "rejected": called("b")}], tokenizer)
    assert TASK.num_items(none).tolist() == [0]


def test_turns_that_a_prompt_loses_are_counted(tokenizer):
    said = [{"role": ("user", "assistant")[i % 2], "content": f"the cat {i} is near"} for i in range(7)]
    short = {"prompt": said[4:], "chosen": "the cat", "rejected": "not goat"}
    _, whole = encode([short], tokenizer)
    longest = int(max(whole.ragged[f"{prefix}input_ids"].lengths[0] for prefix in ("", "rejected_")))
    _, cut = encode([{**short, "prompt": said}, short], tokenizer, "train", longest)
    assert cut.lost == {"turns": (4, 10)}
    assert whole.lost == {}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "chosen": "b", "rejected": "c", "tools": TOOLS},
        {"instruction": "a", "input": "", "chosen": "b", "rejected": "c", "tools": TOOLS},
        {"conversations": [{"from": "human", "value": "a"}], "chosen": "b", "rejected": "c", "tools": TOOLS},
        {
            "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}],
            "tools": TOOLS,
        },
    ],
    ids=["prompt", "alpaca", "sharegpt", "whole"],
)
def test_every_format_of_pairs_keeps_its_tools(row):
    found = TASK.layouts.recognise(list(row), [row])
    assert "tools" in found.columns
    read = TASK.read(found.convert(row))
    assert read["tools"] == TOOLS
    assert read["prompt"][0]["content"] == "a"
