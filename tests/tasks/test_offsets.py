import pytest

from tunesmith.segmentation import entity_word_bounds
from tunesmith.tasks import TASKS, RowError
from tunesmith.tasks._alignment import UNITS
from tunesmith.tasks._offsets import notice

TASK = TASKS.get("token-classification")
NAMES = ["Mara Vint", "Harrow", "Zoë Müller"]
UTF16, UTF8 = UNITS


def rows_of(location, end_by=0, n=12):
    """Entities behind an emoji or an accent, with `location` counting the characters of a text."""
    rows = []
    for i in range(n):
        name = NAMES[i % len(NAMES)]
        text = f"{'🚲🚲🚲' if i % 2 else 'ééé'} Please send {name} to Castle Row."
        start = text.index(name)
        raw = {
            "start": location(text[:start]),
            "end": location(text[: start + len(name)]) + end_by,
            "label": "X",
        }
        rows.append(TASK.read({"text": text, "entities": [raw]}))
    return rows


def notices_of(rows):
    return TASK.offsets.notices({name: [row[name] for row in rows] for name in ("text", "words", "entities")})


@pytest.mark.parametrize("unit", UNITS)
def test_places_in_another_unit_are_named_with_counts_and_the_remedy(unit):
    (found,) = notices_of(rows_of(UNITS[unit]))
    n = 6 if unit == UTF16 else 12  # an accent is one unit of UTF-16, and two bytes
    assert f"counted in {unit}: then {n} of {n} would be right" in found
    assert ".decode(" in found
    assert "of 12 entities begin or end within a word" in found


def test_an_end_that_is_the_last_character_is_named():
    (found,) = notices_of(rows_of(len, end_by=-1))
    assert "12 of 12 entities begin or end within a word" in found
    assert "add 1 to every end" in found


def test_right_places_and_too_few_wrong_ones_are_no_pattern():
    assert notices_of(rows_of(len)) == []
    assert notices_of(rows_of(UNITS[UTF16], n=4)) == [], "two of them are wrong"
    mixed = rows_of(len, n=24) + rows_of(UNITS[UTF16])
    assert notices_of(mixed) == []
    assert TASK.offsets.notices({"text": ["a"], "words": [[[0, 1]]]}) == []


def test_the_remedy_converts():
    text = "🚲é name"
    for code, times, unit in (("utf-16-le", 2, UTF16), ("utf-8", 1, UTF8)):
        location = UNITS[unit](text[: text.index("name")])
        assert len(text.encode(code)[: times * location].decode(code)) == text.index("name")


def test_an_entity_beyond_its_text_names_the_unit():
    text = "🚲🚲🚲 Harrow"
    with pytest.raises(
        RowError, match=r"outside its text of 10 characters\. In UTF-16 units, .* it would be inside"
    ):
        TASK.read({"text": text, "entities": [[7, 13, "X"]]})
    with pytest.raises(RowError, match=r"outside its text of 10 characters\.$"):
        TASK.read({"text": text, "entities": [[7, 300, "X"]]})
    assert notice([("a b", entity_word_bounds("a b"), [(0, 1, "X")])]) == []
