"""A model that knows every answer reaches F1 1.0 through our own encoding and decoding, or the loss is counted.

Fourteen scripts by five kinds of tokenizer, each trained here on the script's own sentences: what the labels say
is given back as if a model were sure of it, and decoded. `-s` prints the table.
"""

from functools import cache

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tunesmith.encoded import Ragged
from tunesmith.tasks import TASKS, EncodeOptions, EvalPredictions, point_scores
from tunesmith.tasks._passages import NO_TOKEN_BORDER as NO_TOKEN_OF_ANSWER
from tunesmith.tasks._units import NO_TOKEN_BORDER, NO_WORD_BORDER

NER, QA = TASKS.get("token-classification"), TASKS.get("question-answering")
LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]

# (a text with its entities as [name|TYPE], …); names of places and persons as the script's newspapers write them.
SCRIPTS = {
    "english": [
        "[McDonald's|LOC] and [Levi's|LOC] in [New York|LOC], said [O'Neil|PER].",
        "We teach [C++|LOC] at [St. John's|LOC]; [J.R.R. Tolkien|PER] isn't here.",
        "[Anne-Marie|PER] flew  to [Washington, D.C.|LOC]\t(twice).",
    ],
    "decomposed": [
        "[Jose\u0301 N\u0303andu\u0301|PER] vive en [Bogota\u0301|LOC].",
        "[Zoe\u0308|PER] und [Mu\u0308ller|PER] in [Ko\u0308ln|LOC].",
        "À [Orle\u0301ans|LOC], [E\u0301lodie|PER] chante.",
    ],
    "cyrillic": [
        "[Анна Петрова|PER] живёт в [Нижнем Новгороде|LOC].",
        "В [Киеве|LOC] был [О'Генри|PER]; [Ёлкин|PER] — нет.",
    ],
    "greek": ["Η [Μαρία|PER] μένει στην [Αθήνα|LOC].", "Ο [Νίκος Παπάς|PER] είδε τη [Θεσσαλονίκη|LOC];"],
    "arabic": ["يعيش [محمد علي|PER] في [القاهرة|LOC].", "زارت [فاطِمَة|PER] مدينة [دمشق|LOC]، أليس كذلك؟"],
    "hebrew": ["[דוד כהן|PER] גר ליד [תל אביב|LOC].", "[מִרְיָם|PER] נסעה אל [חיפה|LOC]; [צה״ל|LOC]"],
    "devanagari": ["[मीरा शर्मा|PER] [दिल्ली|LOC] में रहती है।", "[कृष्ण|PER] [मुंबई|LOC] गया। [हिन्दी|LOC]"],
    "bengali": ["[রবীন্দ্রনাথ ঠাকুর|PER] [কলকাতা|LOC] শহরে।", "[ঢাকা|LOC] থেকে [শেখ মুজিব|PER]।"],
    "thai": ["[สมชาย|PER]อยู่ที่[กรุงเทพ|LOC]", "เขาไป[เชียงใหม่|LOC]กับ[น้ำฝน|PER] วันนี้"],
    "chinese": ["[王小明|PER]住在[南京|LOC]。", "2008年[李雷|PER]去了[北京|LOC]、[上海|LOC]。"],
    "japanese": ["[田中さくら|PER]は[東京|LOC]に住む。", "[ラーメン横丁|LOC]で[か\u3099く|PER]と会う。"],
    "korean": ["[김철수|PER]는 [서울|LOC]에서 산다.", "[이영희|PER]가 [부산|LOC]으로 갔다."],
    "georgian": ["[ნინო ბერიძე|PER] ცხოვრობს [თბილისში|LOC].", "[ბათუმი|LOC] და [გიორგი|PER]."],
    "emoji": ["🚲 [Ivo 🎸|PER] in [🏳️‍🌈 Bar|LOC]👍🏽", "[👩‍👩‍👧|PER]→[Łódź 1️⃣|LOC] 🇩🇪[Ærø|LOC]🇫🇷"],
}  # fmt: skip
KINDS = ("wordpiece", "bytes", "byte_fallback", "unigram", "characters")


def parsed(marked):
    """(text, entities)."""
    text, entities = "", []
    for part in marked.replace("]", "[").split("["):
        name, bar, label = part.partition("|")
        if bar:
            entities.append([len(text), len(text) + len(name), label])
        text += name
    return text, entities


def rows_of(script):
    return [dict(zip(("text", "entities"), parsed(marked), strict=True)) for marked in SCRIPTS[script]]


@cache
def tokenizer_of(script, kind):
    """Trained on the script's sentences, so that the names in them become large pieces."""
    texts = [row["text"] for row in rows_of(script)] * 4
    unknown = {"unk_token": "[UNK]", "special_tokens": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]}
    if kind == "wordpiece":
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=False)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=110, special_tokens=unknown["special_tokens"])
    elif kind == "bytes":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=unknown["special_tokens"], initial_alphabet=alphabet
        )
    elif kind == "byte_fallback":
        made = Tokenizer(models.BPE(unk_token="[UNK]", byte_fallback=True, fuse_unk=True))
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        special = [*unknown["special_tokens"], *(f"<0x{byte:02X}>" for byte in range(256))]
        trainer = trainers.BpeTrainer(vocab_size=298, special_tokens=special, limit_alphabet=25)
    elif kind == "unigram":
        made = Tokenizer(models.Unigram())
        made.normalizer = normalizers.NFKC()
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=90, shrinking_factor=0.75, **unknown)
    else:
        letters = sorted({letter for text in texts for letter in text})
        vocabulary = {token: i for i, token in enumerate([*unknown["special_tokens"], *letters])}
        made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        trainer = None
    if trainer is not None:
        made.train_from_iterator(texts, trainer)
    marks = [("[CLS]", made.token_to_id("[CLS]")), ("[SEP]", made.token_to_id("[SEP]"))]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def columns_of(task, rows):
    read = [task.read(row) for row in rows]
    return {name: [row[name] for row in read] for name in read[0]}


