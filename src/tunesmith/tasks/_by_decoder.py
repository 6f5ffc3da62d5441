"""The tasks of `_seq2seq` with a model that is a decoder alone.

The source becomes the turn of a user, after an instruction, and the target the assistant's turn, both written by
the chat template of the model. The loss, and the likelihood that chooses the best step, are those of the target
and of the token that ends it. A prompt leaves a quarter of `max_length` for the answer, in training as in
predictions. A source that is too long loses its end, and a target only what is longer than `max_length` alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tunesmith.tasks import (
    IGNORED,
    INSTRUCTION,
    ChatTemplate,
    Encoded,
    EncodeOptions,
    Generation,
    Instruction,
    LabelSchema,
    Length,
    Packing,
    Pipeline,
    Schedule,
    Task,
    Values,
)
from tunesmith.tasks import _chat_templates as chat_templates
from tunesmith.tasks import _language as language
from tunesmith.tasks import _texts as texts
from tunesmith.tasks._next_token import NextToken
from tunesmith.tasks._prompting import asked_of, generation_arguments
from tunesmith.tasks._seq2seq import SequenceToSequence

if TYPE_CHECKING:
    from tunesmith.types import Config, JsonObject, Tokenizer

INSTRUCTION_KEY = "tunesmith_instruction"
"""The entry of a saved model's config with the instruction."""

T = TypeVar("T")


@functools.cache
def by_decoder(kind: type[SequenceToSequence], said: Callable[[Mapping[str, str]], str]) -> Task:
    """The object that stands for a task with a decoder.

    Args:
        kind: class of the task.
        said: gives the default instruction, from the file's column for each of the task's.
    """
    members = {"instruction": Instruction(said), "__doc__": f"{kind.name}, by a decoder."}
    made: type[Task] = type(f"{kind.__name__}ByDecoder", (ByDecoder, kind), members)
    return made()


class ByDecoder(NextToken, SequenceToSequence, abstract=True):
    """What differs with a decoder; another base class is that of the task."""

    suggested_model = "HuggingFaceTB/SmolLM2-135M-Instruct"
    auto_class = "AutoModelForCausalLM"
    supported_options = ("label_smoothing_factor", "augment")
    length = Length(1024, answer_share=0.25)
    schedule = Schedule(most_epochs=3)
    packing = Packing()
    generation = Generation(
        scores_texts=True,
        end_tokens=chat_templates.end_tokens,
        reader=language.plain_reader,
    )
    chat = ChatTemplate(chat_templates.give_template)
    pipeline = Pipeline("text-generation", generation_arguments)
    vocabulary = None
    decoders = None
    forward = Task.forward
    divergence = Task.divergence

    def config(self, label_schema: LabelSchema) -> JsonObject:
        """See Task."""
        return {INSTRUCTION_KEY: label_schema[INSTRUCTION]} if INSTRUCTION in label_schema else {}

    def label_schema_of(self, config: Config) -> LabelSchema:
        """See Task."""
        return {INSTRUCTION: getattr(config, INSTRUCTION_KEY, "")}

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task; in training, each reference of a row is a sequence of its own."""
        sources, most = batch[self.inputs[0]], options.max_length
        room = None if most is None else self.length.of_prompt(most)
        prompts = _Prompts(tokenizer, label_schema.get(INSTRUCTION, ""), room)
        if options.purpose == "predict" or not texts.has_column(batch, self.outputs[0]):
            return Encoded.of({"input_ids": [prompts.ask(source) for source in sources]})
        references = batch[self.outputs[0]]
        used = references if options.purpose == "train" else [row[:1] for row in references]
        pairs = [(i, source, text) for i, source in enumerate(sources) for text in used[i]]
        made = [prompts.learn(source, text, most) for _, source, text in pairs]
        return Encoded.of(
            {"input_ids": [ids for ids, _ in made], "labels": [labels for _, labels in made]},
            rows=[i for i, _, _ in pairs],
            n_rows=len(sources),
        )


class _Prompts:
    """Sources as prompts of a chat template.

    Args:
        tokenizer: tokenizer with a chat template.
        instruction: text before each source.
        room: most tokens of a prompt.
    """

    def __init__(self, tokenizer: Tokenizer, instruction: str, room: int | None) -> None:
        self.tokenizer, self.instruction, self.room = tokenizer, instruction, room

    def ask(self, source: str) -> list[int]:
        """Token ids of a prompt; a source that is too long loses its end."""
        ids, _ = self._fitted(source, self.room, self._prompt, len)
        return ids if self.room is None else ids[-self.room :]

    def learn(self, source: str, target: str, most: int | None) -> tuple[list[int], list[int]]:
        """Token ids and labels of a prompt, as it is asked, and its answer; together at most `most` each."""

        def encode(text: str) -> tuple[list[int], list[int]]:
            turns = [self._user(text), {"role": "assistant", "content": target}]
            ids, is_target, _ = chat_templates.encode_conversation(turns, self.tokenizer)
            return ids, np.where(is_target, ids, IGNORED).tolist()

        ids, labels = encode(source)
        if self.room is not None and len(ids) > self.room:
            _, asked = self._fitted(source, self.room, self._prompt, len)
            (ids, labels), _ = self._fitted(asked, most, encode, lambda made: len(made[0]))
        return ids[:most], labels[:most]

    def _prompt(self, source: str) -> list[int]:
        return chat_templates.encode_prompt([self._user(source)], self.tokenizer)

    def _user(self, source: str) -> JsonObject:
        return {"role": "user", "content": asked_of(self.instruction, source)}

    def _fitted(
        self, source: str, most: int | None, encode: Callable[[str], T], length: Callable[[T], int]
    ) -> tuple[T, str]:
        """What `encode` makes of a long beginning of a source that fits, or of none of it; and this beginning."""
        made, kept = encode(source), source
        while most is not None and kept and (excess := length(made) - most) > 0:
            kept = self._without_end(kept, excess)
            made = encode(kept)
        return made, kept

    def _without_end(self, text: str, n: int) -> str:
        """A text without the characters of its last n tokens, at least one."""
        encoded = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
        )  # fmt: skip
        offsets = encoded["offset_mapping"]
        # Several tokens may be one character; white space may be a token without extent.
        end = min(offsets[-n][0], len(text) - 1) if n < len(offsets) else 0
        return text[:end].rstrip()
