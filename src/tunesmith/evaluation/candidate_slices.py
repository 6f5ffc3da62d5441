"""Sets of rows in which a model may be weak, chosen without knowing which answers are right.

By length, true label, answer, columns of the file, script, words, and clusters of what the head reads (named by
the words that tell a cluster from the other rows). Each name continues "on the 48 rows …".
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.segmentation import words
from tunesmith.tasks._values import strings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.evaluation.scoring import Scored
    from tunesmith.tasks import Values

_UPPER, _LOWER = (0.5, 0.75, 0.9, 0.95), (0.05, 0.1, 0.25, 0.5)
_MOST_WORDS, _MOST_SHARE = 200, 0.2
_MOST_VALUES = 30
_MOST_CLUSTERS, _ROWS_A_CLUSTER = (5, 20), 50
_TELLING = 3


@dataclass(frozen=True)
class Slice:
    """Some of the rows.

    Args:
        kind: `length`, `true_label`, `answer`, `column`, `script`, `word` or `cluster`.
        name: which rows, for people.
        rows: [rows], whether each row is one of them.
    """

    kind: str
    name: str
    rows: NDArray[np.bool_]


def candidates(scored: Scored, features: NDArray[np.float32] | None, *, least: int, seed: int) -> list[Slice]:
    """Every candidate that has at least `least` rows, and leaves as many; each set of rows once.

    Args:
        scored: rows with their answers.
        features: [rows, d], what the head reads; None where a row has no vector.
        least: the smallest number of rows.
        seed: random seed of the clusters.
    """
    texts = row_texts(scored)
    vocabulary = [{word.lower() for word in words(text) if _tells(word)} for text in texts]
    found = [
        *_by_length(scored),
        *_by_label(scored),
        *_by_column(scored.examples.extra, least),
        *_by_value("script", "written in {}", [script_of(text) for text in texts]),
        *_by_word(vocabulary, least),
        *_by_cluster(features, vocabulary, seed),
    ]
    distinct = {
        each.rows.tobytes(): each
        for each in reversed(found)
        if least <= each.rows.sum() <= len(texts) - least
    }
    return list(reversed(distinct.values()))


def row_texts(scored: Scored) -> list[str]:
    """[rows], the texts of each row's inputs, one after the other."""
    columns = _text_columns(scored)
    return ["\n".join(parts) for parts in zip(*columns.values(), strict=True)]


def _text_columns(scored: Scored) -> dict[str, list[str]]:
    """The texts of each input column."""
    shown = [name for name in scored.task.shown if name in scored.examples.columns]
    return {name: [_text(value) for value in scored.examples.columns[name]] for name in shown}


def _text(value: Any) -> str:
    """A value as one text: a text, words, or messages."""
    return value if isinstance(value, str) else " ".join(strings(value))


def _by_length(scored: Scored) -> Iterator[Slice]:
    columns = _text_columns(scored)
    for name, texts in columns.items():
        lengths = np.array([len(words(text)) for text in texts])
        owner = "text" if len(columns) == 1 else f"`{name}`"
        for q in _UPPER:
            bound = int(np.quantile(lengths, q))
            yield Slice("length", f"whose {owner} has over {bound:,} words", lengths > bound)
        for q in _LOWER:
            bound = int(np.quantile(lengths, q))
            yield Slice("length", f"whose {owner} has at most {bound:,} words", lengths <= bound)


def _by_label(scored: Scored) -> Iterator[Slice]:
    """By true and by answered labels, where labels have names, and by whether there is any answer."""
    known = frozenset(map(str, scored.label_schema.get("labels", ())))
    gold = [labels_of(value) for value in scored.gold]
    yield from _by_member("true_label", "whose true label is `{}`", gold, known)
    answered = [labels_of(prediction) for prediction in scored.predictions]
    yield from _by_member("answer", "that are answered `{}`", answered, known)
    if all(isinstance(value, list) for value in scored.gold):
        empty = np.array([not value for value in scored.gold])
        yield Slice("true_label", "whose true answer is empty", empty)
        yield Slice("true_label", "whose true answer is not empty", ~empty)


def labels_of(value: Any) -> list[str]:
    """The labels of a true answer or of a prediction: a label, several, or those of entities."""
    if isinstance(value, str | bool):
        return [str(value)]
    if isinstance(value, list):
        return [label for item in value for label in labels_of(item)]
    if isinstance(value, dict):
        for key in ("label", "labels", "entity_group", "entities", "similar"):
            if key in value:
                return labels_of(value[key])
    return []


def _by_member(
    kind: str, name: str, labels: Sequence[Sequence[str]], known: frozenset[str]
) -> Iterator[Slice]:
    members = [known.intersection(of_row) for of_row in labels]
    for label in sorted(known):
        yield Slice(kind, name.format(label), np.array([label in of_row for of_row in members], dtype=bool))


