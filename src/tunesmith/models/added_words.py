"""Adds words of a field to a model: words that its tokenizer breaks into many pieces become tokens of their own.

The row of a new token begins at the mean of the rows of its pieces, in the token table and in the output layer (as
in Hewitt 2021, "Initializing New Word Embeddings"; a random row would first have to be moved to where the others
are). The words are added tokens of the tokenizers library, which match whole words only. So the other words of a
text keep their pieces, and plain transformers reads the saved files with the same result.

Tokenizers that write the space before a word into its first piece (byte-level BPE, Unigram) have the space as a
piece of its own before an added word. Most with a Unigram model begin a new text after it, too, so that `word,` is
written as `word ,`. That does no harm where texts are only read, and is refused where they are written.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import regex

from tunesmith.errors import RecipeError
from tunesmith.models.quiet import quiet

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Model, Tokenizer

KEY = "train.add_tokens"
LEAST_COUNT = 10
"""Occurrences in the training texts below which `auto` leaves a word as it is: its row would hardly learn."""
LEAST_PIECES = 3
MOST_WORDS = 1_000
"""Most words that `auto` adds; those that save the most tokens come first."""
MOST_LISTED = 20_000
"""Most words of a file."""

# What `single_word` of the tokenizers library calls a word (UTS #18); `\w` of Python is narrower.
_WORD = regex.compile(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+")
_SPACES = " \u2581\u0120"
_BEFORE = "a "
"""A word is read after another, since some tokenizers read the first word of a text in another way."""
_SAMPLED_TEXTS = 200


def choose_words(texts: Iterable[str], tokenizer: Tokenizer) -> list[str]:
    """The frequent words of some texts that a tokenizer breaks into many pieces, or does not know.

    Args:
        texts: training texts.
        tokenizer: tokenizer of the model.

    Returns:
        Words as the tokenizer reads them (in lower case, if it is uncased); those that save most tokens first.

    Raises:
        RecipeError: the tokenizer finds no added word again.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_WORD.findall(_normalized(text, tokenizer)))
    frequent = [word for word, n in counts.items() if n >= LEAST_COUNT]
    pieces = pieces_of(frequent, tokenizer)
    known = tokenizer.get_vocab()
    found = [word for word in frequent if _is_broken(pieces[word], tokenizer) and word not in known]
    found.sort(key=lambda word: (-counts[word] * (len(pieces[word]) - 1), word))
    found = found[:MOST_WORDS]
    usable = readable(found, tokenizer)
    if found and not usable:
        raise RecipeError(
            f"{KEY} is not for this tokenizer: it does not split texts into words, and finds no added word again.",
            remedy="Leave it out, or choose a model with another kind of tokenizer.",
        )
    return [word for word in found if word in usable]


def read_words(file: str | Path, tokenizer: Tokenizer) -> list[str]:
    """The words of a file that a tokenizer does not have as one token.

    Args:
        file: text file in UTF-8, with one word a line; empty lines are left out.
        tokenizer: tokenizer of the model.

    Raises:
        RecipeError: there is no such file, it is not UTF-8, it has no words or too many, or a line is no word.
    """
    try:
        lines = Path(file).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{KEY} must be `auto` or a text file in UTF-8, and `{file}` cannot be read: "
            f"{getattr(error, 'strerror', None) or error}.",
            remedy="Give a file with one word a line.",
        ) from None
    listed = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not 0 < len(listed) <= MOST_LISTED:
        raise RecipeError(
            f"{KEY} must name a file with 1 to {MOST_LISTED:,} words, got {len(listed):,}.",
            location=str(file),
            remedy="Write one word a line, the most important ones only.",
        )
    words = dict.fromkeys(_as_read(line, tokenizer, f"{file}, line {number}") for number, line in listed)
    pieces, known = pieces_of(list(words), tokenizer), tokenizer.get_vocab()
    one_piece = {
        word for word in words if len(pieces[word]) == 1 and tokenizer.unk_token_id not in pieces[word]
    }
    found = [word for word in words if word not in known and word not in one_piece]
    if unusable := {word for word in found if not pieces[word]} | (set(found) - readable(found, tokenizer)):
        raise RecipeError(
            f"the tokenizer cannot have `{min(unusable)}` as a token.",
            location=str(file),
            remedy="Take the word out.",
        )
    return found


