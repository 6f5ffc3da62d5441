"""Words and sentences in many scripts; what is expected was cut by hand, with `|` between the words."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith import segmentation

WORDS = {
    "english": "it|'|s|McDonald|'|s|C|+|+|x|_|y|3|.|5",
    "decomposed accents": "Jose\u0301|Nandu\u0303|'|s",
    "composed accents": "José|Łódź|-|Ost",
    "devanagari": "मीरा|शर्मा|दिल्ली|में|।",
    "bengali": "ঢাকা|বাংলাদেশ",
    "tamil": "தமிழ்|நாடு",
    "a joiner within a word": "क्\u200dष|می\u200cخواهم",
    "a joiner at the end of a word": "word|\u200c",
    "arabic with vowels": "مُحَمَّد|القاهرة|؟",
    "hebrew with vowels": "מִצְרַיִם|תל|-|אביב",
    "chinese": "南|京|市|，|2008|年",
    "rare chinese": "𠮷|野|家|人|々",
    "japanese": "ラ|ー|メ|ン|・|を|が",
    "kana with a mark of its own": "か\u3099|ハ\u309a",
    "thai": "ก|รุ|ง|เ|ท|พ|ที่|น้ำ",
    "lao": "ວ|ຽ|ງ|ຈັ|ນ",
    "khmer": "ភ្នំ|ពេ|ញ",
    "georgian": "თბილისი|არის",
    "korean": "서|울|에|서|KTX",
    "emoji": "👩\u200d👩\u200d👧|🇩🇪|🇫🇷|👍🏽|1️⃣",
}


@pytest.mark.parametrize("name", WORDS)
def test_words_of_entities(name):
    expected = WORDS[name].split("|")
    for joint in ("", " ", "  \n"):
        text = joint.join(expected)
        if joint or name in (
            "chinese",
            "rare chinese",
            "japanese",
            "thai",
            "lao",
            "khmer",
            "korean",
            "emoji",
        ):
            assert [text[a:b] for a, b in segmentation.entity_word_bounds(text)] == expected


def test_a_word_of_korean_ends_at_a_blank_but_an_entity_may_end_before():
    text = "서울에서 만나요"
    assert [text[a:b] for a, b in segmentation.word_bounds(text)] == ["서울에서", "만나요"]
    assert segmentation.words(text) == ["서울에서", "만나요"]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_words_leave_out_white_space_alone_and_part_no_character(text):
    bounds = segmentation.entity_word_bounds(text)
    assert re.sub(r"\s", "", "".join(text[a:b] for a, b in bounds)) == re.sub(r"\s", "", text)
    assert all(a < b for a, b in bounds)
    assert bounds == sorted(bounds)
    assert "".join(segmentation.stretches(text)) == text
    assert "".join(segmentation.characters(text)) == text


EUROPEAN = st.text(st.characters(codec="cp1250", exclude_categories=["Cc"]), max_size=40)


@settings(max_examples=200, deadline=None)
@given(EUROPEAN)
def test_european_words_are_those_of_the_plain_patterns(text):
    assert segmentation.words(text) == re.findall(r"\w+", text)
    plain = [match.span() for match in re.finditer(r"[^\W_]+|[^\w\s]|_", text)]
    assert segmentation.word_bounds(text) == plain
    assert segmentation.stretches(text) == re.findall(r"\S+|\s+", text)
    assert segmentation.characters(text) == list(text)


SENTENCES = [
    ("यह पहला है। यह दूसरा।", "यह पहला है।"),
    ("یہ پہلا ہے۔ یہ دوسرا۔", "یہ پہلا ہے۔"),
    ("هل أنت هنا؟ نعم.", "هل أنت هنا؟"),
    ("今天天气很好。明天呢？", "今天天气很好。"),
    ("「行こう。」と言った。", "「行こう。」"),
    ("好！！是", "好！！"),
    ("Բարեւ։ Այո։", "Բարեւ։"),
    ("ሰላም። እሺ።", "ሰላም።"),
    ("ខ្ញុំ។ អ្នក។", "ខ្ញុំ។"),
    ("She said… Yes.", "She said…"),
    ("3.5 mm. Next.", "3.5 mm."),
    ("What?! Yes.", "What?!"),
    ("no end", "no end"),
]


@pytest.mark.parametrize(("text", "first"), SENTENCES)
def test_the_first_sentence(text, first):
    assert segmentation.first_sentence(text) == first


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab .!?\n\"'é"), max_size=30))
def test_sentences_of_english_end_as_ever(text):
    found = re.match(r"(?s).+?[.!?](?=\s|$)", text)
    assert segmentation.first_sentence(text) == (found.group() if found else text)


@pytest.mark.parametrize(("text", "first"), SENTENCES)
def test_the_sentences_of_a_text_begin_with_the_first(text, first):
    found = segmentation.sentences(text)
    assert found[0] == first.strip()
    assert "".join("".join(found).split()) == "".join(text.split())


def test_a_text_without_an_end_is_one_sentence():
    assert segmentation.sentences("no end") == ["no end"]
    assert segmentation.sentences("") == [""]
