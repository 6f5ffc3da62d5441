"""Rows that learn alone against AdamW over the whole table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

from tunesmith.acceleration.embedding_rows import EmbeddingRows, training_rows
from tunesmith.training.optimizer import make_optimizer, set_learning_rate

_IDS = np.array([7, 3, 9, 3, 0])
_TABLE = "bert.embeddings.word_embeddings.weight"


def _model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=16,
        )
    ).eval()


def _train(model: BertForSequenceClassification) -> None:
    optimizer = make_optimizer(model, weight_decay=0.01)
    set_learning_rate(optimizer, 1e-2)
    for step in range(6):
        ids = torch.tensor([[3, 7, 9, 0], [9, 9, 3, 0]]) if step % 2 else torch.tensor([[3, 3, 3, 0]])
        model(input_ids=ids, labels=torch.ones(len(ids), dtype=torch.long)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def test_rows_that_occur_learn_exactly_as_in_the_whole_table():
    whole, rows, before = _model(), _model(), _model()
    _train(whole)
    with training_rows(rows, iter([_IDS])):
        assert isinstance(rows.get_input_embeddings(), EmbeddingRows)
        assert rows.get_parameter(_TABLE).shape == (4, 16)
        _train(rows)
    for name, parameter in rows.named_parameters():
        if name != _TABLE:
            assert torch.equal(parameter, whole.get_parameter(name)), name
    used = np.unique(_IDS)
    others = np.setdiff1d(np.arange(40), used)
    assert torch.equal(rows.get_parameter(_TABLE)[used], whole.get_parameter(_TABLE)[used])
    # Dense AdamW decays the rest, and does nothing else to it.
    untouched = before.get_parameter(_TABLE)[others]
    assert torch.equal(rows.get_parameter(_TABLE)[others], untouched)
    torch.testing.assert_close(whole.get_parameter(_TABLE)[others], untouched * (1 - 1e-2 * 0.01) ** 6)


def test_ids_that_do_not_learn_are_read_from_the_table():
    model = _model()
    ids = torch.tensor([[3, 30, 9, 12]])
    expected = model(input_ids=ids).logits
    with training_rows(model, iter([_IDS])):
        torch.testing.assert_close(model(input_ids=ids).logits, expected)


@pytest.mark.parametrize("ids", [None, np.arange(39)])
def test_a_table_that_is_read_as_a_whole_stays(ids):
    model = _model()
    with training_rows(model, None if ids is None else iter([ids])):
        assert type(model.get_input_embeddings()) is torch.nn.Embedding


def test_a_tied_table_stays():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=16))
    with training_rows(model, iter([_IDS])):
        assert type(model.get_input_embeddings()) is torch.nn.Embedding


def test_what_was_learned_is_kept_when_training_stops_with_an_error():
    model = _model()

    def stopped() -> None:
        with training_rows(model, iter([_IDS])):
            with torch.no_grad():
                model.get_parameter(_TABLE).fill_(1.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert bool((model.get_parameter(_TABLE)[_IDS] == 1).all())