def _as_read(line: str, tokenizer: Tokenizer, location: str) -> str:
    """A word of a file as the tokenizer reads it."""
    if _WORD.fullmatch(line):
        found = _WORD.findall(_normalized(line, tokenizer))
        if len(found) == 1:
            return str(found[0])
    raise RecipeError(
        f"a word must consist of letters, digits and `_`, got `{line[:60]}`.",
        location=location,
        remedy="Write each word on a line of its own; the parts of a word with a hyphen are words.",
    )


def _normalized(text: str, tokenizer: Tokenizer) -> str:
    normalizer = tokenizer.backend_tokenizer.normalizer
    return text if normalizer is None else str(normalizer.normalize_str(text))


def pieces_of(words: Sequence[str], tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Token ids of each word within a text, without those of spaces.

    Args:
        words: words.
        tokenizer: tokenizer that does not have them yet.
    """
    if not words:
        return {}
    encoded = tokenizer(
        [_BEFORE + word for word in words],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        verbose=False,
    )
    found = {}
    for word, ids, offsets in zip(words, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        of_word = [one for one, (_, end) in zip(ids, offsets, strict=True) if end > len(_BEFORE)]
        named = zip(of_word, tokenizer.convert_ids_to_tokens(of_word), strict=True)
        found[word] = [one for one, name in named if name.strip(_SPACES)]
    return found


def _is_broken(pieces: Sequence[int], tokenizer: Tokenizer) -> bool:
    return len(pieces) >= LEAST_PIECES or tokenizer.unk_token_id in pieces


def readable(words: Sequence[str], tokenizer: Tokenizer) -> set[str]:
    """The words that a tokenizer reads as one token, once they are added to it."""
    if not words:
        return set()
    tried = copy.deepcopy(tokenizer)
    extend(tried, words)
    encoded = tried([_BEFORE + word for word in words], add_special_tokens=False, verbose=False)["input_ids"]
    ids = zip(words, tried.convert_tokens_to_ids(list(words)), encoded, strict=True)
    return {word for word, own, read in ids if own in read and own >= len(tokenizer)}


def extend(tokenizer: Tokenizer, words: Sequence[str]) -> None:
    """Adds words to a tokenizer; each is found as a whole word only."""
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in words])


def refuse_other_texts(words: Sequence[str], texts: Iterable[str], tokenizer: Tokenizer) -> None:
    """Raises RecipeError if texts with the words would be written otherwise than they were read.

    Args:
        words: words to be added.
        texts: training texts, of which some with the words are tried.
        tokenizer: tokenizer without the words.
    """
    tried, wanted = copy.deepcopy(tokenizer), set(words)
    extend(tried, words)
    n = 0
    for text in texts:
        if n == _SAMPLED_TEXTS:
            return
        if wanted.isdisjoint(_WORD.findall(_normalized(text, tokenizer))):
            continue
        n += 1
        before, after = (
            one.decode(one(text, add_special_tokens=False, verbose=False)["input_ids"])
            for one in (tokenizer, tried)
        )
        if before != after:
            raise RecipeError(
                f"{KEY} is not for a model with this tokenizer that writes texts: it would write "
                f"`{_difference(before, after)}` with other spaces.",
                remedy="Leave it out, or choose a model whose tokenizer is a byte-level BPE.",
            )


def _difference(before: str, after: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    return before[max(0, at - 20) : at + 20]


def add_words(model: Model, tokenizer: Tokenizer, words: Sequence[str]) -> None:
    """Adds words to a model and its tokenizer, in place; their rows begin at the mean of their pieces.

    Args:
        model: model of transformers.
        tokenizer: tokenizer of the model.
        words: words that the tokenizer does not have.
    """
    import torch

    pieces = pieces_of(words, tokenizer)
    extend(tokenizer, words)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        with quiet():
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    ids = tokenizer.convert_tokens_to_ids(list(words))
    with torch.no_grad():
        for table in _tables(model):
            for word, own in zip(words, ids, strict=True):
                table[own] = table[pieces[word]].mean(dim=0)


def _tables(model: Model) -> list[torch.Tensor]:
    """The tensors with a row for each token, each once: of the inputs and of the outputs, with their biases."""
    output = model.get_output_embeddings()
    found = [model.get_input_embeddings().weight]
    if output is not None:
        found += [output.weight, *([output.bias] if getattr(output, "bias", None) is not None else [])]
    shifts = getattr(model, "final_logits_bias", None)  # [1, tokens], of BART and Marian
    if shifts is not None:
        found.append(shifts[0])
    return list({one.data_ptr(): one for one in found}.values())
