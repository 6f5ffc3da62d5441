"""Scores of sentence pairs, compared with one pass of plain transformers for each token."""

import difflib

import pytest
import torch

from tunesmith.data.sentence_pairs import SentencePair
from tunesmith.inference.pair_likelihood import pair_likelihoods, shared_places
from tunesmith.testing.tiny import write_tiny_model

PAIRS = [
    SentencePair("the old cat sees a dog", "the young cat sees a dog", "age"),
    SentencePair("a red bird", "a very small red bird here", "size"),
]


def loaded(tmp_path, family, auto):
    import transformers

    folder = write_tiny_model(tmp_path / family, family=family)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    return getattr(transformers, auto).from_pretrained(folder).eval(), tokenizer


def test_a_masked_model_scores_the_tokens_that_both_share(tmp_path):
    """As metric.py of CrowS-Pairs does, one sentence and one token at a time."""
    model, tokenizer = loaded(tmp_path, "bert", "AutoModelForMaskedLM")
    found = pair_likelihoods(model, tokenizer, PAIRS, masked=True)
    for pair, scores in zip(PAIRS, found, strict=True):
        ids = [tokenizer(text, return_tensors="pt")["input_ids"] for text in (pair.more, pair.less)]
        opcodes = difflib.SequenceMatcher(
            None, *[[str(i) for i in side[0].tolist()] for side in ids]
        ).get_opcodes()
        spans = [([], []) for _ in ()] or ([], [])
        for tag, a, b, c, d in opcodes:
            if tag == "equal":
                spans[0].extend(range(a, b))
                spans[1].extend(range(c, d))
        for side in (0, 1):
            total = 0.0
            for place in spans[side][1:-1]:
                masked = ids[side].clone()
                masked[0, place] = tokenizer.mask_token_id
                with torch.no_grad():
                    logits = model(masked).logits[0, place]
                total += float(logits.log_softmax(-1)[ids[side][0, place]])
            assert scores[side] == pytest.approx(total, abs=1e-3)


def test_pronouns_are_scored_at_their_own_place(tmp_path):
    model, tokenizer = loaded(tmp_path, "bert", "AutoModelForMaskedLM")
    pair = SentencePair("the cat sees a dog", "the bird sees a dog", "type1", male=True)
    (scores,) = pair_likelihoods(model, tokenizer, [pair], masked=True)
    ids = [tokenizer(text)["input_ids"] for text in (pair.more, pair.less)]
    one, other = shared_places(*ids)
    (place,) = set(range(len(ids[0]))) - set(one)
    assert len(one) == len(other) == len(ids[0]) - 1
    hidden = torch.tensor([[*ids[0][:place], tokenizer.mask_token_id, *ids[0][place + 1 :]]])
    with torch.no_grad():
        expected = model(hidden).logits[0, place].log_softmax(-1)
    assert scores[0] == pytest.approx(float(expected[ids[0][place]]), abs=1e-4)
    assert scores[1] == pytest.approx(float(expected[ids[1][place]]), abs=1e-4)


def test_a_second_pronoun_does_not_give_the_first_away(tmp_path):
    model, tokenizer = loaded(tmp_path, "bert", "AutoModelForMaskedLM")
    pair = SentencePair("the cat sees the cat", "the dog sees the dog", "type1", male=True)
    (scores,) = pair_likelihoods(model, tokenizer, [pair], masked=True)
    ids = tokenizer(pair.more)["input_ids"]
    places = [place for place, token in enumerate(ids) if token == tokenizer.convert_tokens_to_ids("cat")]
    assert len(places) == 2
    hidden = torch.tensor([[tokenizer.mask_token_id if i in places else t for i, t in enumerate(ids)]])
    with torch.no_grad():
        expected = model(hidden).logits[0].log_softmax(-1)
    assert scores[0] == pytest.approx(sum(float(expected[place, ids[place]]) for place in places), abs=1e-4)


def test_a_decoder_scores_whole_sentences(tmp_path):
    model, tokenizer = loaded(tmp_path, "llama", "AutoModelForCausalLM")
    found = pair_likelihoods(model, tokenizer, PAIRS, masked=False)
    for pair, scores in zip(PAIRS, found, strict=True):
        for text, score in zip((pair.more, pair.less), scores, strict=True):
            ids = tokenizer(text)["input_ids"]
            begin = tokenizer.bos_token_id
            ids = torch.tensor([ids if begin is None or ids[0] == begin else [begin, *ids]])
            with torch.no_grad():
                loss = model(ids, labels=ids).loss
            assert score == pytest.approx(-float(loss) * (ids.shape[1] - 1), abs=1e-2)
