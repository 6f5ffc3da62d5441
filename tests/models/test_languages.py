import csv
import json

import pytest

from tunesmith.examples import example_folder
from tunesmith.models.languages import card_languages, language_problem
from tunesmith.models.resolve import resolve_model
from tunesmith.models.tokenizer import load_tokenizer
from tunesmith.tasks._values import strings
from tunesmith.testing.tiny import write_tiny_model

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
EXAMPLES = example_folder("support")


@pytest.fixture(scope="module")
def default():
    files = resolve_model(DEFAULT)
    return load_tokenizer(files), card_languages(files.path)


def bundled(file, column):
    return [json.loads(line)[column] for line in (EXAMPLES / file).read_text(encoding="utf-8").splitlines()]


def test_english_is_the_language_of_the_default_model(default):
    assert default[1] == ["en"]
    for file, column in (("train.jsonl", "text"), ("train.jsonl", "summary"), ("replies-de.jsonl", "en")):
        assert language_problem(default[0], bundled(file, column), default[1]) == ""


def test_german_is_not(default):
    said = language_problem(default[0], bundled("replies-de.jsonl", "de"), default[1])
    assert said.startswith("its tokenizer splits the most frequent words into 2.")
    assert said == language_problem(default[0], bundled("replies-de.jsonl", "de"), [])


def test_a_tokenizer_that_has_the_words_of_german_is_fit(default):
    texts = bundled("replies-de.jsonl", "de")
    base = default[0].backend_tokenizer
    trained = default[0].train_new_from_iterator([*texts, *bundled("train.jsonl", "text")] * 5, 4000)
    assert language_problem(trained, texts, ["de"]) == language_problem(trained, texts, []) == ""
    assert base.get_vocab_size() > 30_000


def test_signs_that_the_tokenizer_does_not_know(default):
    texts = ["我的自行车灯坏了，请帮我修理一下好吗", "昨天订的轮胎还没有到，什么时候能送来"]
    assert "does not know" in language_problem(default[0], texts, default[1])


def test_a_card_without_english_and_english_texts(default):
    texts = bundled("train.jsonl", "text")
    assert language_problem(default[0], texts, ["de"]) == "its card names de, and the texts look English"
    assert language_problem(default[0], texts, ["de", "en"]) == ""
    assert language_problem(default[0], texts, ["multilingual"]) == ""


def test_pieces_of_a_tokenizer_of_characters_say_nothing(tmp_path):
    files = resolve_model(str(write_tiny_model(tmp_path / "bart", family="bart")))
    german = [text.encode("ascii", "ignore").decode() for text in bundled("replies-de.jsonl", "de")]
    assert language_problem(load_tokenizer(files), german, []) == ""


def test_too_few_words_say_nothing(default):
    assert language_problem(default[0], ["Guten Tag", "Gute Nacht"], ["en"]) == ""


@pytest.mark.parametrize(
    ("head", "languages"),
    [
        ("---\nlanguage: de\n---\n", ["de"]),
        ("---\nlanguage:\n- en\n- no\nlicense: mit\n---\n", ["en", "no"]),
        ("---\nlicense: mit\n---\n", []),
        ("---\n[broken\n---\n", []),
        ("# A card\n---\nlanguage: de\n---\n", []),
        (None, []),
    ],
)
def test_languages_of_a_card(tmp_path, head, languages):
    if head is not None:
        (tmp_path / "README.md").write_text(head)
    assert card_languages(tmp_path) == languages


def test_texts_within_values():
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [{"x": "b"}]},
    ]
    assert list(strings(messages)) == ["a"]
    assert list(strings(["a", ["b"]])) == ["a", "b"]
    assert list(strings(3)) == []


@pytest.mark.parametrize("name", ["en", "de", "es", "ar", "zh"])
def test_passages_of_real_data(default, shared, name):
    document = json.loads((shared / "data" / "xquad" / f"{name}.test.json").read_text(encoding="utf-8"))
    texts = [paragraph["context"] for part in document["data"] for paragraph in part["paragraphs"]]
    assert (language_problem(default[0], texts[:60], default[1]) == "") == (name == "en")


def test_technical_english_of_real_data(default, shared):
    lines = (shared / "data" / "ncbi_disease" / "test.conll").read_text(encoding="utf-8").splitlines()
    tokens = [line.split()[0] for line in lines if line.strip()]
    assert language_problem(default[0], tokens, default[1]) == ""
    with (shared / "data" / "multi30k" / "validation.csv").open(encoding="utf-8", newline="") as file:
        french = [row["fr"] for row in csv.DictReader(file)]
    assert language_problem(default[0], french, default[1])
