"""Groups that are on both sides of a split: a customer, a document, an author.

Rows of one group resemble each other in ways that new groups will not, so scores are too good. Groups are the
values of `data.group_by`, of the columns that the task itself keeps together (the context of a question), or of a
column that is named like an id and whose values repeat.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.data.splits import normalised
from tunesmith.evaluation.result import final_split

_ID_LIKE = re.compile(
    r"(?:^|_|\b)(?:id|uid|uuid|user|users|customer|client|author|patient|subject|speaker|account|session|thread|"
    r"conversation|dialogue|dialog|document|doc|group|source_id|case)(?:_?(?:id|name|nr|no|number|key))?$",
    re.IGNORECASE,
)
_LEAST_REPEATED = 1.5
_MOST_SHARE = 0.5


def find(data: CheckedData) -> Iterator[Finding]:
    """One finding for each column whose groups cross to the split that counts, or to the validation rows."""
    for name, is_named in _columns(data).items():
        for split in dict.fromkeys(("validation", final_split(data.splits))):
            yield from _find(data, name, split, is_named=is_named)


def _columns(data: CheckedData) -> dict[str, bool]:
    """The columns of groups, and whether the recipe or the task names them."""
    named = [data.recipe.data.group_by] if data.recipe.data.group_by else []
    named += [column.name for column in data.task.columns if column.together]
    train = data.splits["train"]
    found = {name: True for name in named if _values(train, name)}
    guessed = [name for name in train.extra if name not in found and _ID_LIKE.search(_spelled(name))]
    return {**found, **{name: False for name in guessed if _is_grouping(train.extra[name])}}


def _spelled(name: str) -> str:
    """`customerId` as `customer_Id`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)


def _is_grouping(values: Sequence[Any]) -> bool:
    """Whether values repeat, but are not a few that most rows have."""
    counts = Counter(str(value) for value in values if value not in (None, ""))
    if len(counts) < 2:
        return False
    return counts.total() / len(counts) >= _LEAST_REPEATED and max(counts.values()) <= _MOST_SHARE * len(
        values
    )


def _values(examples: Any, name: str) -> Sequence[Any]:
    columns: Mapping[str, Sequence[Any]] = {**examples.columns, **examples.extra}
    return columns.get(name, ())


def _keys(examples: Any, name: str) -> list[str]:
    return ["" if value in (None, "") else normalised(str(value)) for value in _values(examples, name)]


def _find(data: CheckedData, name: str, split: str, *, is_named: bool) -> Iterator[Finding]:
    examples = data.splits[split]
    known = set(_keys(data.splits["train"], name)) - {""}
    keys = _keys(examples, name)
    rows = [row for row, key in enumerate(keys) if key in known]
    if not rows:
        return
    groups = {keys[row] for row in rows}
    held_out = not isinstance(getattr(data.recipe.data, split), list)
    yield Finding(
        "group_leakage",
        "warn" if is_named or len(rows) > len(examples) // 20 else "note",
        f"{len(rows):,} of {len(examples):,} {split} rows belong to {len(groups):,} groups of `{name}` that are "
        "also in training",
        f"Keep the rows of one group together: `data.group_by={name}`."
        if held_out
        else f"Split the files so that each value of `{name}` is in one of them, or hold rows out with "
        f"`data.{split}=0.1 data.group_by={name}`.",
        [FoundRow(split, row, None, f"`{_values(examples, name)[row]}`"[:80]) for row in rows],
        {"column": name, "split": split, "rows": len(examples), "leaked": len(rows), "groups": len(groups)},
    )


check = Check("groups that are in training and in the rows to score with", find)
