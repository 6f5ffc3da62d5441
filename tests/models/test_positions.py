"""The longest text that a model is said to read works, and one token more does not."""

from __future__ import annotations

import pytest
import torch
import transformers

from tunesmith.models.positions import UNLIMITED, position_limit, usable_positions

pytestmark = pytest.mark.usefixtures("lean")

_SIZE = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 66,
}
_ENCODERS = {
    "Bert": (66, {}),
    "Roberta": (64, {}),
    "MPNet": (64, {}),
    "Longformer": (64, {"attention_window": 8}),
    "Esm": (64, {"pad_token_id": 1, "mask_token_id": 4}),
    "Data2VecText": (64, {}),
    "IBert": (64, {}),
    "XLMRobertaXL": (64, {}),
    "RobertaPreLayerNorm": (64, {}),
    "Xmod": (64, {"languages": ["en_XX"], "default_language": "en_XX"}),
    "MarkupLM": (65, {}),
}


class Tokenizer:
    """What is read of one here."""

    model_max_length = 10**30


def _model(name: str, options: dict[str, object]) -> torch.nn.Module:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**_SIZE, **options)
    return transformers.AutoModel.from_config(config).eval()


@pytest.mark.parametrize("name", sorted(_ENCODERS))
def test_as_many_tokens_can_be_read_as_are_promised_and_no_more(name):
    expected, options = _ENCODERS[name]
    model = _model(name, options)
    assert position_limit(model, Tokenizer()) == expected
    with torch.no_grad():
        assert model(input_ids=torch.full((1, expected), 7))[0].isfinite().all()
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, expected + 8), 7))


def test_tables_whose_first_rows_are_no_positions():
    opt = _model("OPT", {"ffn_dim": 40, "word_embed_proj_dim": 24})
    bart = transformers.BartModel(
        transformers.BartConfig(
            vocab_size=60, d_model=24, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=40, decoder_ffn_dim=40, max_position_embeddings=30,
        )
    ).eval()  # fmt: skip
    assert position_limit(opt, Tokenizer()) == 66
    assert position_limit(bart, Tokenizer()) == 30
    ids = torch.full((1, 30), 7)
    assert bart(input_ids=ids, decoder_input_ids=ids)[0].isfinite().all()


def test_a_model_without_a_table_is_bounded_by_its_config_or_its_tokenizer():
    llama = _model("Llama", {})
    assert usable_positions(llama) is None
    assert position_limit(llama, Tokenizer()) == 66
    t5 = transformers.T5Model(
        transformers.T5Config(vocab_size=60, d_model=24, d_kv=6, d_ff=40, num_layers=1, num_heads=4)
    )
    assert position_limit(t5, Tokenizer()) == UNLIMITED
    tokenizer = Tokenizer()
    tokenizer.model_max_length = 512
    assert position_limit(t5, tokenizer) == 512


def test_measuring_leaves_the_model_in_training_where_it_was():
    model = _model("Roberta", {}).train()
    model.embeddings.eval()
    usable_positions(model)
    assert model.training
    assert model.encoder.training
    assert not model.embeddings.dropout.training
