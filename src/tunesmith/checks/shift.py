"""Whether validation and test rows are like the training rows: in their vectors, their labels and their words.

Vectors are the features of the frozen model, or the words where a task has none. A linear classifier tries to
tell the two sets apart (`_two_samples.py`), and label counts are compared by chi-square. Both alarm at p ≤ 0.01:
rows that were split by chance alarm in at most 2 of 100 tests, whatever the model. Words and lengths are not
tested, they describe what the test has found.

The size of a difference is the AUC of the classifier: 0.5 is none, and from 0.7 on a finding is a warning. A
group is one observation: with fewer than 50 texts or groups on a side, nothing is tested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.checks._probing import independent_rows
from tunesmith.checks._two_samples import Difference, tell_apart
from tunesmith.checks._words import Presence, log_odds, presence, row_texts
from tunesmith.encoded import Ragged

if TYPE_CHECKING:
    from tunesmith.data.examples import Examples
    from tunesmith.encoded import Encoded
    from tunesmith.training.probe import Features
    from tunesmith.types import JsonObject

_LEVEL = 0.01
_WARN_AUC, _WARN_DISTANCE = 0.7, 0.1
_MOST_ROWS, _FEWEST_ROWS = 1500, 50
_MOST_TEXTS = 10_000
_DIMENSIONS = 256
_SHOWN_WORDS, _SHOWN_LABELS, _SHOWN_ROWS = 5, 3, 50
_FEWEST_TEXTS = 5
_WORD_Z = 4.0
"""Standard errors from which a word is named; among 50,000 words, chance gives three."""
_LONGER = 1.25


def _find(data: CheckedData) -> Iterable[Finding]:
    for split in ("validation", "test"):
        if split in data.splits:
            yield from _shifted(data, split)


def _shifted(data: CheckedData, split: str) -> Iterator[Finding]:
    difference, rows = _difference(data, split)
    if difference is not None and difference.p <= _LEVEL:
        yield _of_texts(data, split, difference, rows)
    yield from _of_labels(data, split)


def _difference(data: CheckedData, split: str) -> tuple[Difference | None, NDArray[np.int64]]:
    """How well the rows of a split can be told from training rows, and which of its rows were tried."""
    task, group_by = data.task, data.recipe.data.group_by
    chosen = [
        independent_rows(task, data.splits[name], group_by, data.seed, _MOST_ROWS)
        for name in ("train", split)
    ]
    if min(map(len, chosen)) < _FEWEST_ROWS:
        return None, chosen[1]
    if data.features is None:
        one, other = _word_vectors(data, split, *chosen)
    else:
        one, other = (
            row_vectors(*data.features(name))[rows]
            for name, rows in zip(("train", split), chosen, strict=True)
        )
    return tell_apart(one, other, seed=data.seed), chosen[1]


def row_vectors(features: Features, encoded: Encoded) -> NDArray[np.float32]:
    """[rows, d], one vector a row: the mean over its sequences and tokens.

    Args:
        features: inputs of the head.
        encoded: sequences of the rows.
    """
    if isinstance(features, Ragged):
        sums, counts = features.sums(), features.lengths.astype(np.float64)
    else:
        sums, counts = features, np.ones(len(features))
    total = encoded.sum_by_row(counts)
    means = encoded.sum_by_row(sums) / np.maximum(total, 1.0)[:, None]
    return np.asarray(means, dtype=np.float32)


def _word_vectors(
    data: CheckedData, split: str, ours: NDArray[np.int64], theirs: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors from the words: a random projection of which words a row has, rare ones counting more."""
    texts = [
        *row_texts(data.splits["train"], ours.tolist()),
        *row_texts(data.splits[split], theirs.tolist()),
    ]
    found = presence(texts, fewest=2)
    counts = np.asarray(found.table.sum(axis=0)).ravel()
    rare = np.log(len(texts) / np.maximum(counts, 1)) + 1
    projection = np.random.default_rng(data.seed).standard_normal((len(rare), _DIMENSIONS))
    vectors = np.asarray(found.table @ (rare[:, None] * projection), dtype=np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors[: len(ours)], vectors[len(ours) :]


def _of_texts(data: CheckedData, split: str, difference: Difference, rows: NDArray[np.int64]) -> Finding:
    words, evidence = _described(data.splits["train"], data.splits[split], split, data.seed)
    unlike = difference.scores[-len(rows) :]
    order = np.argsort(-unlike, kind="stable")[:_SHOWN_ROWS]
    text = (
        f"the {split} texts are unlike the training texts: a linear classifier tells them apart with an AUC of "
        f"{difference.auc:.2f} (0.5 is chance; p = {difference.p:.3f})"
    )
    return Finding(
        "shift",
        "warn" if difference.auc >= _WARN_AUC else "note",
        "; ".join([text, *words]),
        f"Find out where the {split} rows come from. If the model is for such texts, add training rows like them; "
        f"a score on rows like the training rows is too good for them.",
        [FoundRow(split, int(rows[at]), float(unlike[at])) for at in order],
        {"split": split, "of": "texts", "auc": difference.auc, "p": difference.p, **evidence},
    )


def _described(train: Examples, other: Examples, split: str, seed: int) -> tuple[list[str], JsonObject]:
    """What differs, in words for people and as JSON."""
    samples = [_sampled_texts(examples, seed) for examples in (train, other)]
    words = telling_words(presence([*samples[0], *samples[1]], fewest=_FEWEST_TEXTS), len(samples[0]))
    said = []
    if words[0]:
        said.append(f"more frequent in {split}: {_listed(words[0])}")
    if words[1]:
        said.append(f"more frequent in train: {_listed(words[1])}")
    lengths = [float(np.median([len(text.split()) for text in texts])) for texts in samples]
    if max(lengths) > _LONGER * max(1.0, min(lengths)):
        said.append(
            f"half of the {split} texts have over {lengths[1]:g} words, of the training texts {lengths[0]:g}"
        )
    evidence = {"words": [*words[0], *words[1]], "median_words": {"train": lengths[0], split: lengths[1]}}
    return said, evidence


def _sampled_texts(examples: Examples, seed: int) -> list[str]:
    rows = np.arange(len(examples))
    if len(rows) > _MOST_TEXTS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST_TEXTS, replace=False))
    return list(row_texts(examples, rows.tolist()))


