from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tunesmith.encoded import Ragged
from tunesmith.metrics import squad
from tunesmith.tasks import TASKS, EncodeOptions, EvalPredictions, RowError, point_scores
from tunesmith.tasks._passages import NO_TOKEN_BORDER
from tunesmith.testing.tiny import write_tiny_model

TASK = TASKS.get("question-answering")
TARGETS = {"has_unanswerable": True, "longest_answer": 60, "threshold": 0.0}


@pytest.fixture(scope="module", params=["bert", "llama", "bart"])
def tokenizer(request, tmp_path_factory):
    return AutoTokenizer.from_pretrained(write_tiny_model(tmp_path_factory.mktemp("m"), family=request.param))


def row_of(words, answer=None, question="a cat is here"):
    """The answer is given as its first word and the word after its last."""
    context = " ".join(words)
    starts = [0, *np.cumsum([len(word) + 1 for word in words]).tolist()]
    answers = []
    if answer is not None:
        text = " ".join(words[slice(*answer)])
        answers = [{"text": text, "start": starts[answer[0]]}]
    return TASK.read({"question": question, "context": context, "answers": answers})


def batch_of(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def encode(rows, tokenizer, max_length=None, overlap=0, purpose="train"):
    batch = batch_of(rows)
    return batch, TASK.encode(batch, tokenizer, EncodeOptions(max_length, purpose, overlap), TARGETS)


def words_of(n, seed=0):
    return np.random.default_rng(seed).choice(["the", "cat", "red", "🙂", "猫", "old"], size=n).tolist()


def as_if_certain(encoded):
    """What a model keeps that has learned the labels; where there is no answer it says so, less sure."""
    offsets = encoded.ragged["input_ids"].offsets
    logits = np.zeros((offsets[-1], 2), dtype=np.float32)
    for sequence, (first, last) in enumerate(encoded.dense["labels"].tolist()):
        sure = 9.0 if last else 5.0
        logits[offsets[sequence] + first, 0] = logits[offsets[sequence] + last, 1] = sure
    return Ragged(logits, offsets)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 56), st.integers(1, 4), st.integers(0, 99))
def test_an_answer_survives_windows(tokenizer, first, length, seed):
    """Wherever it stands; no label points anywhere else; decoding gives its characters back."""
    row = row_of(words_of(60, seed), (first, first + length))
    batch, encoded = encode([row], tokenizer, 48, 24)
    assert len(encoded) > 1
    assert encoded.lost == {"answers": (0, 1), NO_TOKEN_BORDER: (0, 1)}
    wanted = row["answers"][0]
    labels = encoded.dense["labels"]
    assert labels[:, 1].max() > 0
    for sequence, (a, b) in enumerate(labels.tolist()):
        starts, ends = (encoded.ragged[name][sequence] for name in ("start_of_token", "end_of_token"))
        if (a, b) == (0, 0):
            inside = np.flatnonzero(starts > 0)
            begins_before = starts[inside[0]] - 1 <= wanted["start"]
            ends_behind = ends[inside[-1]] - 1 >= wanted["start"] + len(wanted["text"])
            assert not (begins_before and ends_behind)
        else:
            found = row["context"][starts[a] - 1 : ends[b] - 1]
            assert found.strip() == wanted["text"]
    (answer,) = TASK.decode(EvalPredictions(batch, encoded, as_if_certain(encoded)), TARGETS)
    assert answer["answer"].strip() == wanted["text"]
    assert row["context"][answer["start"] : answer["end"]] == answer["answer"]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 90), st.integers(30, 64), st.integers(0, 99))
