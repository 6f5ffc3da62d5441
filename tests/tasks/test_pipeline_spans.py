"""The entities of transformers' pipeline, and of the code on the card, beside ours; by random models.

Random weights make tags that break the scheme, and other tags for each token of a word.
"""

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
    PreTrainedTokenizerFast,
    pipeline,
)

from tunesmith.inference.forward import forward
from tunesmith.segmentation import _PATTERNS, entity_word_bounds
from tunesmith.tasks import TASKS, EncodeOptions, EvalPredictions
from tunesmith.tasks._pipeline_spans import _CODE, pipeline_note

TASK = TASKS.get("token-classification")
LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
SCHEMA = {"labels": LABELS}
MOST = 24

PLAIN = [
    "the cat is here",
    "a red dog near the old house",
    "the small bird is blue now",
    "cat dog",
    "x",
    "dog cat near red house",
]
SIGNS = ["the cat, dog (bird)! is here", "McDonald's C++ cat-dog", "cat,dog", "a–b ’tis «x»"]
BARE = ["南京市长江大桥", "แมวสีแดง the cat", "猫は赤い dog"]
BYTES = ["🚧 José Ñandú the cat", "Zoë Müller-Šíp in Ærø", "the  cat   dog", "e\u0301l\u200dx किताब 한국에서"]
LONG = ["the old cat, near a small red dog; " * 5, "Ærø 南京 is  here " * 9]
TEXTS = [*PLAIN, *SIGNS, *BARE, *BYTES, *LONG]


def random_model(folder, tokenizer, *, without_inside=False):
    """Saves a model that was not trained; `I-` tags can be impossible, so every sequence of tags is valid."""
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64, initializer_range=1.0,
        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
    )  # fmt: skip
    torch.manual_seed(3)
    model = BertForTokenClassification(config)
    if without_inside:
        with torch.no_grad():
            model.classifier.bias[[2, 4]] = -1e4
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["WordPiece", "bytes", "bytes without blanks", "characters"])
def tokenizer(request):
    """Knows the words of the plain texts, and letters; only the first kind marks tokens that continue a word."""
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    kind = models.WordPiece if request.param == "WordPiece" else models.BPE
    made = Tokenizer(kind(unk_token="[UNK]"))
    known = {"special_tokens": [*special.values()], "show_progress": False, "vocab_size": 500}
    if request.param == "WordPiece":
        made.pre_tokenizer, trainer = pre_tokenizers.BertPreTokenizer(), trainers.WordPieceTrainer(**known)
    elif request.param == "characters":
        made.pre_tokenizer, trainer = pre_tokenizers.Metaspace(), trainers.BpeTrainer(**known)
    else:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.post_processor = processors.ByteLevel(trim_offsets=request.param.endswith("blanks"))
        trainer = trainers.BpeTrainer(**known, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator([*PLAIN * 5, *"".join([*SIGNS, *BYTES])], trainer)
    ends = [(it, made.token_to_id(it)) for it in ("[CLS]", "[SEP]")]
    ending = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    before = [] if made.post_processor is None else [made.post_processor]
    made.post_processor = processors.Sequence([*before, ending])
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=MOST, **special)


@pytest.fixture(scope="module")
def model(tokenizer, tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model"), tokenizer)


def spans(entities):
    return [(it["entity_group"], it["start"], it["end"]) for it in entities]


def ours(model, texts):
    """For each text, the spans of the task."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    columns = {"text": texts, "words": [entity_word_bounds(text) for text in texts]}
    encoded = TASK.encode(columns, tokenizer, EncodeOptions(MOST, "predict", MOST // 4), SCHEMA)
    opened = AutoModelForTokenClassification.from_pretrained(model)
    outputs = forward(TASK, opened, encoded, pad_token_id=tokenizer.pad_token_id)
    return [spans(it["entities"]) for it in TASK.decode(EvalPredictions(columns, encoded, outputs), SCHEMA)]


def by_the_card(model):
    names = {}
    exec(compile(_CODE.replace("PATH/TO/THIS/FOLDER", str(model)), "the card", "exec"), names)
    return names


def test_the_code_of_the_card_finds_the_spans_of_predict(model):
    expected = ours(model, TEXTS)
    theirs = by_the_card(model)["model"](TEXTS, stride=MOST // 4)
    assert [spans(it) for it in theirs] == expected
    assert sum(map(len, expected)) > len(TEXTS)
    for text, row in zip(TEXTS, theirs, strict=True):
        assert all(it["word"] == text[it["start"] : it["end"]] for it in row)


def test_the_words_of_the_code_are_those_of_predict(model):
    assert by_the_card(model)["WORD"].pattern == _PATTERNS["entity_word"]


def without_blank(entities, text):
    """The spans without the space that a token has before its word."""
    return [(label, start + (text[start] == " "), end) for label, start, end in spans(entities)]


def test_the_pipeline_differs_as_the_card_says(tokenizer, tmp_path):
    """Where every sequence of tags is valid, it differs in the cases of the card alone."""
    folder = random_model(tmp_path, tokenizer, without_inside=True)
    stock = pipeline("token-classification", model=str(folder), aggregation_strategy="first")
    assert [without_blank(*it) for it in zip(stock(PLAIN), PLAIN, strict=True)] == ours(folder, PLAIN)
    said = pipeline_note(json.loads((folder / "tokenizer.json").read_text()))
    differs = [[spans(it) for it in stock(texts)] != ours(folder, texts) for texts in (SIGNS, BARE, BYTES)]
    assert differs == ["differ from those of `tunesmith predict` in these cases" in said] * 3


def test_the_pipeline_takes_the_best_tag_of_each_word_alone(model):
    """With tags that break the scheme, which the most probable valid sequence does not."""
    stock = pipeline("token-classification", model=str(model), aggregation_strategy="first")
    theirs = [without_blank(*it) for it in zip(stock(PLAIN), PLAIN, strict=True)]
    assert theirs != ours(model, PLAIN)
