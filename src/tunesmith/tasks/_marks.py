"""Marks of turns that are only to be read, and the turns of a conversation that are learned.

Files mark a turn by `train: false` (axolotl), `weight: 0` (OpenAI) or `loss: false` (ms-swift). The model
reads such a turn of the assistant, but does not learn it, and it is not scored. Weights between 0 and 1 are
refused: OpenAI has none either, and a score of a tenth of a turn would mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.tasks import RowError
from tunesmith.types import JsonObject

TRAIN = "train"
"""The entry of a checked message that is False where the turn is only read."""
_NAMES = ("train", "training", "weight", "loss")
_DETAILS = ("train_detail", "training_detail", "loss_scale")
_HINT = "Mark a turn of the assistant by `train: false` or `weight: 0`, or leave it unmarked."


def is_learned(turn: Mapping[str, object], location: str, *, may_be_learned: bool) -> bool:
    """Whether a turn may be learned, as its marks say; without a mark, it may.

    Args:
        turn: a turn of a file.
        location: the turn, for messages.
        may_be_learned: whether it is a turn of the assistant.

    Raises:
        RowError: a mark is a fraction or no truth value, two contradict each other, or one asks to learn a turn
            that is not the assistant's.
    """
    for name in _DETAILS:
        if turn.get(name):
            raise RowError(
                f"{location} has `{name}`; a turn is learned as a whole or not at all.", hint=_HINT
            )
    marks = {name: _truth(turn[name], name, location) for name in _NAMES if turn.get(name) is not None}
    if len(set(marks.values())) > 1:
        said = " and ".join(f"`{name}: {turn[name]}`" for name in marks)
        raise RowError(f"{location} has {said}, which contradict each other.", hint=_HINT)
    if not may_be_learned:
        if any(marks.values()):
            name = next(iter(marks))
            raise RowError(
                f"{location} has `{name}: {turn[name]}`; only turns of the assistant are learned.", hint=_HINT
            )
        return True
    return all(marks.values())


def _truth(value: object, name: str, location: str) -> bool:
    if isinstance(value, str) and value.strip().lower() in ("true", "false", "0", "1"):
        return value.strip().lower() in ("true", "1")  # as in CSV files
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    rule = "0 or 1" if name == "weight" else "true or false"
    raise RowError(f"{location} has `{name}: {value}`; it must be {rule}.", hint=_HINT)


def learned_turns(messages: Sequence[JsonObject], train_on: str = "all") -> list[int]:
    """The numbers of the turns that are learned.

    Args:
        messages: checked messages.
        train_on: `all` for every turn of the assistant, `last` for the last one.
    """
    said = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    chosen = said[-1:] if train_on == "last" else said
    return [i for i in chosen if messages[i].get(TRAIN, True)]


def without_marks(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """Messages as a template gets them.

    Args:
        messages: checked messages.
    """
    return [{name: value for name, value in message.items() if name != TRAIN} for message in messages]
