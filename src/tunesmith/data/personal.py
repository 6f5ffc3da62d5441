"""Personal data within texts: e-mail addresses, phone and card numbers, IBANs, keys and tokens.

Numbers count only where their checksum holds: Luhn for cards (ISO/IEC 7812), modulo 97 for IBANs (ISO 13616).
Phone numbers are those that a country gives out, as the tables of `phonenumbers` say; without a country code, a
number must be written like one, so that amounts and order numbers do not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}(?![\w-])",
    re.IGNORECASE,
)
_CARD = re.compile(r"(?<![\w.,-])(?<![A-Z]{2}\d\d )\d(?:[ -]?\d){12,18}(?![\w-]|[.,]\d)")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}(?!\w)")
_PHONE = re.compile(r"(?<![\w.,/:=#@-])\+?\(?\d[\d ()./-]{5,18}\d(?![\w-]|[.,]\d)")
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?<!\w)(?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)"  # Amazon
    r"|(?<!\w)gh[pousr]_[A-Za-z0-9]{36,}(?!\w)|(?<!\w)github_pat_\w{40,}"
    r"|(?<!\w)(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}(?!\w)"  # Stripe
    r"|(?<!\w)sk-(?:[a-z]+-)?[A-Za-z0-9_-]{20,}(?!\w)"
    r"|(?<!\w)hf_[A-Za-z0-9]{30,}(?!\w)"
    r"|(?<!\w)xox[abprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|(?<!\w)AIza[A-Za-z0-9_-]{35}(?!\w)"  # Google
    r"|(?<!\w)eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"  # JSON Web Token
)
_CARD_STARTS = re.compile(r"3[0-9]|4|5[0-9]|6[0-9]|2[2-7]|1800|2131")
_SEPARATED = re.compile(r"\d[ ()./-]+\d")
_YEARS = re.compile(r"(?:1[89]|20)\d\d\s*[-/]\s*(?:1[89]|20)?\d\d")
_DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?:\s+\d{1,2})?")
_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "IN")
"""Countries whose numbers are recognised without a country code."""


@dataclass(frozen=True)
class Personal:
    """One piece of personal data.

    Args:
        kind: what it is: `email`, `phone`, `card`, `iban`, `secret`.
        start: its first character in the text.
        end: the one after its last.
    """

    kind: str
    start: int
    end: int


def find_personal(text: str) -> list[Personal]:
    """The personal data of a text, in order and without overlaps; of two that overlap, the surer kind."""
    found: list[Personal] = []
    for kind, candidates, is_real in _KINDS:
        if not _may_hold(kind, text):
            continue
        for match in candidates.finditer(text):
            start, end = match.span()
            if is_real(match[0]) and not any(start < it.end and it.start < end for it in found):
                found.append(Personal(kind, start, end))
    return sorted(found, key=lambda it: it.start)


def redacted(text: str) -> str:
    """The text with the kind of each piece of personal data in its place: `[EMAIL]`."""
    parts, before = [], 0
    for it in find_personal(text):
        parts += [text[before : it.start], f"[{it.kind.upper()}]"]
        before = it.end
    return "".join([*parts, text[before:]])


def masked(text: str) -> str:
    """A piece of personal data for people who shall not read it: its first and its last character."""
    return f"{text[0]}…{text[-1]}"


def _may_hold(kind: str, text: str) -> bool:
    """Whether a text can hold a kind at all; cheaper than the pattern."""
    if kind == "email":
        return "@" in text
    if kind == "secret":
        return len(text) >= 20
    return any(character in _DIGITS for character in text)


_DIGITS = frozenset("0123456789")


def _always(text: str) -> bool:
    return True


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    if len(set(digits)) < 2 or not _CARD_STARTS.match(digits):
        return False
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(text))


def _is_phone(text: str) -> bool:
    n_digits = sum(character.isdigit() for character in text)
    if not 7 <= n_digits <= 15 or _YEARS.fullmatch(text) or _DATE.fullmatch(text):
        return False
    if text.count("(") != text.count(")"):
        return False
    if text.startswith("+"):
        return _is_given_out(text, None)
    if not _SEPARATED.search(text) or n_digits < 9:
        return False
    return any(_is_given_out(text, region) for region in _REGIONS)


def _is_given_out(text: str, region: str | None) -> bool:
    from phonenumbers import NumberParseException, is_valid_number, parse

    try:
        return bool(is_valid_number(parse(text, region)))
    except NumberParseException:
        return False


_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("secret", _SECRET, _always),
    ("email", _EMAIL, _always),
    ("iban", _IBAN, _is_iban),
    ("card", _CARD, _is_card),
    ("phone", _PHONE, _is_phone),
)
"""The kinds, the surest first."""


def kinds_in(text: str) -> Iterator[tuple[str, str]]:
    """The kind and the characters of each piece of personal data."""
    for it in find_personal(text):
        yield it.kind, text[it.start : it.end]
