"""One way to answer texts, in its own process: `python benchmarks/_child_answers.py '{"program": "ours", …}'`.

All texts at once give texts a second, from strings to labels; some of them one at a time give the latency. The
pipeline of transformers takes the batch size that was best on a part of the texts.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _stretch import peak_memory_bytes

_BATCHES = (1, 8, 32, 128)
_TEXTS_TO_CHOOSE_FROM = 512
_LATENCY_TEXTS, _WARM_TEXTS = 200, 32

Answer = Callable[[Sequence[str]], list[str]]
"""Texts to their labels."""


def ours(run: str, **_: Any) -> Answer:
    """`tunesmith.load(run)`."""
    import tunesmith

    tunesmith.tune_process()  # as the command line does
    predictor = tunesmith.load(run)
    return lambda texts: [str(answer["label"]) for answer in predictor(list(texts))]


def pipeline(run: str, dtype: str = "float32", **_: Any) -> Answer:
    """`transformers.pipeline`, with the best of several batch sizes."""
    from transformers import pipeline as make
    from transformers.utils import logging

    logging.set_verbosity_error()
    answers = make("text-classification", model=str(Path(run) / "model"), dtype=dtype, device="cpu")
    best: list[int] = []

    def labels(texts: Sequence[str], batch: int) -> list[str]:
        return [answer["label"] for answer in answers(list(texts), batch_size=batch, truncation=True)]

    def answer(texts: Sequence[str]) -> list[str]:
        if len(texts) == 1:
            return labels(texts, 1)
        if not best:
            some = texts[:_TEXTS_TO_CHOOSE_FROM]
            best.append(min(_BATCHES, key=lambda batch: _seconds(lambda: labels(some, batch))))
        return labels(texts, best[0])

    answer.batches = best  # type: ignore[attr-defined]
    return answer


def exported(run: str, folder: str = "", **_: Any) -> Answer:
    """Our export of the run, read by our predictor."""
    return ours(folder)


PROGRAMS: dict[str, Callable[..., Answer]] = {"ours": ours, "pipeline": pipeline, "exported": exported}


def measure(answer: Answer, texts: Sequence[str]) -> dict[str, Any]:
    """Texts a second over all, seconds of each of some, and the labels.

    Args:
        answer: that is measured.
        texts: for it.
    """
    answer(texts[:_TEXTS_TO_CHOOSE_FROM])  # warms up, and chooses
    began = time.perf_counter()
    labels = answer(texts)
    seconds = time.perf_counter() - began
    for text in texts[:_WARM_TEXTS]:
        answer([text])
    each = [_seconds(lambda text=text: answer([text])) for text in _spread(texts, _LATENCY_TEXTS)]
    return {
        "texts_per_s": len(texts) / seconds,
        "p50_ms": 1000 * percentile(each, 0.5),
        "p99_ms": 1000 * percentile(each, 0.99),
        "batch": next(iter(getattr(answer, "batches", [])), None),
        "labels": labels,
    }


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def _spread(texts: Sequence[str], n: int) -> list[str]:
    """So many texts from all over the file."""
    return list(texts[:: max(1, len(texts) // n)])[:n]


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measures what the argument specifies and prints the result."""
    spec = json.loads(sys.argv[1])
    with open(spec["texts"], encoding="utf-8", newline="") as handle:
        texts = [row["text"] for row in csv.DictReader(handle)]
    with contextlib.redirect_stdout(sys.stderr):
        result = measure(PROGRAMS[spec["program"]](spec["run"], **spec.get("options", {})), texts)
    print(json.dumps(result | {"peak_bytes": peak_memory_bytes()}))


if __name__ == "__main__":
    main()