def test_windows_cover_the_context(tokenizer, n, max_length, seed):
    row = row_of(words_of(n, seed))
    _, encoded = encode([row], tokenizer, max_length, max_length // 4)
    assert encoded.ragged["input_ids"].lengths.max() <= max_length
    covered = np.zeros(len(row["context"]), dtype=bool)
    for starts, ends in zip(encoded.ragged["start_of_token"].values, encoded.ragged["end_of_token"].values,
                            strict=True):  # fmt: skip
        if starts:
            covered[starts - 1 : ends - 1] = True
    assert all(covered[i] for i, character in enumerate(row["context"]) if not character.isspace())
    assert TASK.num_items(encoded).tolist() == [1] * len(encoded)


def test_an_answer_longer_than_what_windows_share_is_counted_as_lost(tokenizer):
    rows = [row_of(words_of(60), (20, 59)), row_of(words_of(60), (0, 1)), row_of(words_of(60))]
    _, encoded = encode(rows, tokenizer, 40, 8)
    assert encoded.lost == {"answers": (1, 2), NO_TOKEN_BORDER: (0, 2)}
    assert (encoded.dense["labels"][encoded.rows == 0] == 0).all()


@pytest.mark.parametrize(
    "question",
    [
        "is the cat here and " * 20,
        "🙂" * 23,  # fewer characters than half the window, and with a tokenizer of bytes 92 tokens
        "猫" * 23,
        "q" * 500,
    ],
    ids=["long", "emoji", "chinese", "one long word"],
)
def test_a_question_longer_than_half_the_window_leaves_room(tokenizer, question):
    rows = [row_of(words_of(40), (30, 31), question=question), row_of(words_of(5), (0, 1))]
    _, encoded = encode(rows, tokenizer, 48, 12)
    assert encoded.ragged["input_ids"].lengths.max() <= 48
    assert encoded.lost["answers"] == (0, 2)
    is_cut = len(tokenizer(question, add_special_tokens=False)["input_ids"]) > 24
    assert encoded.lost.get("questions (cut)", (0, 2)) == (int(is_cut), 2)
    for sequence in range(len(encoded)):
        assert (encoded.ragged["start_of_token"][sequence] > 0).any()


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"text": ["cat"], "answer_start": [3]}, "`cat` is not at character 3 .*there: ` ca`"),
        ({"text": ["cat"], "answer_start": [-3]}, "is not at character -3"),
        ({"text": ["cat"], "answer_start": [400]}, "is not at character 400"),
        ({"text": ["cat"], "answer_start": []}, "1 texts and 0 starts"),
        ({"text": ["cat"], "answer_start": ["4"]}, "must have `text` and `answer_start`"),
        ([{"text": "cat"}], "must have `text` and `answer_start`"),
        ([{"text": " ", "start": 3}], "only white space"),
        ("cat", "must hold `text`"),
    ],
)
def test_a_wrong_answer_is_a_row_error(answers, reason):
    with pytest.raises(RowError, match=reason):
        TASK.read({"question": "which", "context": "the cat is here", "answers": answers})


def test_answers_may_be_spelt_in_the_usual_ways():
    wanted = [{"text": "cat", "start": 4}]
    for answers in (
        {"text": ["cat"], "answer_start": [4]},
        [{"text": "cat", "answer_start": 4}],
        {"text": "cat", "start": 4},
        {"text": [" cat "], "answer_start": [3]},
    ):
        assert TASK.read({"question": "q", "context": "the cat is", "answers": answers})["answers"] == wanted
    for nothing in (None, [], {"text": [], "answer_start": []}, [{"text": "", "answer_start": 0}]):
        assert TASK.read({"question": "q", "context": "the cat is", "answers": nothing})["answers"] == []


# ---- answers from scores ----


def seen_at_random(tokenizer, seed, n=30):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        words = words_of(int(rng.integers(3, 60)), seed * 100 + i)
        first = int(rng.integers(len(words)))
        rows.append(row_of(words, (first, first + 1) if rng.random() < 0.6 else None))
    batch, encoded = encode(rows, tokenizer, 40, 12)
    logits = as_if_certain(encoded)
    noise = rng.normal(0, 3, logits.values.shape).astype(np.float32)
    return EvalPredictions(batch, encoded, Ragged(logits.values + noise, logits.offsets))


@pytest.mark.parametrize("seed", range(6))
def test_no_threshold_gives_a_better_f1_than_the_one_fitted(tokenizer, seed):
    evaluated = seen_at_random(tokenizer, seed)
    fitted = TASK.thresholds.fit(evaluated, TARGETS)

    def f1(threshold):
        return point_scores(TASK, evaluated, {**TARGETS, "threshold": threshold})["f1"]

    always = [row["top"][0] for row in TASK.decode(evaluated, TARGETS)]
    assert len(always) == 30
    tried = [f1(threshold) for threshold in np.linspace(-40, 40, 400)]
    assert f1(fitted["threshold"]) >= max(tried) - 1e-12
    assert 0 < f1(fitted["threshold"]) <= 1


