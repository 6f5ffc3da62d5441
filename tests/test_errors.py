from tunesmith.errors import (
    CheckBlockedError,
    InterruptedRunError,
    NonFiniteError,
    TunesmithError,
    UserError,
    did_you_mean,
)


def test_message_has_place_rule_and_remedy():
    error = UserError("a must be b, got c.", remedy="Write b.", location="recipe.yaml, line 3")
    assert str(error) == "recipe.yaml, line 3: a must be b, got c.\nWrite b."


def test_exit_codes_are_those_of_the_contract():
    kinds = (TunesmithError, UserError, CheckBlockedError, NonFiniteError, InterruptedRunError)
    assert [kind.exit_code for kind in kinds] == [1, 2, 3, 1, 75]


def test_a_close_name_is_suggested_and_else_all_are_listed():
    assert did_you_mean("learning_rte", ["learning_rate", "seed"]) == "Did you mean `learning_rate`?"
    assert did_you_mean("zzz", ["b", "a"]) == "Known: `a`, `b`."
