import random

import pytest
from stdnum import iban, luhn

from tunesmith.data.personal import find_personal, kinds_in, redacted


def found(text):
    return list(kinds_in(text))


@pytest.mark.parametrize(
    ("text", "kind", "piece"),
    [
        ("write to jo.doe+x@example.co.uk.", "email", "jo.doe+x@example.co.uk"),
        ("my card is 4111 1111 1111 1111, thanks", "card", "4111 1111 1111 1111"),
        ("5500-0055-5555-5559", "card", "5500-0055-5555-5559"),
        ("pay to DE89 3704 0044 0532 0130 00 today", "iban", "DE89 3704 0044 0532 0130 00"),
        ("call +49 30 901820 now", "phone", "+49 30 901820"),
        ("call (212) 555-0123", "phone", "(212) 555-0123"),
        ("key AKIAIOSFODNN7EXAMPLE", "secret", "AKIAIOSFODNN7EXAMPLE"),
        ("token ghp_" + "a1B2" * 9, "secret", "ghp_" + "a1B2" * 9),
    ],
)
def test_personal_data_are_found(text, kind, piece):
    assert found(text) == [(kind, piece)]


@pytest.mark.parametrize(
    "text",
    [
        "from 1939-1945 and 2020-2021", "order 12345678901", "$1,234,567.89", "0000 0000 0000 0000",
        "on 12.10.2024", "4111 1111 1111 1112", "DE89 3704 0044 0532 0130 01", "@user @another",
        "version 1.2.3.4", "3.14159265358979", "room 101", "a@b", "see #1234567",
    ],
)  # fmt: skip
def test_other_numbers_are_not(text):
    assert found(text) == []


def test_card_numbers_are_those_whose_checksum_holds():
    """Against the Luhn checksum of python-stdnum, on random numbers."""
    rng = random.Random(0)
    numbers = ["4" + "".join(rng.choices("0123456789", k=15)) for _ in range(300)]
    numbers += [number[:-1] + luhn.calc_check_digit(number[:-1]) for number in numbers[:100]]
    for number in numbers:
        spaced = " ".join(number[i : i + 4] for i in range(0, 16, 4))
        is_found = ("card", spaced) in found(f"my card {spaced} was declined")
        assert is_found == luhn.is_valid(number), number


def test_ibans_are_those_whose_checksum_holds():
    for text in ("GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 33", "FR1420041010050500013M02606"):
        assert (("iban", text) in found(text)) == iban.is_valid(text)


def test_what_is_found_is_put_out_of_sight():
    text = "I am jo@example.org, +49 30 901820, card 4111111111111111."
    assert redacted(text) == "I am [EMAIL], [PHONE], card [CARD]."
    assert find_personal(redacted(text)) == []
    assert redacted("nothing here") == "nothing here"
