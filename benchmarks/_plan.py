"""Who runs, on what, in which order: data sets, contenders and the cells of a round."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

BATCH = 16
"""Of a data set that is only run by name, and of the whole trainings."""


@dataclass(frozen=True)
class DataSet:
    """A folder with train.csv and test.csv.

    Args:
        label: the column of labels.
        batches: that are measured when none are asked for; none of a set that is only run by name.
    """

    label: str = "label"
    batches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Contender:
    """A program with its settings.

    Args:
        name: on the command line.
        title: in the table.
        program: of `_child_stretch.py` or `_child_answers.py`.
        options: of the program.
        batches: `each`; `smallest`, where the batch hardly matters and a step takes seconds; `own`.
        needs: a package that must be installed.
        on_request: left out unless named.
    """

    name: str
    title: str
    program: str
    options: dict[str, Any] = field(default_factory=dict)
    batches: str = "each"
    needs: str = ""
    on_request: bool = False


@dataclass(frozen=True)
class Cell:
    """One measurement of a round.

    Args:
        data: name of the data set.
        batch: rows of a step; 0 where the contender chooses.
        contender: that is measured.
    """

    data: str
    batch: int
    contender: Contender

    def __str__(self) -> str:
        return f"{self.data}, batch {self.batch or 'auto'}, {self.contender.name}"


FACTS = Contender("facts", "", "facts")
"""Goes before the contenders of a data set: lengths, and the rate of matrix products at this moment."""
DATA = {
    "banking77": DataSet("category", (8, 16, 32)),
    "ag_news": DataSet(batches=(16,)),
    "sst2": DataSet(),
}
# What Trainer does by default and ours does otherwise.
SAME = {"train.pooling": "first", "train.warmup_steps": 0.0, "train.weight_decay": 0.0}
_FLAGS = "Trainer, bf16, length groups, fused AdamW"
CONTENDERS = (
    Contender(
        "trainer-max-length",
        'Trainer, the tutorial (`padding="max_length"`)',
        "trainer",
        {"padding": "max_length"},
        batches="smallest",
    ),
    Contender("trainer", "Trainer, dynamic padding", "trainer"),
    Contender("trainer-fast-eager", f"{_FLAGS} (eager)", "trainer", {"fast": True, "attention": "eager"}),
    Contender("trainer-fast-sdpa", f"{_FLAGS} (SDPA)", "trainer", {"fast": True, "attention": "sdpa"}),
    Contender(
        "trainer-compile",
        f"{_FLAGS}, `torch_compile` (SDPA)",
        "trainer",
        {"fast": True, "attention": "sdpa", "compile": True},
        on_request=True,
    ),
    Contender(
        "sentence-transformers",
        "sentence-transformers, triplets, bf16, fused AdamW",
        "sentence-transformers",
        needs="sentence_transformers",
    ),
    Contender("ours-same", "tunesmith, the same settings", "ours", {"recipe": SAME}),
    Contender("ours", "tunesmith, defaults", "ours", batches="own"),
)
TO_QUALITY = (
    Contender("trainer-fast-eager", f"{_FLAGS} (eager)", "trainer", {"fast": True, "attention": "eager"}),
    Contender("trainer", "Trainer, dynamic padding", "trainer", on_request=True),
    Contender("ours-same", "tunesmith, the same settings", "ours", {"recipe": SAME}),
    Contender("ours", "tunesmith, defaults", "ours", {"defaults": True}),
)
ANSWERING = (
    Contender("pipeline", "transformers pipeline, float32", "pipeline", {"dtype": "float32"}),
    Contender("pipeline-bf16", "transformers pipeline, bfloat16", "pipeline", {"dtype": "bfloat16"}),
    Contender(
        "onnx-fp32", "ONNX Runtime, fp32 (our export)", "exported", {"to": "onnx"}, needs="onnxruntime"
    ),
    Contender(
        "onnx-int8", "ONNX Runtime, int8 (our export)", "exported", {"to": "onnx-int8"}, needs="onnxruntime"
    ),
    Contender("ours", "tunesmith", "ours"),
    Contender("ours-bf16", "tunesmith, bfloat16 (our export)", "exported", {"to": "bf16"}),
)


def cells(wanted: Sequence[str], batches: Sequence[int], contenders: Sequence[Contender]) -> Iterator[Cell]:
    """The measurements of a round, in turn.

    Args:
        wanted: data sets; those with batches of their own when empty.
        batches: of all of them; their own when empty.
        contenders: that take part.
    """
    for data in wanted or [name for name, found in DATA.items() if found.batches]:
        sizes = sorted(batches or DATA[data].batches or (BATCH,))
        for size in sizes:
            for contender in contenders:
                if contender.batches == "each" or (contender.batches == "smallest" and size == sizes[0]):
                    yield Cell(data, size, contender)
        yield from (Cell(data, 0, contender) for contender in contenders if contender.batches == "own")


def taking_part(contenders: Iterable[Contender], only: Sequence[str]) -> tuple[list[Contender], list[str]]:
    """Those that are named, or all but those on request; and why any of them cannot be run.

    Args:
        contenders: that there are.
        only: names; all when empty.
    """
    wanted = [c for c in contenders if (c.name in only if only else not c.on_request)]
    absent = [c for c in wanted if c.needs and importlib.util.find_spec(c.needs) is None]
    return [c for c in wanted if c not in absent], [f"{c.name}: {c.needs} is not installed" for c in absent]


def sample_rows(rows: Sequence[Any], n: int | None, m: int) -> tuple[list[Any], list[Any]]:
    """Two random parts that share no row, of at most n (else all) and of m rows; always the same."""
    shuffled = list(rows)
    random.Random(0).shuffle(shuffled)
    n = len(shuffled) - m if n is None else min(n, len(shuffled) - m)
    return shuffled[:n], shuffled[n : n + m]
