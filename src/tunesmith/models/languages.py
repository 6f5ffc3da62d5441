"""Whether a base model was made for the language of the texts, as far as its tokenizer and its card show.

A tokenizer has whole words of the languages that it was made from, and splits the words of other languages into
pieces. Rare and technical words are split in every language, so only the most frequent words of the texts count.
Measured with the default model, pieces per frequent word: English from 1.0 (reviews) to 1.4 (abstracts of medical
papers), French 1.7, Spanish 1.9, German 2.0 to 2.5, Arabic 4.5; of Chinese it knows less than half of the signs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.segmentation import words

if TYPE_CHECKING:
    from pathlib import Path

    from tunesmith.types import Tokenizer

_ENGLISH_TEXT = (
    "the of and to in a is that for it as was with be by on not i this are or his from at which but have an had "
    "they you were there been their one all we him her has would when if so no who will more out do my what"
)
_ENGLISH = frozenset(_ENGLISH_TEXT.split())
_FREQUENT_WORDS = 200
_FEWEST_WORDS = 20
_ENGLISH_SHARE = 0.2  # English texts: 0.3 to 0.5; German, French and Spanish: at most 0.1
_UNKNOWN_SHARE = 0.1
_WHOLE_WORDS = 1.5  # above: a tokenizer of characters or bytes, whose pieces say nothing
_PIECES_RATIO = 1.6
_PIECES_RATIO_ENGLISH_CARD = 1.3


@dataclass(frozen=True)
class FrequentWords:
    """What a tokenizer makes of the most frequent words of some texts.

    Args:
        english: share of the words of all texts that are among the most frequent words of English.
        pieces: mean number of pieces of a frequent word.
        unknown: share of the frequent words that the tokenizer does not know.
    """

    english: float
    pieces: float
    unknown: float


def language_problem(tokenizer: Tokenizer, texts: Iterable[str], languages: Sequence[str]) -> str:
    """Why the model seems not to be made for the language of some texts; empty if it seems to be.

    Args:
        tokenizer: of the model.
        texts: a sample.
        languages: that the card of the model names; empty if it names none.
    """
    found = _measure(tokenizer, texts)
    if found is None:
        return ""
    if found.english >= _ENGLISH_SHARE:
        foreign = languages and "multilingual" not in languages and "en" not in languages
        return f"its card names {', '.join(languages)}, and the texts look English" if foreign else ""
    if found.unknown > _UNKNOWN_SHARE:
        return f"its tokenizer does not know {found.unknown:.0%} of the most frequent words"
    usual = _mean_pieces(tokenizer, _ENGLISH_TEXT.split())
    ratio = _PIECES_RATIO_ENGLISH_CARD if list(languages) == ["en"] else _PIECES_RATIO
    if usual > _WHOLE_WORDS or found.pieces < ratio * usual:
        return ""
    return (
        f"its tokenizer splits the most frequent words into {found.pieces:.1f} pieces on average "
        f"(frequent words of English: {usual:.1f})"
    )


def card_languages(folder: Path) -> list[str]:
    """The languages that the card of a model names, as codes; empty if it has no card or names none."""
    import yaml

    card = folder / "README.md"
    head = card.read_text(encoding="utf-8", errors="replace").split("---\n") if card.is_file() else []
    if len(head) < 3 or head[0].strip():
        return []
    try:
        named = (yaml.safe_load(head[1]) or {}).get("language") or []
    except (yaml.YAMLError, AttributeError):
        return []  # the card is for people; a model works without it
    # YAML 1.1 reads the code of Norwegian, `no`, as false.
    return ["no" if code is False else str(code) for code in (named if isinstance(named, list) else [named])]


def _measure(tokenizer: Tokenizer, texts: Iterable[str]) -> FrequentWords | None:
    counts = Counter(word for text in texts for word in words(text) if word.isalpha() or not word.isascii())
    if len(counts) < _FEWEST_WORDS:
        return None
    frequent = [word for word, _ in counts.most_common(_FREQUENT_WORDS)]
    english = sum(count for word, count in counts.items() if word.lower() in _ENGLISH)
    return FrequentWords(
        english / counts.total(),
        _mean_pieces(tokenizer, frequent),
        sum(not _is_known(tokenizer, word) for word in frequent) / len(frequent),
    )


def _mean_pieces(tokenizer: Tokenizer, some_words: Sequence[str]) -> float:
    return len(_ids(tokenizer, " ".join(some_words))) / len(some_words)


def _is_known(tokenizer: Tokenizer, word: str) -> bool:
    ids = _ids(tokenizer, word)
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        return False
    return any(character.isalnum() for character in tokenizer.decode(ids))


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
