"""The parts of the model card, as Markdown: each from the files of a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tunesmith.evaluation.result import remarks
from tunesmith.hooks import in_words
from tunesmith.metrics import METRICS, NOTHING
from tunesmith.models.adapters import is_adapter
from tunesmith.models.gguf import is_whole
from tunesmith.reports.sections import Source, summary
from tunesmith.reports.sources import is_local_model, named_model, named_sources
from tunesmith.reports.usage import with_offsets, with_transformers
from tunesmith.tasks import OFFSETS

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

FOLDER = "PATH/TO/THIS/FOLDER"
_BASE = "PATH/TO"


def made_of(source: Source) -> str:
    """What the model is, and its labels."""
    labels = source.manifest["label_schema"].get("labels", [])
    named = " Labels: " + ", ".join(f"`{label}`" for label in labels) + "." if labels else ""
    local = ", a model of its author's own," if is_local_model(source.manifest) else ""
    few_bits = _few_bits(source.manifest["model"], is_local=bool(local))
    return f"`{named_model(source.manifest)}`{local} fine-tuned for {source.task.name}.{named}{few_bits}"


def _few_bits(base: JsonObject, *, is_local: bool) -> str:
    """A sentence on weights that were less exact than those that others know by the name."""
    stored = base.get("stored")
    if stored is None or is_whole(stored):
        return ""
    said = f" Its weights were stored as {stored}, with a few bits each."
    return said if is_local else f"{said} The model of this name on the Hub is more exact."


def usage(source: Source) -> str:
    """Code with plain transformers, and how its answers can differ from ours."""
    local = is_local_model(source.manifest)
    base = f"{_BASE}/{named_model(source.manifest)}" if local else None
    code = with_transformers(source.run, FOLDER, base=base)
    return f"```python\n{code}\n```\n{_decision_note(source, base)}{_pipeline_note(source)}"


def _decision_note(source: Source, base: str | None) -> str:
    """How the answer is chosen, where it is not the most probable label."""
    if OFFSETS not in source.manifest["label_schema"]:
        return ""
    code = with_offsets(source.run, FOLDER, base=base)
    return f"\n{_DECISION}\n\n```python\n{code}\n```\n"


def _pipeline_note(source: Source) -> str:
    pipeline = source.task.pipeline
    if pipeline is None or pipeline.note is None or is_adapter(source.run.model):
        return ""
    return pipeline.note(json.loads((source.run.model / "tokenizer.json").read_text(encoding="utf-8")))


def scores(source: Source) -> str:
    """Every score with its interval, and the baselines on the same rows."""
    metrics, primary = source.metrics, source.primary
    rows = [
        f"| {split} | {name} | {_shown(score['value'])} | {_shown(score['low'])} to {_shown(score['high'])} |"
        for split, found in metrics["splits"].items()
        for name, score in found.items()
    ]
    baselines = [f"| {name} | {_shown(of[primary['name']])} |" for name, of in metrics["baselines"].items()]
    return _lines(
        "| split | metric | value | interval |",
        "|---|---|---|---|",
        *rows,
        "",
        f"{_dependence(primary)}On the same {primary['n']:,} {primary['split']} rows, {primary['name']} of:",
        "",
        f"| baseline | {primary['name']} |",
        "|---|---|",
        *(baselines or ["| none were scored | |"]),
        "",
    )


def _shown(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def _dependence(primary: JsonObject) -> str:
    """A sentence if the rows of the score are not independent."""
    if "groups" not in primary:
        return ""
    return f"The rows are in {primary['groups']:,} groups; intervals resample whole groups. "


def found(source: Source) -> str:
    """What the report says at its top, a point each."""
    overfitting = source.metrics.get("overfitting", {}).get("text", "")
    said = [*remarks(source.metrics), *([overfitting] if overfitting else []), *summary(source)]
    return _lines(*dict.fromkeys(f"- {_sentence(text)}" for text in said)) or "Nothing besides the scores."


def groups(source: Source) -> str:
    """How unlike the scores of groups of people are, where the recipe names the groups."""
    named = source.manifest["used"]["evaluate"]["groups"]
    if not named:
        return (
            "No groups of people were named (`evaluate.groups`), so whether the model is equally good for all of "
            "them is unknown."
        )
    metric = METRICS.get(source.primary["name"])
    return _lines(
        *(
            f"- By `{column}`, {metric.label} of groups differs by up to {metric.shown(of['gap'])}: "
            + "; ".join(f"`{name}` {metric.shown(score['value'])}" for name, score in of["values"].items())
            + "."
            for column, of in source.metrics["slices"].items()
            if column in named
        )
    )


def data(source: Source) -> str:
    """Where the rows come from, how many there are, and what is known to be wrong with them."""
    given, rows = source.manifest["used"]["data"], source.manifest["data"]["rows"]
    listed = [f"| {split} | {n:,} | {_sources(given, split)} |" for split, n in rows.items()]
    notices = [f"- {_sentence(notice)}" for notice in source.manifest["data"]["notices"]]
    fingerprint = source.manifest["data"]["fingerprint"]
    return _lines(
        "| split | rows | from |",
        "|---|---|---|",
        *listed,
        "",
        *notices,
        *([""] if notices else []),
        f"SHA-256 of the files: `{fingerprint}`. How the rows were collected and labelled is unknown.",
    )


def _sources(given: JsonObject, split: str) -> str:
    part = given.get(split)
    if isinstance(part, list):
        return named_sources(part)
    return "held out from the training files" if part else "–"


def training(source: Source) -> str:
    """Method, settings, hooks and machine."""
    used, manifest = source.manifest["used"], source.manifest
    train = used["train"]
    hooks, device = manifest.get("hooks", {}), manifest["machine"].get("device", "unknown")
    soup = manifest.get("soup", {})
    said = [
        f"Method `{train['method']}`, learning rate {train['learning_rate']}, {train['num_train_epochs']} epochs, "
        f"seed {used['seed']}; texts longer than {used['data']['max_length']} tokens are truncated.",
        f"Made with tunesmith {manifest['versions']['tunesmith']} on {device}.",
        *([f"Parts were replaced by a program: {in_words(hooks)}."] if hooks else []),
        *([f"Its weights are {soup['reason']}."] if soup.get("kept") else []),
        *([_POOLING] if train["pooling"] == "mean" else []),
    ]
    return "\n".join(said)


def energy(source: Source) -> str:
    """The estimate, with what it is made from; or that it is unknown."""
    known = source.metrics.get("energy")
    if not known:
        return "Energy of the training: unknown."
    return (
        f"Energy of the training: about {known['watt_hours']} Wh. This is an estimate: {known['processor_s']:,} "
        f"processor seconds (measured) at {known['watts_per_core']:g} W a core (assumed), without memory and "
        "cooling."
    )


def licence(source: Source) -> str:
    """The licence of the base model, carried over."""
    base, name = source.manifest["model"].get("card", {}), named_model(source.manifest)
    if known := base.get("license"):
        return f"The licence, `{base.get('license_name', known)}`, is that of the base model `{name}`."
    return f"The licence is unknown: neither the card nor the config of the base model `{name}` names one."


def languages(source: Source) -> str:
    """The languages of the base model."""
    known = source.manifest["model"].get("card", {}).get("language", [])
    spoken = ", ".join([known] if isinstance(known, str) else map(str, known))
    return f"Languages of the base model: {spoken}." if spoken else "Its languages are not named."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def _lines(*lines: str) -> str:
    return "\n".join(lines)


_POOLING = """
The last layer of this model is a pooling layer: its attention is uniform, so the classifier reads the mean over
all tokens. It is an ordinary layer of the architecture and needs no extra code."""

_DECISION = """\
This code answers with the most probable label. The scores below are those of tunesmith, which favours rare labels:
it adds an offset to the output of each label before it takes the largest one. The probabilities are the same.
Without tunesmith:"""
