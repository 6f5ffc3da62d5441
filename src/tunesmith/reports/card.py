"""The model card, `model/README.md`: what the model is, how good it is, and what may be done with it.

The front matter is made by `huggingface_hub`, so that the Hub reads licence, languages, data sets and scores.
Every sentence is a fact from the files of the run; what nobody knows is said to be unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunesmith._telemetry import import_huggingface_hub
from tunesmith.metrics import METRICS
from tunesmith.models.adapters import is_adapter
from tunesmith.reports import card_parts as parts
from tunesmith.reports.sections import Source
from tunesmith.reports.sources import is_local_model, named_model, named_sources
from tunesmith.run import Run, write_atomically

if TYPE_CHECKING:
    from tunesmith.tasks import Task

_UNKNOWN = "unknown"
_HUB = "hub:"


def write_card(run: Run) -> None:
    """Writes the card from the files of the run folder."""
    source = Source(run, run.manifest(), run.metrics)
    write_atomically(run.model / "README.md", f"---\n{_front_matter(source)}\n---\n{_body(source)}")


def _front_matter(source: Source) -> str:
    manifest, metrics = source.manifest, source.metrics
    base, used = manifest["model"].get("card", {}), manifest["used"]
    named = list(dict.fromkeys(_hub_metric(name) for name in metrics["splits"][source.primary["split"]]))
    adapts = is_adapter(source.run.model)
    # A local model's name may be that of another model on the Hub.
    known = {} if is_local_model(manifest) else {"base_model_relation": "adapter" if adapts else "finetune"}
    data = import_huggingface_hub().ModelCardData(
        language=base.get("language"),
        license=base.get("license", _UNKNOWN),
        license_name=base.get("license_name"),
        license_link=base.get("license_link"),
        library_name="peft" if adapts else "transformers",
        pipeline_tag=_tag(source.task),
        base_model=named_model(manifest) if known else None,
        **known,
        datasets=_hub_data(used["data"]["train"]) or None,
        metrics=named,
        tags=["tunesmith"],
        model_name=source.run.path.name,
        eval_results=_results(source),
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


def _results(source: Source) -> list[Any]:
    """Every metric of the split that counts, on the data that it comes from."""
    result_class, split = import_huggingface_hub().EvalResult, source.primary["split"]
    data = source.manifest["used"]["data"]
    sources = data[split] if isinstance(data[split], list) else data["train"]
    return [
        result_class(
            task_type=_tag(source.task),
            metric_type=_hub_metric(name),
            metric_name=METRICS.get(name).label,
            metric_value=round(score["value"], 6),
            dataset_split=split,
            dataset_type=(_hub_data(sources) or ["local"])[0],
            dataset_name=named_sources(sources),
        )
        for name, score in source.metrics["splits"][split].items()
        if score["value"] is not None
    ]


def _body(source: Source) -> str:
    return _CARD.format(
        title=source.run.path.name,
        made_of=parts.made_of(source),
        usage=parts.usage(source),
        scores=parts.scores(source),
        found=parts.found(source),
        groups=parts.groups(source),
        data=parts.data(source),
        training=parts.training(source),
        energy=parts.energy(source),
        licence=parts.licence(source),
        languages=parts.languages(source),
    )


_CARD = """
# {title}

{made_of}

{usage}
## How good it is

{scores}
## What the evaluation found

{found}

{groups}

## Intended use

For new texts like the scored ones: of the same kind, from the same source, in the same language. Whether it is fit
for another use is unknown. The report of the run (`report.html`) has scores by label, the worst errors and the
whole recipe.

## Data

{data}

## How it was made

{training}

{energy}

## Licence

{licence} {languages} The training data may have conditions of their own.
"""
