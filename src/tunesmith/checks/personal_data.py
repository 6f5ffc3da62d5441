"""Personal data in the texts: a model may repeat them, and whoever gets the data can read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.checks._texts import all_texts, changes_of, may_change
from tunesmith.data.personal import kinds_in, masked, redacted
from tunesmith.tasks._values import strings

_NAMES = {
    "email": "e-mail addresses",
    "phone": "phone numbers",
    "card": "card numbers",
    "iban": "IBANs",
    "secret": "keys and tokens",
}
_REMEDY = "Remove them before the data are shared or learned from."


def find(data: CheckedData) -> Iterator[Finding]:
    """One finding for each split with personal data."""
    for split in data.splits:
        yield from _find(data, split)


def _find(data: CheckedData, split: str) -> Iterator[Finding]:
    counts: Counter[str] = Counter()
    places: dict[int, set[str]] = {}
    notes: dict[int, list[str]] = {}
    for row, column, value in all_texts(data, split):
        for kind, text in (it for one in strings(value) for it in kinds_in(one)):
            counts[kind] += 1
            places.setdefault(row, set()).add(column)
            notes.setdefault(row, []).append(f"{kind} `{masked(text)}`")
    if not places:
        return
    listed = ", ".join(f"{counts[kind]:,} {name}" for kind, name in _NAMES.items() if counts[kind])
    yield Finding(
        "personal_data",
        "warn",
        f"{len(places):,} of {len(data.splits[split]):,} {split} rows hold personal data: {listed}",
        f"{_REMEDY} `--fix` puts the kind in their place: `[EMAIL]`." if may_change(data) else _REMEDY,
        [FoundRow(split, row, float(len(notes[row])), ", ".join(notes[row])) for row in sorted(places)],
        {"split": split, "rows": len(data.splits[split]), "found": dict(counts)},
        changes_of(data, split, places, redacted),
    )


check = Check("e-mail addresses, phone, card and account numbers, keys and tokens", find)