def ner_oracle(rows, tokenizer, max_length=None, overlap=0):
    """(scores, entities counted as lost, entities, answers)."""
    label_schema, columns = {"labels": LABELS}, columns_of(NER, rows)
    encoded = NER.encode(columns, tokenizer, EncodeOptions(max_length, "score", overlap), label_schema)
    labels = encoded.ragged["labels"]
    sure = np.where(np.arange(len(LABELS)) == labels.values[:, None], 9.0, 0.0).astype(np.float32)
    evaluated = EvalPredictions(columns, encoded, Ragged(sure, labels.offsets))
    lost = encoded.lost[NO_WORD_BORDER][0] + encoded.lost[NO_TOKEN_BORDER][0]
    return (
        point_scores(NER, evaluated, label_schema),
        lost,
        encoded.lost[NO_WORD_BORDER][1],
        NER.decode(evaluated, label_schema),
    )


def qa_oracle(rows, tokenizer, max_length=None, overlap=0):
    """(scores, answers counted as lost, answers, predictions)."""
    columns = columns_of(QA, rows)
    label_schema = QA.learn_label_schema(columns)
    encoded = QA.encode(columns, tokenizer, EncodeOptions(max_length, "score", overlap), label_schema)
    lengths = encoded.ragged["input_ids"].offsets
    sure = np.full((lengths[-1], 2), -9.0, dtype=np.float32)
    for sequence, ends in enumerate(encoded.dense["labels"]):
        for end, token in enumerate(ends):
            sure[lengths[sequence] + token, end] = 9.0 if ends[1] else 0.0
    evaluated = EvalPredictions(columns, encoded, Ragged(sure, lengths))
    lost = encoded.lost["answers"][0] + encoded.lost[NO_TOKEN_OF_ANSWER][0]
    return (
        point_scores(QA, evaluated, label_schema),
        lost,
        encoded.lost["answers"][1],
        QA.decode(evaluated, label_schema),
    )


def questions_of(rows):
    return [
        {"question": f"{label}?", "context": row["text"], "answers": [{"text": row["text"][a:b], "start": a}]}
        for row in rows
        for a, b, label in row["entities"]
    ]


def spans(answers):
    return [{(e["start"], e["end"], e["entity_group"]) for e in answer["entities"]} for answer in answers]


def check_entities(rows, found):
    """F1 is 1.0, or what is counted as lost is what is missing: no entity more and none less."""
    scores, lost, total, answers = found
    gold = [{tuple(entity) for entity in row["entities"]} for row in rows]
    missing = sum(len(one - other) for one, other in zip(gold, spans(answers), strict=True))
    assert missing == lost
    assert scores["recall"] == pytest.approx(1 - lost / total)
    assert lost or scores["f1"] == 1.0


def check_answers(found):
    scores, lost, total, _ = found
    assert scores["exact_match"] == pytest.approx(1 - lost / total)
    assert lost or scores["f1"] == 1.0


def crossed(row, tokenizer):
    """Entities that a token reaches into from outside, or that begin or end with what has no token."""
    found, text = 0, row["text"]
    tokens = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    for start, end, _ in row["entities"]:
        touching = [(a, b) for a, b in tokens if a < end and b > start and text[a:b].strip()]
        inside = [(a + len(text[a:b]) - len(text[a:b].lstrip()), b) for a, b in touching]
        exact = any(a == start for a, _ in inside) and any(b == end for _, b in inside)
        found += not exact or any(a < start or b > end for a, b in inside)
    return found


@pytest.fixture(scope="module")
def table():
    cells = {}
    yield cells
    print(f"\n{'':12}" + "".join(f"{kind:>24}" for kind in KINDS))
    for script in SCRIPTS:
        print(f"{script:12}" + "".join(f"{cells.get((script, kind), ''):>24}" for kind in KINDS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_oracle_finds_all_that_is_not_counted_as_lost(script, kind, table):
    tokenizer, rows = tokenizer_of(script, kind), rows_of(script)
    entities = ner_oracle(rows, tokenizer)
    answers = qa_oracle(questions_of(rows), tokenizer)
    shown = (f"{found[0]['f1']:.2f} ({found[1]}/{found[2]})" for found in (entities, answers))
    table[script, kind] = "  ".join(shown)
    check_entities(rows, entities)
    check_answers(answers)
    assert max(entities[1], answers[1]) <= sum(crossed(row, tokenizer) for row in rows), (
        "nothing is lost of ours"
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_long_texts_are_read_in_windows(script, kind):
    """The same texts, many in one: what is lost does not change, and nothing is lost at an edge."""
    tokenizer, rows = tokenizer_of(script, kind), rows_of(script)
    whole, entities = "", []
    for row in rows * 5:
        entities += [[a + len(whole), b + len(whole), label] for a, b, label in row["entities"]]
        whole += row["text"] + "\n"
    long = [{"text": whole, "entities": entities}]
    apart, windows = ner_oracle(long, tokenizer), ner_oracle(long, tokenizer, 64, 32)
    assert (windows[1:3], spans(windows[3])) == (apart[1:3], spans(apart[3]))
    check_entities(long, windows)
    check_answers(qa_oracle(questions_of(long)[::4], tokenizer, 96, 40))
