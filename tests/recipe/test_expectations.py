import pytest

from tunesmith.recipe.expectations import expectation


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("train.learning_rate", "`auto` or a number above 0 and at most 1"),
        ("seed", "a whole number at least 0"),
        ("train.bf16", "`auto` or true or false"),
        ("data.validation", "a name or a list of names or a number above 0 and below 1"),
        ("data.columns", "a mapping"),
        ("evaluate.slices", "a name or a list"),
    ],
)
def test_words_say_what_is_accepted(key, words):
    assert expectation(key).startswith(words)