def telling_words(found: Presence, n_train: int) -> tuple[list[JsonObject], list[JsonObject]]:
    """The words that tell two sets of texts apart: those of the other set, and those of the training texts.

    Args:
        found: which text has which token; the training texts come first.
        n_train: number of training texts.
    """
    n_other = found.table.shape[0] - n_train
    train, other = (
        np.asarray(part.sum(axis=0), dtype=np.float64).ravel()
        for part in (found.table[:n_train], found.table[n_train:])
    )
    z = log_odds(other, n_other, train, n_train)

    def told(order: NDArray[np.int64]) -> list[JsonObject]:
        return [
            {"word": found.tokens[i], "train": float(train[i] / n_train), "other": float(other[i] / n_other)}
            for i in order[:_SHOWN_WORDS]
            if abs(z[i]) >= _WORD_Z
        ]

    rising = np.argsort(z, kind="stable")
    return told(rising[::-1][: np.count_nonzero(z > 0)]), told(rising[: np.count_nonzero(z < 0)])


def _listed(words: Sequence[JsonObject]) -> str:
    return ", ".join(f"`{it['word']}` ({it['other']:.1%}, in train {it['train']:.1%})" for it in words)


def _of_labels(data: CheckedData, split: str) -> Iterator[Finding]:
    """Labels whose shares differ between training rows and those of a split."""
    names = [it.name for it in data.task.columns if it.target and it.kind == "category"]
    if len(names) != 1 or any(names[0] not in data.splits[name].columns for name in ("train", split)):
        return
    counts = [Counter(map(str, data.splits[name].columns[names[0]])) for name in ("train", split)]
    p, distance = compare_counts(*counts)
    if p > _LEVEL:
        return
    shares = [{label: n / counted.total() for label, n in counted.items()} for counted in counts]
    yield Finding(
        "shift",
        "warn" if distance >= _WARN_DISTANCE else "note",
        f"the labels are not as frequent in {split} as in train (p = {_p(p)}): {_moved(*shares)}",
        f"Choose {split} rows with the shares that the model will meet, or weigh the scores by label.",
        evidence={
            "split": split,
            "of": "labels",
            "p": p,
            "distance": distance,
            "shares": dict(zip(("train", split), shares, strict=True)),
        },
    )


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "below 0.001"


def compare_counts(train: Mapping[str, int], other: Mapping[str, int]) -> tuple[float, float]:
    """The p-value of chi-square for two sets of counts, and their distance: the share of rows that have to move.

    Labels of which fewer than 5 rows are expected are counted together.

    Args:
        train: number of rows by label.
        other: number of rows by label.
    """
    from scipy.stats import chi2_contingency

    labels = sorted({*train, *other})
    table = np.array(
        [[counts.get(label, 0) for label in labels] for counts in (train, other)], dtype=np.float64
    )
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    expected = table.sum(axis=0) * table.sum(axis=1).min() / max(table.sum(), 1)
    rare = expected < 5
    pooled = np.concatenate([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)], axis=1)
    pooled = pooled[:, pooled.sum(axis=0) > 0]
    if pooled.shape[1] < 2 or not pooled.sum(axis=1).all():
        return 1.0, distance
    return float(chi2_contingency(pooled, correction=False).pvalue), distance


def _moved(train: Mapping[str, float], other: Mapping[str, float]) -> str:
    """The labels whose shares differ most."""
    labels = sorted(
        {*train, *other}, key=lambda label: (-abs(train.get(label, 0) - other.get(label, 0)), label)
    )
    shown = [
        f"`{label}` {train.get(label, 0):.1%} to {other.get(label, 0):.1%}"
        for label in labels[:_SHOWN_LABELS]
    ]
    return ", ".join(shown) + (", …" if len(labels) > _SHOWN_LABELS else "")


check = Check("validation and test rows that are unlike the training rows", _find, uses_features=True)