def _by_column(extra: Values, least: int) -> Iterator[Slice]:
    """By the values of columns that are not the task's: each value, or parts of a range of numbers."""
    for column, values in extra.items():
        listed = list(values)
        if len({str(value) for value in listed}) <= _MOST_VALUES:
            yield from _by_value("column", f"whose `{column}` is `{{}}`", [str(value) for value in listed])
            continue
        numbers = [
            value for value in listed if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        if len(numbers) == len(listed):
            yield from _by_number(column, np.array(numbers, dtype=np.float64))
        else:
            frequent = Counter(map(str, listed)).most_common(_MOST_VALUES)
            kept = {value for value, n in frequent if n >= least}
            shown = [str(value) if str(value) in kept else "" for value in listed]
            yield from _by_value("column", f"whose `{column}` is `{{}}`", shown)


def _by_number(column: str, values: NDArray[np.float64]) -> Iterator[Slice]:
    for q in (0.25, 0.5, 0.75):
        bound = float(np.quantile(values, q))
        yield Slice("column", f"whose `{column}` is over {bound:.6g}", values > bound)
        yield Slice("column", f"whose `{column}` is at most {bound:.6g}", values <= bound)


def _by_value(kind: str, name: str, values: Sequence[str]) -> Iterator[Slice]:
    array = np.array(values)
    for value in sorted(set(values) - {""}):
        yield Slice(kind, name.format(value), array == value)


def script_of(text: str) -> str:
    """The script of most letters of a text, as Unicode names it: `Latin`, `Cyrillic`, `Hangul`; empty without."""
    if text.isascii():
        return "Latin" if any(character.isalpha() for character in text) else ""
    names = Counter(
        unicodedata.name(character, "").partition(" ")[0] for character in text if character.isalpha()
    )
    if names["HIRAGANA"] or names["KATAKANA"]:
        return "Japanese"
    script = max(names, key=lambda name: (names[name], name), default="")
    return {"CJK": "Chinese"}.get(script, script.capitalize())


def _by_word(vocabulary: Sequence[set[str]], least: int) -> Iterator[Slice]:
    """By words; those in more than a fifth of the rows are mostly words of grammar, in any language."""
    counts = Counter(word for of_row in vocabulary for word in of_row)
    usable = [(word, n) for word, n in counts.items() if least <= n <= _MOST_SHARE * len(vocabulary)]
    for word, _ in sorted(usable, key=lambda found: (-found[1], found[0]))[:_MOST_WORDS]:
        yield Slice("word", f"with the word `{word}`", np.array([word in of_row for of_row in vocabulary]))


def _tells(word: str) -> bool:
    """Whether a word says what a text is about: no number, and no single letter of an alphabet."""
    return not word.isnumeric() and (len(word) > 1 or not word.isascii())


def _by_cluster(
    features: NDArray[np.float32] | None, vocabulary: Sequence[set[str]], seed: int
) -> Iterator[Slice]:
    if features is None:
        return
    wanted = {int(np.clip(len(features) // _ROWS_A_CLUSTER, 2, most)) for most in _MOST_CLUSTERS}
    for n_clusters in sorted(wanted):
        members = cluster(features, n_clusters, seed)
        for number, telling in enumerate(_telling_words(members, vocabulary)):
            about = ", ".join(f"`{word}`" for word in telling) or "no word in particular"
            yield Slice("cluster", f"of the cluster about {about}", members == number)


def cluster(features: NDArray[np.float32], n_clusters: int, seed: int) -> NDArray[np.int64]:
    """[rows], the cluster of each row: k-means on the directions of vectors [rows, d]."""
    from sklearn.cluster import MiniBatchKMeans

    directions = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    means = MiniBatchKMeans(n_clusters, random_state=seed, n_init=3, batch_size=4096)
    return np.asarray(means.fit_predict(directions.astype(np.float32)), dtype=np.int64)


def _telling_words(members: NDArray[np.int64], vocabulary: Sequence[set[str]]) -> list[list[str]]:
    """The words of each cluster that are more frequent in it than elsewhere, weighted by how frequent they are."""
    n_clusters = int(members.max()) + 1
    counts = [Counter[str]() for _ in range(n_clusters)]
    for number, of_row in zip(members.tolist(), vocabulary, strict=True):
        counts[number].update(of_row)
    everywhere = Counter(word for of_row in vocabulary for word in of_row)
    sizes, n = np.bincount(members, minlength=n_clusters), len(members)

    def telling(number: int) -> list[str]:
        size = int(sizes[number])
        scores = {
            word: inside
            / size
            * np.log(((inside + 0.5) / size) / ((everywhere[word] - inside + 0.5) / (n - size + 1)))
            for word, inside in counts[number].items()
        }
        best = sorted(scores, key=lambda word: (-scores[word], word))[:_TELLING]
        return [word for word in best if scores[word] > 0]

    return [telling(number) for number in range(n_clusters)]
