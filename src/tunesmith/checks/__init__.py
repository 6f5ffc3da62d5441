"""What can be wrong with data, before a model is trained on them.

A file in this folder is a check; its name is the key in check.json. A check reads the splits of a recipe and gives
findings, each with the rows that it is about, its evidence and a remedy. Checks that need features of the frozen
model ask `CheckedData.features`, which computes them once for all checks and for the probe of a training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.registry import Registry

if TYPE_CHECKING:
    from tunesmith.data.examples import Examples
    from tunesmith.data.invalid_rows import InvalidRow
    from tunesmith.encoded import Encoded
    from tunesmith.recipe import Recipe
    from tunesmith.tasks import LabelSchema, Task
    from tunesmith.training.probe import Features
    from tunesmith.types import JsonObject

Severity = Literal["block", "warn", "note"]
"""`block`: training would be pointless, or its score wrong; `warn`: to be looked at; `note`: a fact."""


@dataclass(frozen=True)
class FoundRow:
    """A row that a finding is about.

    Args:
        split: the split of the row.
        row: its number within the split, from 0.
        score: how certain or how bad it is; None where rows are alike.
        note: what is said of this row: the proposed label, the row that it copies.
    """

    split: str
    row: int
    score: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Change:
    """What `--fix` does with a row: removes it, or gives a column another value.

    Args:
        split: the split of the row.
        row: its number within the split, from 0.
        column: the task's column that gets the value; empty removes the row.
        value: the new value.
    """

    split: str
    row: int
    column: str = ""
    value: Any = None


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or worth knowing, about the data.

    Args:
        check: name of the check.
        severity: how serious it is.
        text: what was found, as one sentence for people.
        remedy: what the user can do, as one sentence.
        rows: the rows, the worst first.
        evidence: figures that show it, as JSON.
        changes: what `--fix` does about it; empty where a person must decide.
    """

    check: str
    severity: Severity
    text: str
    remedy: str
    rows: Sequence[FoundRow] = ()
    evidence: JsonObject = field(default_factory=dict)
    changes: Sequence[Change] = ()


@dataclass(frozen=True)
class CheckedData:
    """What checks read.

    Args:
        task: task that the rows are read for.
        recipe: recipe with the data section.
        splits: usable rows by split.
        label_schema: what the task learned from the training rows.
        invalid_rows: rows that cannot be used.
        features: from a split to the inputs of the head on the frozen model and the sequences that they belong to;
            computed at the first call, and kept. None where the task has no probe or features are not wanted.
        truncation: the truncation report by split; empty where nothing was encoded.
        seed: random seed.
        run: folder of the run that is trained; empty where the data are checked by themselves.
        memo: what several checks share.
    """

    task: Task
    recipe: Recipe
    splits: Mapping[str, Examples]
    label_schema: LabelSchema
    invalid_rows: Sequence[InvalidRow] = ()
    features: Callable[[str], tuple[Features, Encoded]] | None = None
    truncation: Mapping[str, JsonObject] = field(default_factory=dict)
    seed: int = 42
    run: str = ""
    memo: JsonObject = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        summary: what it looks for, in a few words without a full stop.
        find: its findings.
        needs_features: whether it asks for features; it is left out where there are none.
        uses_features: whether it asks for features where there are any, and runs without them too.
        before_training: whether it is fast enough to run before every training.
    """

    summary: str
    find: Callable[[CheckedData], Iterable[Finding]]
    needs_features: bool = False
    uses_features: bool = False
    before_training: bool = True

    @property
    def reads_features(self) -> bool:
        """Whether it runs when the features are there, not when the rows are read."""
        return self.needs_features or self.uses_features


CHECKS: Registry[Check] = Registry("tunesmith.checks", "check", Check, hyphens=False)
