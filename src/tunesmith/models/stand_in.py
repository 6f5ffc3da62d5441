"""A tokenizer in place of one that is not on this machine, made from the user's own texts.

Lengths in tokens decide about time and memory, and the tokenizer of a model that was never downloaded is not here.
BPE on bytes (Sennrich et al. 2016, arXiv 1508.07909) with a vocabulary of this size splits the texts that it was
made from into about as many pieces as the tokenizers of well-known models do; docs/models-to-choose.md has the
ratios. A model that reads bytes gets one without merges, whose lengths are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import Tokenizer

_SPECIAL = {
    "pad_token": "<pad>",
    "bos_token": "<s>",
    "cls_token": "<cls>",
    "eos_token": "</s>",
    "sep_token": "<sep>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
_PIECES = 8_000
_BYTES = 256


def stand_in_tokenizer(texts: Iterable[str], *, context: int, reads_bytes: bool = False) -> Tokenizer:
    """A tokenizer for the lengths of these texts, with every special token that a task may ask for.

    Args:
        texts: sample of the texts.
        context: tokens that the model reads at once.
        reads_bytes: whether the model reads bytes.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = list(_SPECIAL.values())
    trainer = trainers.BpeTrainer(
        vocab_size=len(special) + (_BYTES if reads_bytes else _PIECES),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    begin, end = _SPECIAL["bos_token"], _SPECIAL["eos_token"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B {end}",
        special_tokens=[(token, backend.token_to_id(token)) for token in (begin, end)],
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=context, **_SPECIAL)
