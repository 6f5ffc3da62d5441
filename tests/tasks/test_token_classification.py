from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tunesmith.encoded import Ragged
from tunesmith.tasks import IGNORED, TASKS, EncodeOptions, EvalPredictions, RowError
from tunesmith.tasks._tags import allowed_tags, most_probable, scheme_of, spans_of_tags
from tunesmith.tasks._units import NO_TOKEN_BORDER, NO_WORD_BORDER
from tunesmith.testing.tiny import write_tiny_model

TASK = TASKS.get("token-classification")
TARGETS = {"labels": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]}
LABELS = TARGETS["labels"]
SCHEMES = ("IOB1", "IOB2", "IOBES", "BILOU")


@pytest.fixture(scope="module", params=["bert", "llama", "bart"])
def tokenizer(request, tmp_path_factory):
    """WordPiece without blanks, bytes with the blank before the word, characters with a mark for the blank."""
    return AutoTokenizer.from_pretrained(write_tiny_model(tmp_path_factory.mktemp("m"), family=request.param))


@st.composite
def sentences(draw, most=9):
    """(number of words, entities as (first word, word after the last, type))."""
    n = draw(st.integers(1, most))
    entities, at = [], 0
    while at < n:
        length = draw(st.integers(0, min(3, n - at)))
        if length:
            entities.append((at, at + length, draw(st.sampled_from(["LOC", "PER"]))))
        at += max(length, 1)
    return n, entities


def tags_of(n, entities, scheme):
    """By the definitions of Tjong Kim Sang and Veenstra 1999, and of Ratinov and Roth 2009."""
    tags = ["O"] * n
    for number, (start, end, label) in enumerate(entities):
        before = entities[number - 1] if number else None
        touches = before is not None and before[1] == start and before[2] == label
        first, inner, last, alone = {
            "IOB1": ("B" if touches else "I", "I", "I", "B" if touches else "I"),
            "IOB2": ("B", "I", "I", "B"),
            "IOBES": ("B", "I", "E", "S"),
            "BILOU": ("B", "I", "L", "U"),
        }[scheme]
        for at in range(start, end):
            prefix = first if at == start else last if at == end - 1 else inner
            tags[at] = f"{alone if end - start == 1 else prefix}-{label}"
    return tags


@settings(max_examples=150, deadline=None)
@given(sentences())
def test_all_schemes_are_read_alike(sentence):
    n, entities = sentence
    words = [f"w{i}" for i in range(n)]
    read = [TASK.read({"tokens": words, "tags": tags_of(n, entities, scheme)}) for scheme in SCHEMES]
    for scheme, example in zip(SCHEMES, read, strict=True):
        assert spans_of_tags(tags_of(n, entities, scheme)) == entities
        assert example["entities"] == read[0]["entities"]
        assert [example["text"][a:b].split() for a, b, _ in example["entities"]] == [
            words[a:b] for a, b, _ in entities
        ]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_is_told(scheme):
    sentence = (8, [(0, 2, "PER"), (3, 4, "LOC"), (5, 8, "PER")])
    assert scheme_of([tags_of(*sentence, scheme)] * 3) == (scheme, 0)


