"""The tokenizer of an export, by the library below transformers, whose import takes longer than an answer.

The file tokenizer.json is what transformers computed with when the export was written. What it does not hold
(names of inputs, the limit) is in `export.json`. A test compares both on tokenizers of every family.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Encoding

    from tunesmith.types import JsonObject, Tokenizer

_STATED = ("model_max_length", "model_input_names", "pad_token_id", "mask_token_id", "mask_token")
_FIELDS = {
    "return_token_type_ids": ("token_type_ids", "type_ids"),
    "return_offsets_mapping": ("offset_mapping", "offsets"),
    "return_special_tokens_mask": ("special_tokens_mask", "special_tokens_mask"),
}
"""By argument of a call: the entry of its result, and the attribute of the library's encoding."""


def facts_of_tokenizer(tokenizer: Tokenizer) -> JsonObject:
    """What `PlainTokenizer` needs besides tokenizer.json."""
    return {name: getattr(tokenizer, name) for name in _STATED}


class Encodings(dict[str, Any]):
    """The fields of some sequences, with the words and texts that their tokens come from.

    Args:
        fields: a list for each field, with an entry for each sequence.
        encodings: the library's object for each sequence.
    """

    def __init__(self, fields: JsonObject, encodings: Sequence[Encoding]) -> None:
        super().__init__(fields)
        self.encodings = encodings

    def word_ids(self, sequence: int) -> list[int | None]:
        """The word of each token; None for special tokens."""
        return self.encodings[sequence].word_ids

    def sequence_ids(self, sequence: int) -> list[int | None]:
        """The text of a pair that each token is from; None for special tokens."""
        return self.encodings[sequence].sequence_ids


class PlainTokenizer:
    """As much of a fast tokenizer of transformers as encoding a task's rows needs.

    Args:
        file: tokenizer.json.
        facts: what `facts_of_tokenizer` gave.
    """

    chat_template = None

    def __init__(self, file: Path, facts: JsonObject) -> None:
        from tokenizers import Tokenizer

        self.backend_tokenizer = Tokenizer.from_file(str(file))
        self.backend_tokenizer.no_padding()
        self.backend_tokenizer.encode_special_tokens = False
        self.model_max_length: int = facts["model_max_length"]
        self.model_input_names: list[str] = facts["model_input_names"]
        self.pad_token_id: int = facts["pad_token_id"]
        self.mask_token_id: int | None = facts["mask_token_id"]
        self.mask_token: str | None = facts["mask_token"]

    def __call__(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        truncation: bool | str = False,
        max_length: int | None = None,
        stride: int = 0,
        add_special_tokens: bool = True,
        return_overflowing_tokens: bool = False,
        **returned: bool,
    ) -> Encodings:
        """Sequences of texts, or of pairs; arguments and result as in transformers.

        Args:
            texts: texts.
            pairs: a second text for each.
            truncation: whether texts are cut: True cuts the longer of a pair, `only_second` the second.
            max_length: most tokens of a sequence, if texts are cut.
            stride: tokens that the parts of a cut text share.
            add_special_tokens: whether special tokens are added.
            return_overflowing_tokens: whether the cut parts are sequences, too.
            **returned: `return_token_type_ids` and the like.
        """
        self._cut(truncation, max_length, stride)
        given = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        found = self.backend_tokenizer.encode_batch(given, add_special_tokens=add_special_tokens)
        encodings, rows = list(found), list(range(len(found)))
        if return_overflowing_tokens:
            whole = [(row, part) for row, one in enumerate(found) for part in (one, *one.overflowing)]
            encodings, rows = [part for _, part in whole], [row for row, _ in whole]
        fields: JsonObject = {"input_ids": [one.ids for one in encodings]}
        for argument, (name, attribute) in _FIELDS.items():
            if returned.get(argument):
                fields[name] = [getattr(one, attribute) for one in encodings]
        if return_overflowing_tokens:
            fields["overflow_to_sample_mapping"] = rows
        return Encodings(fields, encodings)

    def _cut(self, truncation: bool | str, max_length: int | None, stride: int) -> None:
        if not truncation or max_length is None:
            self.backend_tokenizer.no_truncation()
            return
        strategy = "longest_first" if truncation is True else str(truncation)
        self.backend_tokenizer.enable_truncation(max_length, stride=stride, strategy=strategy)
