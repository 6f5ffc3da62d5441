"""Unknown labels, and labels that differ only in spelling."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from tunesmith.tasks import RowError

_SHOWN_LABELS = 20
_SHOWN_GROUPS = 5


def refuse_unknown_label(label: str, known: Sequence[str], kind: str = "label") -> None:
    """Raises a RowError for a label that the training rows do not have; the known labels are its hint.

    Args:
        label: label of a row.
        known: labels of the training rows.
        kind: word for a label in the message.
    """
    if label in known:
        return
    same = next((other for other in known if spelling_key(other) == spelling_key(label)), "")
    close = same or next(iter(difflib.get_close_matches(label, known, n=1, cutoff=0.6)), "")
    said = f" They have `{same}`, which differs only in spelling." if same else ""
    guess = f" Did you mean `{close}`?" if close and not same else ""
    more = f", and {len(known) - _SHOWN_LABELS} more" if len(known) > _SHOWN_LABELS else ""
    listed = ", ".join(f"`{name}`" for name in known[:_SHOWN_LABELS])
    raise RowError(
        f"{kind} `{label}` does not occur in the training rows.{said}{guess}",
        hint=f"The training rows have: {listed}{more}.",
    )


def spelling_key(label: str) -> str:
    """A key that is equal for labels that differ only in spaces or case, or as `1` and `1.0` do."""
    key = " ".join(label.casefold().split())
    return key.removesuffix(".0") if key.removesuffix(".0").lstrip("-").isdecimal() else key


def spelling_notices(counts: Mapping[str, int]) -> list[str]:
    """Notices about labels that differ only in spelling, with the number of rows of each.

    Args:
        counts: number of rows of each label.
    """
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault(spelling_key(label), []).append(label)
    alike = [sorted(group, key=lambda label: -counts[label]) for group in groups.values() if len(group) > 1]
    shown = "; ".join(
        " and ".join(f"`{label}` ({counts[label]} rows)" for label in group)
        for group in alike[:_SHOWN_GROUPS]
    )
    more = f"; and {len(alike) - _SHOWN_GROUPS} more" if len(alike) > _SHOWN_GROUPS else ""
    return [f"labels that differ only in spelling are learned as different: {shown}{more}"] if alike else []
