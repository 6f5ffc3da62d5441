"""The model card, `model/README.md`: what the model is, how good it is, and what may be done with it.

The front matter is made by `huggingface_hub`, so that the Hub reads licence, languages, data sets and scores.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tunesmith._telemetry import import_huggingface_hub
from tunesmith.evaluation.result import remarks
from tunesmith.metrics import METRICS, NOTHING
from tunesmith.models.adapters import is_adapter
from tunesmith.reports.sources import named_sources
from tunesmith.reports.usage import with_transformers
from tunesmith.run import Run, write_atomically
from tunesmith.tasks import TASKS, Task

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

FOLDER = "PATH/TO/THIS/FOLDER"
_UNKNOWN = "unknown"
_HUB = "hub:"


def write_card(run: Run) -> None:
    """Writes the card from the files of the run folder."""
    manifest, metrics = run.manifest(), run.metrics
    task = TASKS.get(metrics["task"])
    front = _front_matter(run, task, manifest, metrics)
    write_atomically(run.model / "README.md", f"---\n{front}\n---\n{_body(run, task, manifest, metrics)}")


def _front_matter(run: Run, task: Task, manifest: JsonObject, metrics: JsonObject) -> str:
    base, used = manifest["model"].get("card", {}), manifest["used"]
    named = list(dict.fromkeys(_hub_metric(name) for name in metrics["splits"][metrics["primary"]["split"]]))
    data = import_huggingface_hub().ModelCardData(
        language=base.get("language"),
        license=base.get("license", _UNKNOWN),
        license_name=base.get("license_name"),
        license_link=base.get("license_link"),
        library_name="peft" if is_adapter(run.model) else "transformers",
        pipeline_tag=_tag(task),
        base_model=used["model"],
        datasets=_hub_data(used["data"]["train"]) or None,
        metrics=named,
        tags=["tunesmith"],
        model_name=run.path.name,
        eval_results=_results(task, used, metrics),
    )
    return str(data.to_yaml())


def _tag(task: Task) -> str:
    return task.pipeline.tag if task.pipeline is not None else task.name


def _hub_metric(name: str) -> str:
    metric = METRICS.get(name)
    return metric.hub_name or metric.name


def _hub_data(sources: list[str]) -> list[str]:
    """Data sets of the Hub among the sources, which are `hub:NAME[:SPLIT]`."""
    return [source.removeprefix(_HUB).partition(":")[0] for source in sources if source.startswith(_HUB)]


def _results(task: Task, used: JsonObject, metrics: JsonObject) -> list[Any]:
    """Every metric of the split that counts, on the data that it comes from."""
    result_class = import_huggingface_hub().EvalResult
    split = metrics["primary"]["split"]
    given = used["data"][split]
    sources = given if isinstance(given, list) else used["data"]["train"]
    dataset_type = (_hub_data(sources) or ["local"])[0]
    return [
        result_class(
            task_type=_tag(task),
            metric_type=_hub_metric(name),
            metric_name=METRICS.get(name).label,
            metric_value=round(score["value"], 6),
            dataset_split=split,
            dataset_type=dataset_type,
            dataset_name=named_sources(sources),
        )
        for name, score in metrics["splits"][split].items()
        if score["value"] is not None
    ]


def _body(run: Run, task: Task, manifest: JsonObject, metrics: JsonObject) -> str:
    primary, used = metrics["primary"], manifest["used"]
    return _CARD.format(
        task=task.name,
        base=used["model"],
        title=run.path.name,
        metric=primary["name"],
        n=primary["n"],
        groups=_groups(primary),
        split=primary["split"],
        scores=_scores(metrics),
        baselines=_baselines(metrics),
        remarks="".join(f"{remark[:1].upper()}{remark[1:]}.\n" for remark in remarks(metrics)),
        rows=", ".join(f"{n:,} {split}" for split, n in manifest["data"]["rows"].items()),
        max_length=used["data"]["max_length"],
        method=used["train"]["method"],
        rate=used["train"]["learning_rate"],
        epochs=used["train"]["num_train_epochs"],
        seed=used["seed"],
        labels=_labels(manifest["label_schema"]),
        usage=with_transformers(run, FOLDER),
        pipeline_note=_pipeline_note(task, run),
        pooling=_POOLING if used["train"]["pooling"] == "mean" else "",
        licence=_licence(manifest["model"].get("card", {}), used["model"]),
        version=manifest["versions"]["tunesmith"],
    )


def _shown(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def _scores(metrics: JsonObject) -> str:
    return "\n".join(
        f"| {split} | {name} | {_shown(score['value'])} | {_shown(score['low'])} to {_shown(score['high'])} |"
        for split, found in metrics["splits"].items()
        for name, score in found.items()
    )


def _baselines(metrics: JsonObject) -> str:
    name = metrics["primary"]["name"]
    rows = "\n".join(
        f"| {baseline} | {_shown(found[name])} |" for baseline, found in metrics["baselines"].items()
    )
    return rows or "| none were scored | |"


def _labels(label_schema: JsonObject) -> str:
    labels = label_schema.get("labels", [])
    return " Labels: " + ", ".join(f"`{label}`" for label in labels) + "." if labels else ""


def _groups(primary: JsonObject) -> str:
    """A sentence if the rows of the score are not independent."""
    if "groups" not in primary:
        return ""
    return f"The rows are in {primary['groups']:,} groups; intervals resample whole groups. "


def _licence(base: JsonObject, name: str) -> str:
    """What is known of licence and languages."""
    found = base.get("license")
    languages = base.get("language", [])
    spoken = ", ".join([languages] if isinstance(languages, str) else map(str, languages))
    licence = (
        f"The licence, `{base.get('license_name', found)}`, is that of the base model `{name}`."
        if found
        else f"The licence is unknown: neither the card nor the config of the base model `{name}` names one."
    )
    known = f"Languages of the base model: {spoken}." if spoken else "Its languages are not named."
    return f"{licence} The training data may have conditions of their own. {known}"


def _pipeline_note(task: Task, run: Run) -> str:
    """How the answers of the pipeline can differ from ours."""
    if task.pipeline is None or task.pipeline.note is None or is_adapter(run.model):
        return ""
    return task.pipeline.note(json.loads((run.model / "tokenizer.json").read_text(encoding="utf-8")))


_POOLING = """
The last layer of this model is a pooling layer: its attention is uniform, so the classifier reads the mean over
all tokens. It is an ordinary layer of the architecture and needs no extra code.
"""

_CARD = """
# {title}

`{base}` fine-tuned for {task}.{labels}

```python
{usage}
```
{pipeline_note}
## How good it is

| split | metric | value | interval |
|---|---|---|---|
{scores}

{groups}On the same {n:,} {split} rows, {metric} of:

| baseline | {metric} |
|---|---|
{baselines}

{remarks}
## How it was made

Rows: {rows}. Method `{method}`, learning rate {rate}, {epochs} epochs, seed {seed}; texts longer than
{max_length} tokens are truncated. Made with tunesmith {version}.
{pooling}
## Licence

{licence}

## Limits

The scores are valid for texts like the scored ones. Scores by label, the most confident errors and the whole
recipe are in the report of the run.
"""
