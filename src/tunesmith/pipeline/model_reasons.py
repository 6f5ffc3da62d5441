"""Why a base model is recommended for a task and its data, or not: in words, from facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.models.catalogue import DECODER, ENCODER, ENCODER_DECODER, UNKNOWN, KnownModel
from tunesmith.models.memory import in_gb
from tunesmith.pipeline.data_facts import DataFacts
from tunesmith.pipeline.model_costs import Cost
from tunesmith.reports.models_table import in_time
from tunesmith.tasks import Task

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

RECOMMENDED, POSSIBLE, UNFIT = "recommended", "possible", "unfit"
FOR, AGAINST, RULES_OUT, NOTE = "for", "against", "rules out", "note"

_KIND_OF_CLASS = {"AutoModelForCausalLM": DECODER, "AutoModelForSeq2SeqLM": ENCODER_DECODER}
_LONG_S = 4 * 3600.0
_MANY_LONGER = 0.05
_SUMMARY_SHARE = 0.5
_NOT_COMMERCIAL = ("-nc", "research", "noncommercial")
_USUAL_LICENCES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0")


@dataclass(frozen=True)
class Reason:
    """One reason.

    Args:
        side: `for`, `against`, `rules out`, or `note` for what is only worth knowing.
        text: sentence without a capital and a full stop.
    """

    side: str
    text: str

    def to_json(self) -> JsonObject:
        """The entry for `--json`."""
        return {"side": self.side, "text": self.text}


def verdict_of(reasons: Sequence[Reason]) -> str:
    """`recommended`, `possible` or `unfit`."""
    sides = {reason.side for reason in reasons}
    return UNFIT if RULES_OUT in sides else POSSIBLE if AGAINST in sides else RECOMMENDED


def reasons_before_measuring(
    known: KnownModel, task: Task, data: DataFacts | None, *, available: bool
) -> list[Reason]:
    """What speaks for a model and against it, as far as its facts tell.

    Args:
        known: facts of the model.
        task: task as this model learns it.
        data: facts of the data; None without data.
        available: whether the model is on this machine.
    """
    found = [*_of_kind(known, task), *_of_purpose(known, task, data)]
    if data is not None:
        found += [*_of_languages(known, data), *_of_length(known, task, data)]
    return [*found, *_of_access(known, available=available), *_of_licence(known)]


def reasons_of_cost(cost: Cost) -> Iterator[Reason]:
    """What speaks against a model by what its training takes."""
    if not cost.fits:
        yield Reason(
            RULES_OUT,
            f"training all its weights needs {in_gb(cost.memory)}, more than is free; `train.method=lora` or a "
            "machine with more memory may do",
        )
    total = cost.epoch_s * cost.epochs
    if total > _LONG_S:
        yield Reason(AGAINST, f"about {in_time(total)} for {cost.epochs:g} epochs on this machine")
    for text in cost.notes:
        yield Reason(NOTE, text)


def _of_kind(known: KnownModel, task: Task) -> Iterator[Reason]:
    import transformers
    from transformers import CONFIG_MAPPING

    if known.family not in CONFIG_MAPPING:
        yield Reason(RULES_OUT, f"this version of transformers does not know the family `{known.family}`")
        return
    wanted, is_a = _KIND_OF_CLASS.get(task.auto_class, ENCODER), _with_article(known.kind)
    if CONFIG_MAPPING[known.family] not in getattr(transformers, task.auto_class)._model_mapping:
        yield Reason(RULES_OUT, f"{is_a}: transformers has no class of its family for {task.name}")
    elif known.kind != wanted and wanted != ENCODER:
        yield Reason(RULES_OUT, f"{is_a}, and {task.name} needs {_with_article(wanted)}")
    elif known.kind != wanted:
        yield Reason(AGAINST, f"{is_a}; an encoder of this size usually does better here")


def _with_article(kind: str) -> str:
    return f"{'a' if kind == DECODER else 'an'} {kind}"


def _of_purpose(known: KnownModel, task: Task, data: DataFacts | None) -> Iterator[Reason]:
    if known.domain:
        yield Reason(AGAINST, f"made for {known.domain}; choose it for such texts")
    if known.sentence and task.auto_class == "AutoModelForMaskedLM":
        yield Reason(AGAINST, "its files have no output layer for masked words; a new one begins at random")
    elif task.vectors is not None or (data is not None and data.pairs and task.pooling is not None):
        yield (
            Reason(FOR, "made to compare texts")
            if known.sentence
            else Reason(AGAINST if task.vectors is not None else NOTE, "not made to compare texts")
        )
    if task.chat is not None:
        yield (
            Reason(FOR, "tuned to answer in a chat")
            if known.chat
            else Reason(AGAINST, "has no chat template and was not tuned to answer")
        )
    if known.writes:
        said = f"fine-tuned to write {known.writes}"
        yield Reason(NOTE if data is None else _side_of_writing(known, data), said)


def _side_of_writing(known: KnownModel, data: DataFacts) -> str:
    """Whether what a model was fine-tuned to write is like what the data want: a translation, or a short text."""
    is_short = not data.crosses and data.written is not None and data.written < _SUMMARY_SHARE
    return FOR if (data.crosses if known.writes == "translations" else is_short) else AGAINST


def _of_languages(known: KnownModel, data: DataFacts) -> Iterator[Reason]:
    needed = [name for name, share in data.languages.items() if share >= 0.1]
    if not needed:
        return
    if not known.languages:
        yield Reason(NOTE, "its languages are not known")
        return
    named = " and ".join(f"`{name}`" for name in needed)
    if missing := [name for name in needed if name not in known.languages]:
        side, lacking = RULES_OUT if missing == needed else AGAINST, " and ".join(f"`{it}`" for it in missing)
        yield Reason(side, f"made for {_listed(known.languages)}, and texts are in {lacking}")
    elif len(known.languages) == 1:
        yield Reason(FOR, f"made for {named}")
    elif needed == ["en"] and known.kind == ENCODER:
        yield Reason(
            AGAINST, f"knows {len(known.languages)} languages; one for `en` alone is better at its size"
        )
    else:
        yield Reason(FOR, f"knows {named} among {len(known.languages)} languages")


def _listed(languages: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in languages[:4])
    return shown if len(languages) <= 4 else f"{shown} and {len(languages) - 4} more languages"


def _of_length(known: KnownModel, task: Task, data: DataFacts) -> Iterator[Reason]:
    share = data.share_longer(known)
    if not share or known.context is None:
        return
    if task.windows is not None:
        yield Reason(
            NOTE, f"{share:.0%} of the texts are longer than its {known.context:,} tokens and become windows"
        )
    else:
        yield Reason(
            AGAINST if share > _MANY_LONGER else NOTE,
            f"{share:.1%} of the texts are longer than its {known.context:,} tokens and would be cut",
        )


def _of_access(known: KnownModel, *, available: bool) -> Iterator[Reason]:
    if available:
        yield Reason(FOR, "is on this machine")
        return
    if known.weights == "pickle":
        yield Reason(RULES_OUT, "the Hub has its weights only as pickled files, which are not read here")
    if known.gated:
        yield Reason(AGAINST, "the Hub gives it only to accounts that have accepted its licence")
    if known.weights == UNKNOWN:
        yield Reason(NOTE, "whether the Hub has its weights as safetensors was not verified")


def _of_licence(known: KnownModel) -> Iterator[Reason]:
    name = known.licence.lower()
    if any(mark in name for mark in _NOT_COMMERCIAL):
        yield Reason(AGAINST, f"its licence ({known.licence}) forbids commercial use")
    elif name == UNKNOWN:
        yield Reason(NOTE, "its card names no licence")
    elif name not in _USUAL_LICENCES:
        yield Reason(NOTE, f"read its licence ({known.licence})")
