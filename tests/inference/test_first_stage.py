"""The first stage of a cascade: the numbers of scikit-learn, from its own file."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tunesmith import segmentation
from tunesmith.errors import RunError
from tunesmith.inference.first_stage import read_first_stage
from tunesmith.pipeline.cascading import fit_first_stage

RNG = np.random.default_rng(0)
WORDS = ["red", "blue", "Cat", "dog", "über", "don't", "猫と犬", "one", "two", "!"]
TEXTS = [" ".join(RNG.choice(WORDS, RNG.integers(1, 9))) for _ in range(120)]
NEW = ["", "unknown things", "red red RED cat", "猫", "dog  dog\nblue, blue!"]


@pytest.mark.parametrize("n_labels", [2, 3])
def test_its_probabilities_are_those_of_scikit_learn(n_labels, tmp_path):
    labels = RNG.integers(0, n_labels, len(TEXTS))
    labels[:n_labels] = range(n_labels)
    fit_first_stage(TEXTS, labels, n_labels + 1).save(tmp_path, {"labels": []}, {})
    stage, facts, _ = read_first_stage(tmp_path)
    assert facts == {"labels": []}
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        tokenizer=segmentation.words,
        token_pattern=None,
        dtype=np.float64,
    )
    model = LogisticRegression(C=10.0, max_iter=50, tol=1e-3).fit(vectorizer.fit_transform(TEXTS), labels)
    expected = model.predict_proba(vectorizer.transform(NEW + TEXTS))
    logits = stage.logits(NEW + TEXTS).astype(np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    found = odds / odds.sum(1, keepdims=True)
    assert np.allclose(found[:, :n_labels], expected, atol=2e-4)
    assert not found[:, n_labels].any(), "a label without training rows is never the answer"


def test_a_damaged_file_is_an_error(tmp_path):
    fit_first_stage(TEXTS, np.arange(len(TEXTS)) % 2, 2).save(tmp_path, {"labels": []}, {})
    file = tmp_path / "cascade.safetensors"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(RunError, match="cannot be read"):
        read_first_stage(tmp_path)
