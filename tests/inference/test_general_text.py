import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunesmith.errors import RecipeError
from tunesmith.inference.general_text import nats_and_bytes, read_paragraphs
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_tiny_model


def test_the_package_has_a_text():
    paragraphs = read_paragraphs(None)
    assert len(paragraphs) == len(set(paragraphs)) == 30
    assert sum(map(len, paragraphs)) > 9_000


def test_a_text_of_the_users(written):
    file = written("eins\n\nzwei\nZeilen\n\n\n drei\n \nvier\n\nfünf\n")
    assert read_paragraphs(file) == ["eins", "zwei\nZeilen", "drei", "vier", "fünf"]


@pytest.mark.parametrize(
    "content", [b"too\n\nshort", b"\xff\xfe broken \x80", None], ids=["short", "bytes", "absent"]
)
def test_a_text_that_cannot_be_used_is_refused(written, content):
    with pytest.raises(RecipeError, match=r"general_text"):
        read_paragraphs(written(content))


def test_the_likelihood_is_that_of_plain_transformers(tmp_path):
    folder = write_tiny_model(tmp_path / "llama", family="llama")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["yellow cats sleep", "a red house stands there"] * 3
    reader = TASKS.get("text-generation")
    found = nats_and_bytes(reader, model, tokenizer, texts, 64)
    for text, (nats, n_bytes) in zip(texts, found, strict=True):
        first = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        own = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[*first, *own]])
        with torch.no_grad():
            logits = model(ids).logits[0].double().log_softmax(-1)
        expected = -sum(float(logits[i, token]) for i, token in enumerate(ids[0, 1:].tolist()))
        assert nats == pytest.approx(expected, rel=1e-4)
        assert n_bytes == len(text.encode()) or not first
    assert np.isfinite(found).all()
