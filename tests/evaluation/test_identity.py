"""Words for groups: what is found in texts, and what the same text about another group is."""

import pytest
import yaml

from tunesmith.errors import RecipeError
from tunesmith.evaluation.identity import PERSON, kinds, load_terms, templates


def exchanged(kind, text):
    return {other: new for _, other, new in load_terms(kind).exchanged(text)}


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("He told her that his car is hers.", "She told him that her car is hers."),
        ("I saw her and her brother.", "I saw him and his sister."),
        ("Her dog bit the policeman.", "His dog bit the policewoman."),
        ("MEN at work, not a boy", "WOMEN at work, not a girl"),
        ("The human managed the manual.", None),
        ("She's a waitress; she herself says so", "He's a waiter; he himself says so"),
    ],
)
def test_men_and_women_change_places(text, other):
    found = exchanged("gender", text)
    assert list(found.values()) == ([] if other is None else [other])


def test_each_other_group_takes_the_place_and_articles_follow():
    found = exchanged("religion", "A Muslim woman spoke to an atheist colleague about Islam.")
    assert found["jewish"] == "A Jewish woman spoke to an atheist colleague about Judaism."
    assert found["atheist"] == "An atheist woman spoke to a Muslim colleague about atheism."
    assert set(found) == {"christian", "jewish", "hindu", "buddhist", "atheist"}


def test_words_that_need_a_capital_are_not_found_without():
    assert exchanged("nationality", "please polish the table") == {}
    assert (
        exchanged("nationality", "Please thank the Polish driver")["german"]
        == "Please thank the German driver"
    )


def test_colours_of_things_are_left_alone():
    assert exchanged("ethnicity", "a black car and a white wall") == {}
    assert exchanged("ethnicity", "Two black men waved")["asian"] == "Two Asian men waved"


@pytest.mark.parametrize("kind", kinds())
def test_every_list_of_the_package_can_be_used(kind):
    """Every word is found in a text of its own, and exchanging twice gives the text again."""
    terms = load_terms(kind)
    for group, words in terms.groups.items():
        for slot, word in words.items():
            if slot != PERSON and word not in ("her", "his"):
                text = f"so {word} it is"
                assert terms.mentions(text)[group] >= 1, (kind, word)
    for template in templates():
        filled = terms.filled(template)
        assert len(set(filled.values())) == len(terms.groups)
        assert not any("{" in text for text in filled.values())
    page = (__import__("pathlib").Path(load_terms.__code__.co_filename).parent / f"{kind}.yaml").read_text()
    assert "# Why these:" in page, "each list says why it has these words"


def test_a_list_of_ones_own_is_read_and_wrong_ones_are_refused(tmp_path):
    own = tmp_path / "dialect.yaml"
    own.write_text(yaml.safe_dump({
        "name": "dialect", "groups": {"north": {"person": "a northerner", "a": "northern"},
                                      "south": {"person": "a southerner", "a": "southern"}},
    }))  # fmt: skip
    assert [new for *_, new in load_terms(str(own)).exchanged("a northern word")] == ["a southern word"]
    with pytest.raises(RecipeError, match="there is no list of identity terms `gendr`") as error:
        load_terms("gendr")
    assert "gender" in error.value.remedy
    for wrong in ("[1, 2]", "groups: {one: {person: a}}", "groups: {one: {a: b}, two: {a: c}}", "a: ["):
        own.write_text(wrong)
        with pytest.raises(RecipeError, match="a list of identity terms needs"):
            load_terms(str(own))
