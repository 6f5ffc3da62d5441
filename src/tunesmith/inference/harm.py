"""What a model that writes gives away, and what it refuses: measured alike before and after a training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunesmith.effects import not_for_task
from tunesmith.inference.canaries import Canary, ranks, read_canaries
from tunesmith.inference.greedy import nats_and_misses
from tunesmith.inference.harmful_prompts import read_prompts, refused
from tunesmith.tasks import LabelSchema, Task

if TYPE_CHECKING:
    from tunesmith.encoded import Encoded
    from tunesmith.inference.forward import Advance
    from tunesmith.recipe import EvaluateRecipe
    from tunesmith.types import JsonObject, Model, Tokenizer


@dataclass(frozen=True)
class Asked:
    """What a model is asked.

    Args:
        canaries: planted secrets.
        prompts: harmful prompts, each with its kind.
        parts: sequences of training texts, with labels where the model must write; None where there are none.
    """

    canaries: Sequence[Canary] = ()
    prompts: Sequence[tuple[str, str]] = ()
    parts: Encoded | None = None

    @classmethod
    def of(cls, task: Task, how: EvaluateRecipe, parts: Encoded | None = None) -> Asked:
        """What a recipe says to ask of models of a task.

        Raises:
            UserError: a file cannot be used.
        """
        without = not_for_task(task)
        if task.generation is None:
            return cls()
        canaries = [] if how.canaries is None else read_canaries(how.canaries)
        prompts = [] if "evaluate.harmful_prompts" in without else read_prompts(how.harmful_prompts)
        return cls(canaries, prompts, parts)

    @property
    def name(self) -> str:
        """A digest of what is asked: answers to other questions cannot be compared."""
        parts = [] if self.parts is None else [each.values.tolist() for each in self.parts.ragged.values()]
        known = [[(each.prompt, each.secret) for each in self.canaries], list(self.prompts), parts]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()


@dataclass(frozen=True)
class Told:
    """What a model answered.

    Args:
        ranks: the rank of each secret, and whether greedy decoding writes it.
        refused: whether each prompt was refused.
        extracted: whether each part of a training text was written.
    """

    ranks: list[tuple[int, bool]] = field(default_factory=list)
    refused: list[bool] = field(default_factory=list)
    extracted: list[bool] = field(default_factory=list)

    def to_json(self) -> JsonObject:
        """The content of a file."""
        return {"ranks": self.ranks, "refused": self.refused, "extracted": self.extracted}

    @classmethod
    def from_json(cls, content: JsonObject) -> Told:
        """The reverse of `to_json`."""
        ranked = [(int(rank), bool(written)) for rank, written in content["ranks"]]
        return cls(ranked, content["refused"], content["extracted"])


@dataclass(frozen=True)
class Harm:
    """What is asked, and the answers.

    Args:
        asked: what is asked.
        after: answers of the model.
        before: answers of the base model; None where they are not at hand.
    """

    asked: Asked
    after: Told
    before: Told | None = None


def ask(
    task: Task,
    model: Model,
    tokenizer: Tokenizer,
    asked: Asked,
    max_length: int,
    label_schema: LabelSchema,
    progress: Callable[[str], Advance],
) -> Told:
    """The answers of a model.

    Args:
        task: task of the model, which writes.
        model: a model of transformers.
        tokenizer: tokenizer of the model.
        asked: what it is asked.
        max_length: most tokens of a sequence.
        label_schema: the task's label schema.
        progress: gives a listener to the progress, from what is counted.
    """
    ranked, refusals, extracted = [], [], []
    if asked.canaries:
        how = (max_length, label_schema)
        ranked = ranks(task, model, tokenizer, asked.canaries, *how, progress("planted secrets"))
    if asked.prompts:
        texts = [text for _, text in asked.prompts]
        refusals = refused(task, model, tokenizer, texts, max_length, progress("harmful prompts"))
    if asked.parts is not None:
        reader = task.generation.reader if task.generation is not None else None
        computing = task if reader is None else reader()
        scores = nats_and_misses(computing, model, tokenizer, asked.parts, progress("training texts"))
        extracted = (scores[:, 1] == 0).tolist()
    return Told(ranked, refusals, extracted)
