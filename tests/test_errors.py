from tunesmith.errors import (
    CheckBlockedError,
    InterruptedRunError,
    NonFiniteError,
    TunesmithError,
    UserError,
    did_you_mean,
    nearest,
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


def test_only_a_name_that_is_spelled_nearly_so_is_suggested():
    near = {
        "learning_rte": "learning_rate", "texte": "text", "revue": "review", "trian": "train", "lorra": "lora",
        "text-clasification": "text-classification", "outputdir": "output_dir", "max-lenght": "max_length",
        "train.learning_rte": "train.learning_rate",
    }  # fmt: skip
    for asked, meant in near.items():
        assert nearest(asked, [meant, "zzzzzz"]) == meant
    far = {
        "train.report_to": "train.dpo_beta", "report_to": "dpo_beta", "batch": "path", "label": "table",
        "wandb": "seed", "gpu": "cpu",
    }  # fmt: skip
    for asked, other in far.items():
        assert nearest(asked, [other]) == ""


def test_a_long_list_is_not_recited():
    assert did_you_mean("zzz", map(str, range(100))) == ""
