"""Keys of other tools that say which words of a conversation are learned.

Such a key has values of its own, so it is no other name of a key here (`SYNONYMS`). A value that means what is
always done here is left out with a notice; one that means a value of `data.train_on` becomes that; any other, such
as learning the prompts too, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ALWAYS = "always"
"""Stands for what is done in any case."""
TRAIN_ON = "data.train_on"


@dataclass(frozen=True)
class Translation:
    """A key of another tool.

    Args:
        tool: name of the tool.
        values: for each of its values that is understood, that of `data.train_on`, or `ALWAYS`.
        others: what any other value would do, as the end of a sentence.
    """

    tool: str
    values: Mapping[object, str]
    others: str = "would also learn what the assistant has not written"


TRANSLATIONS: Mapping[str, Translation] = {
    "train_on_inputs": Translation("axolotl", {False: ALWAYS}),
    "roles_to_train": Translation("axolotl", {"assistant": ALWAYS, "gpt": ALWAYS}),
    "train_on_eos": Translation(
        "axolotl", {"turn": ALWAYS}, "would learn other ends than those of the turns that are learned"
    ),
    "train_on_prompt": Translation("LLaMA-Factory", {False: ALWAYS}),
    "mask_history": Translation("LLaMA-Factory", {True: "last", False: "all"}, "is no truth value"),
    "assistant_only_loss": Translation("TRL", {True: ALWAYS}),
    "completion_only_loss": Translation(
        "TRL", {}, "chooses between columns, whoever wrote the words in them"
    ),
    "train_on_responses_only": Translation("unsloth", {True: ALWAYS}),
}


def translated(name: str, value: object) -> str:
    """What a key of another tool means here: a value of `data.train_on`, `ALWAYS`, or nothing (empty).

    Args:
        name: a key of `TRANSLATIONS`.
        value: its value, or a list of values that mean the same.
    """
    given = value if isinstance(value, list) else [value]
    known = TRANSLATIONS[name].values
    meant = {_meaning(known, one) for one in given}
    return meant.pop() if len(meant) == 1 else ""


def _meaning(known: Mapping[object, str], value: object) -> str:
    """The meaning of one value; a number is no truth value."""
    return next(
        (ours for theirs, ours in known.items() if theirs == value and type(theirs) is type(value)), ""
    )