def test_repaired_entities_are_counted():
    rows = [["B-PER", "I-PER", "O"]] * 5 + [["O", "I-LOC", "I-LOC"], ["B-PER", "I-LOC", "O"]]
    assert scheme_of(rows) == ("IOB2", 2)
    notices = TASK.notices({"tags": rows, "entities": []}, TARGETS)
    assert notices == ["the tags are IOB2", "2 entities that begin with I- are read as B-"]
    assert TASK.notices({"tags": rows[:5], "entities": []}, TARGETS) == ["the tags are IOB2"]
    assert TASK.notices({"entities": []}, TARGETS) == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "2 tokens and 1 tags"),
        ({"tokens": ["a"], "tags": [3]}, "tags must be names"),
        ({"tokens": ["a"], "tags": ["PER"]}, "must be `O` or have a prefix"),
        ({"tokens": []}, "tokens is empty"),
        ({"tokens": ["a", ""]}, "empty"),
        ({"text": "a cat", "entities": [[2, 9, "X"]]}, "outside its text of 5"),
        ({"text": "a cat", "entities": [[1, 2, "X"]]}, "only white space"),
        ({"text": "a cat", "entities": [[0, 3, "X"], [2, 5, "Y"]]}, "overlap: `a c` and `cat`"),
        ({"text": "a cat", "entities": [{"start": 0, "end": 1}]}, "start, end and label"),
        ({}, "neither `tokens` nor `text`"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(row, reason):
    with pytest.raises(RowError, match=reason):
        TASK.read(row)


def test_spans_may_be_spelt_in_the_usual_ways_and_lose_white_space():
    expected = [[2, 5, "ANIMAL"]]
    for entity in ([2, 5, "ANIMAL"], (1, 6, "ANIMAL"), {"start": 2, "end": 5, "label": "ANIMAL"},
                   {"start": 2, "end": 6, "entity_group": "ANIMAL"}):  # fmt: skip
        assert TASK.read({"text": "a cat is", "entities": [entity]})["entities"] == expected
    assert TASK.read({"text": "a cat is", "entities": '[[2, 5, "ANIMAL"]]'})["entities"] == expected


# ---- encoding ----

WORDS = st.sampled_from([
    "the", "cat", "big", "猫", "赤い", "🙂", "👩‍👩‍👧", "é", "re\u0301d",
    "a-b", "x_y", "don't", "القط", "qqqqq", "9.5",
])  # fmt: skip


@st.composite
def texts_with_entities(draw):
    """A row whose entities are whole words, however the blanks between them are."""
    words = draw(st.lists(WORDS, min_size=1, max_size=9))
    text, spans = "", []
    for word in words:
        text += draw(st.sampled_from([" ", "  ", "\n"])) if text else ""
        spans.append((len(text), len(text) + len(word)))
        text += word
    entities, at = [], 0
    while at < len(words):
        if draw(st.booleans()):
            end = min(at + draw(st.integers(1, 2)), len(words))
            entities.append([spans[at][0], spans[end - 1][1], draw(st.sampled_from(["LOC", "PER"]))])
            at = end
        at += 1
    return {"text": text, "entities": entities}


def lost(total, *, within_words=0, within_tokens=0):
    return {NO_WORD_BORDER: (within_words, total), NO_TOKEN_BORDER: (within_tokens, total)}


def batch_of(rows):
    read = [TASK.read(row) for row in rows]
    return {name: [row[name] for row in read] for name in read[0]}


def encode(rows, tokenizer, max_length=None, overlap=0):
    batch = batch_of(rows)
    return batch, TASK.encode(batch, tokenizer, EncodeOptions(max_length, "train", overlap), TARGETS)


def as_if_certain(encoded):
    """What a model keeps that gives every word its own tag."""
    labels = encoded.ragged["labels"]
    logits = np.where(np.arange(len(LABELS)) == labels.values[:, None], 9.0, 0.0).astype(np.float32)
    return Ragged(logits, labels.offsets)


def found_by(answers):
    return [[[e["start"], e["end"], e["entity_group"]] for e in answer["entities"]] for answer in answers]


@settings(max_examples=60, deadline=None)
@given(st.lists(texts_with_entities(), min_size=1, max_size=4))
def test_tags_lead_back_to_the_characters(tokenizer, rows):
    """Emoji, accents, scripts without blanks: what was tagged is found at the same characters."""
    batch, encoded = encode(rows, tokenizer)
    assert encoded.lost[NO_WORD_BORDER] == (0, sum(len(row["entities"]) for row in rows))
    answers = TASK.decode(EvalPredictions(batch, encoded, as_if_certain(encoded)), TARGETS)
    expected = batch["entities"]
    known = [
        {int(word) for word in encoded.ragged["word_of_token"][sequence] if word}
        for sequence in range(len(rows))
    ]
    for row, answer in enumerate(found_by(answers)):
        words = batch["words"][row]
        # A tokenizer may leave a sign out (BERT's drops joiners of emoji); all it has are judged.
        whole = [
            entity
            for entity in expected[row]
            if all(i + 1 in known[row] for i, (a, b) in enumerate(words) if a < entity[1] and b > entity[0])
        ]
        assert [entity for entity in answer if entity in whole] == whole
    for row, answer in enumerate(answers):
        for entity in answer["entities"]:
            assert batch["text"][row][entity["start"] : entity["end"]] == entity["word"]


def test_a_word_is_judged_by_its_first_piece(tokenizer):
    _, encoded = encode([{"text": "qqqqq the cat", "entities": [[0, 5, "PER"]]}], tokenizer)
    words, labels = encoded.ragged["word_of_token"][0], encoded.ragged["labels"][0]
    assert words[words > 0].tolist() == [1, 2, 3]
    assert labels[words > 0].tolist() == [3, 0, 0]
    # But for a mark of the blank that stands for the first letter, as this letter does.
    assert set(labels[words == 0].tolist()) <= {IGNORED, 4, 0}
    assert TASK.num_items(encoded).tolist() == [(labels != IGNORED).sum()]


def test_an_entity_within_a_word_is_counted_as_lost(tokenizer):
    rows = [
        {"text": "the catfish is here", "entities": [[4, 7, "PER"], [12, 14, "LOC"]]},
        {"text": "fishcat", "entities": [[4, 7, "PER"]]},
        {"text": "cat fish", "entities": [[0, 8, "PER"]]},
    ]
    _, encoded = encode(rows, tokenizer)
    assert encoded.lost == lost(4, within_words=2)


# ---- windows ----


def long_row(n_words, seed):
    rng = np.random.default_rng(seed)
    words = rng.choice(["the", "cat", "qqqqq", "red", "🙂", "big"], size=n_words).tolist()
    tags = ["O"] * n_words
    for start in range(0, n_words - 3, 7):
        tags[start : start + 3] = ["B-PER", "I-PER", "I-PER"]
    return {"tokens": words, "tags": tags}


def context_free(batch, encoded, seed=5):
    """Logits that depend on the row and the word alone; elsewhere nonsense."""
    rng = np.random.default_rng(seed)
    of_word = rng.normal(0, 2, (encoded.n_rows, 400, len(LABELS))).astype(np.float32)
    words = encoded.ragged["word_of_token"]
    rows = np.repeat(encoded.rows, words.lengths)
    logits = np.where((words.values > 0)[:, None], of_word[rows, words.values - 1], 99.0)
    return EvalPredictions(batch, encoded, Ragged(logits.astype(np.float32), words.offsets))


@pytest.mark.parametrize(("max_length", "overlap"), [(16, 4), (24, 0), (33, 20), (64, 16)])
def test_windows_rejoined_are_the_sentence_read_whole(tokenizer, max_length, overlap):
    rows = [long_row(80, 1), long_row(3, 2), long_row(51, 3)]
    batch, whole = encode(rows, tokenizer)
    _, cut = encode(rows, tokenizer, max_length, overlap)
    assert cut.ragged["input_ids"].lengths.max() <= max_length
    assert len(cut) > len(whole)
    assert cut.n_rows == 3
    one, other = (TASK.decode(context_free(batch, encoded), TARGETS) for encoded in (whole, cut))
    assert one == other
    for encoded in (whole, cut):
        words = encoded.ragged["word_of_token"]
        rows_of = np.repeat(encoded.rows, words.lengths)
        judged = sorted(zip(rows_of[words.values > 0], words.values[words.values > 0], strict=True))
        assert judged == [(row, word + 1) for row in range(3) for word in range(len(rows[row]["tokens"]))]
    assert TASK.num_items(cut).sum() == TASK.num_items(whole).sum() >= 80 + 3 + 51
    labels = [encoded.ragged["labels"].values for encoded in (whole, cut)]
    assert np.bincount(labels[0][labels[0] >= 0]).tolist() == np.bincount(labels[1][labels[1] >= 0]).tolist()


def test_a_word_is_judged_where_it_stands_furthest_from_an_edge(tokenizer):
    row = {"tokens": ["the"] * 60, "tags": ["O"] * 60}
    _, cut = encode([row], tokenizer, 20, 10)
    window_ids = [cut.ragged["input_ids"][i] for i in range(len(cut))]
    words = [cut.ragged["word_of_token"][i] for i in range(len(cut))]
    places = {int(word): (i, at) for i, found in enumerate(words) for at, word in enumerate(found) if word}
    for word in range(8, 50):  # in the middle, each stands 10 tokens before or after the next window's
        i, at = places[word]
        room = min(at, len(window_ids[i]) - 1 - at)
        assert room >= 4, word


# ---- Viterbi ----


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10**6), st.sampled_from([0.3, 2.0, 8.0]))
def test_the_most_probable_sequence_is_that_of_trying_all(n, seed, spread):
    logits = np.random.default_rng(seed).normal(0, spread, (n, len(LABELS)))
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    allowed = allowed_tags(LABELS)

    def fits(tags):
        return all(allowed[a, b] for a, b in zip((len(LABELS), *tags), tags, strict=False))

    best = max(filter(fits, product(range(len(LABELS)), repeat=n)), key=lambda t: scores[range(n), t].sum())
    ours = most_probable(scores.astype(np.float64), allowed)
    assert fits(tuple(ours))
    assert scores[range(n), ours].sum() == pytest.approx(scores[range(n), best].sum(), abs=1e-12)


def test_i_follows_only_its_own_kind():
    allowed = allowed_tags(LABELS)
    for j, label in enumerate(LABELS):
        for i, before in enumerate([*LABELS, "the beginning"]):
            expected = not label.startswith("I-") or before[2:] == label[2:]
            assert allowed[i, j] == expected, (before, label)


@settings(max_examples=40, deadline=None)
@given(st.lists(texts_with_entities(), min_size=1, max_size=3), st.integers(0, 1000))
def test_answers_are_in_order_and_apart(tokenizer, rows, seed):
    batch, encoded = encode(rows, tokenizer)
    answers = TASK.decode(context_free(batch, encoded, seed), TARGETS)
    for text, answer in zip(batch["text"], answers, strict=True):
        end = 0
        for entity in answer["entities"]:
            assert end <= entity["start"] < entity["end"] <= len(text)
            assert 0.0 <= entity["score"] <= 1.0
            end = entity["end"]
