"""Adapters act in every family, are saved whole, and are refused where they would change nothing."""

from __future__ import annotations

import pytest

from tunesmith.testing import family_contract as contract
from tunesmith.testing.family_steps import STEPS


def outcome(family, auto_class, folder):
    assert contract.make(family, auto_class, folder / "model").kind == contract.OK
    (folder / "work").mkdir()
    return STEPS["lora"](contract.Cell(family, auto_class, folder / "model", folder / "work"))


@pytest.mark.parametrize(
    ("family", "auto_class"),
    [
        ("bert", "AutoModelForSequenceClassification"),  # its files lack the pooler
        ("distilbert", "AutoModelForTokenClassification"),  # two names end in `classifier`
        ("t5", "AutoModelForQuestionAnswering"),  # head and body lie side by side
        ("big_bird", "AutoModelForQuestionAnswering"),  # the head is in a module of another name
        ("laguna", "AutoModelForCausalLM"),  # peft leaves out shared experts when it loads
        ("llama4_text", "AutoModelForCausalLM"),  # its router is a linear layer that does more
        ("falcon", "AutoModelForCausalLM"),  # its linear layers are a class of their own
        ("zamba", "AutoModelForCausalLM"),  # two layers share their weights
        ("falcon_h1", "AutoModelForCausalLM"),  # weights are read without a call
    ],
)
def test_a_saved_adapter_gives_what_was_trained(family, auto_class, tmp_path):
    assert outcome(family, auto_class, tmp_path).endswith("learn")


def test_an_adapter_that_would_change_nothing_is_refused(tmp_path):
    from tunesmith.errors import RecipeError

    with pytest.raises(RecipeError, match="not linear"):
        outcome("squeezebert", "AutoModelForTokenClassification", tmp_path)
