"""Words become tokens, for each kind of tokenizer; their rows are the means of their pieces."""

import numpy as np
import pytest

from tunesmith.errors import RecipeError
from tunesmith.models.added_words import (
    LEAST_COUNT,
    add_words,
    choose_words,
    pieces_of,
    read_words,
    refuse_other_texts,
)
from tunesmith.testing.families import write_family
from tunesmith.testing.family_tokenizers import make_tokenizer

WORD = "cabled"
TEXT = f"the {WORD}, x{WORD} and ({WORD}) {WORD} is"


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "xlm-roberta", "albert"])
def test_frequent_broken_words_are_found_as_one_token(family):
    tokenizer = make_tokenizer(family)
    texts = [TEXT] * LEAST_COUNT + ["badge"] * (LEAST_COUNT - 1)
    assert WORD in choose_words(texts, tokenizer)
    assert "badge" not in choose_words(texts, tokenizer), "too rare"
    assert "the" not in choose_words(texts, tokenizer), "few pieces"


def test_a_tokenizer_that_does_not_split_into_words_is_refused():
    with pytest.raises(RecipeError, match="finds no added word again"):
        choose_words([TEXT] * LEAST_COUNT, make_tokenizer("llama"))


@pytest.mark.parametrize("family", ["bert", "gpt2", "bart", "distilbert"])
def test_rows_are_means_in_float64_and_plain_transformers_agrees(family, tmp_path):
    import torch
    import transformers

    auto = {"gpt2": "AutoModelForCausalLM", "bart": "AutoModelForSeq2SeqLM"}.get(
        family, "AutoModelForMaskedLM"
    )
    write_family(tmp_path / "base", family, auto_class=auto)
    model = getattr(transformers, auto).from_pretrained(tmp_path / "base")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "base")
    output = model.get_output_embeddings()
    if output.bias is not None:
        torch.nn.init.normal_(output.bias)
    before = {
        "in": model.get_input_embeddings().weight.detach().double().numpy().copy(),
        "out": output.weight.detach().double().numpy().copy(),
    }
    bias = None if output.bias is None else output.bias.detach().double().numpy().copy()
    ids = pieces_of([WORD], tokenizer)[WORD]
    assert len(ids) > 1
    add_words(model, tokenizer, [WORD])
    own, output = tokenizer.convert_tokens_to_ids(WORD), model.get_output_embeddings()
    assert own == len(tokenizer) - 1
    for table, rows in ((model.get_input_embeddings().weight, before["in"]), (output.weight, before["out"])):
        np.testing.assert_allclose(table[own].detach().numpy(), rows[ids].mean(axis=0), atol=1e-6)
        np.testing.assert_array_equal(
            table[: len(rows)].detach().numpy()[:own], rows[:own].astype(np.float32)
        )
    if bias is not None:
        np.testing.assert_allclose(output.bias[own].item(), bias[ids].mean(), atol=1e-6)
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    again = getattr(transformers, auto).from_pretrained(tmp_path / "saved").eval()
    read = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")(TEXT, return_tensors="pt")
    assert own in read["input_ids"][0].tolist()
    read.pop("token_type_ids", None)
    with torch.no_grad():
        assert torch.equal(model.eval()(**read).logits, again(**read).logits)


def test_texts_that_would_be_written_otherwise_are_refused():
    refuse_other_texts([WORD], [TEXT], make_tokenizer("gpt2"))
    with pytest.raises(RecipeError, match="with other spaces"):
        refuse_other_texts([WORD], [TEXT], make_tokenizer("t5"))


def test_words_of_a_file(tmp_path):
    file, tokenizer = tmp_path / "words.txt", make_tokenizer("bert")
    file.write_text(f"{WORD.upper()}\n\n{WORD}\nbadge\nthe\n")
    assert read_words(file, tokenizer) == [WORD, "badge"], "uncased, once each, without those of one piece"
    file.write_text("two words\n")
    with pytest.raises(RecipeError, match=r"must consist of letters.*`two words`"):
        read_words(file, tokenizer)
    file.write_text("")
    with pytest.raises(RecipeError, match="1 to 20,000 words, got 0"):
        read_words(file, tokenizer)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_words(tmp_path / "none.txt", tokenizer)