def test_without_unanswerable_questions_there_is_always_an_answer(tokenizer):
    evaluated = seen_at_random(tokenizer, 3)
    label_schema = {"has_unanswerable": False, "longest_answer": 60}
    assert TASK.thresholds.fit(evaluated, label_schema) == label_schema
    assert all(answer["answer"] for answer in TASK.decode(evaluated, label_schema))
    assert "tunesmith_no_answer_threshold" not in TASK.config(label_schema)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_answers_do_not_overlap_and_are_in_order(tokenizer, seed):
    evaluated = seen_at_random(tokenizer, seed)
    for row, answer in enumerate(TASK.decode(evaluated, TARGETS)):
        context, top = evaluated.columns["context"][row], answer["top"]
        assert 1 <= len(top) <= 5
        assert all(context[a["start"] : a["end"]] == a["answer"] for a in top)
        spans = sorted((a["start"], a["end"]) for a in top)
        assert all(one[1] <= other[0] for one, other in pairwise(spans))
        scores = [a["score"] for a in top]
        assert scores == sorted(scores, reverse=True)
        assert 0 <= sum(scores) <= 1 + 1e-6
        assert all(a["end"] - a["start"] <= TARGETS["longest_answer"] for a in top)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_answer_is_that_of_trying_every_span(tokenizer, seed):
    """Among the twenty best first and last tokens the best span is always found, for these lengths."""
    evaluated = seen_at_random(tokenizer, seed)
    for row, answer in enumerate(TASK.decode(evaluated, TARGETS)):
        best = -np.inf, None
        for sequence in np.flatnonzero(evaluated.encoded.rows == row):
            logits = evaluated.outputs[sequence]
            starts, ends = (evaluated.encoded.ragged[n][sequence] for n in ("start_of_token", "end_of_token"))
            inside = np.flatnonzero(starts > 0)
            for i in inside:
                for j in inside[inside >= i]:
                    if ends[j] - starts[i] <= TARGETS["longest_answer"]:
                        best = max(best, (logits[i, 0] + logits[j, 1], (starts[i] - 1, ends[j] - 1)))
        top = answer["top"][0]
        assert (top["start"], top["end"]) == best[1]


def test_scores_are_those_of_squad(tokenizer):
    evaluated = seen_at_random(tokenizer, 1)
    answers = [answer["answer"] for answer in TASK.decode(evaluated, TARGETS)]
    golds = TASK.gold(evaluated.columns, TARGETS)
    scores = point_scores(TASK, evaluated, TARGETS)
    assert scores["f1"] == pytest.approx(
        np.mean([squad.f1(a, g) for a, g in zip(answers, golds, strict=True)])
    )
    right = [TASK.is_correct({"answer": a}, g) for a, g in zip(answers, golds, strict=True)]
    assert scores["exact_match"] == pytest.approx(np.mean(right))


def test_the_config_brings_the_targets_back():
    class Config:
        def __init__(self, entries):
            self.__dict__.update(entries)

    for label_schema in (TARGETS, {"has_unanswerable": False, "longest_answer": 12}):
        assert TASK.label_schema_of(Config(TASK.config(label_schema))) == label_schema


@pytest.mark.parametrize(
    "cell",
    [
        '{"text": ["cat"], "answer_start": [2]}',
        "{'text': ['cat'], 'answer_start': [2]}",
        '[{"text": "cat", "start": 2}]',
    ],
)
def test_answers_in_a_cell_of_a_table(cell):
    row = {"question": "who?", "context": "a cat is here", "answers": cell}
    assert TASK.read(row)["answers"] == [{"text": "cat", "start": 2}]


def test_answers_that_are_plain_text_are_refused():
    with pytest.raises(RowError, match="must hold `text` and `answer_start`, got str"):
        TASK.read({"question": "who?", "context": "a cat is here", "answers": "cat"})
