"""The model card, `model/README.md`: what the model is, and how good it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tunesmith.models.adapters import is_adapter
from tunesmith.recipe import yaml_value
from tunesmith.run import Run, write_atomically
from tunesmith.tasks import TASKS, Task

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def write_card(run: Run) -> None:
    """Writes the card from the files of the run folder."""
    manifest, metrics = run.manifest(), run.metrics
    primary, used = metrics["primary"], manifest["used"]
    task = TASKS.get(metrics["task"])
    scores = "\n".join(
        f"| {split} | {name} | {score['value']:.4f} | {score['low']:.4f} to {score['high']:.4f} |"
        for split, found in metrics["splits"].items()
        for name, score in found.items()
    )
    baselines = "\n".join(
        f"| {name} | {found[primary['name']]:.4f} |" for name, found in metrics["baselines"].items()
    )
    rows = ", ".join(f"{n:,} {split}" for split, n in manifest["data"]["rows"].items())
    write_atomically(
        run.model / "README.md",
        _CARD.format(
            task=task.name,
            base=used["model"],
            base_yaml=yaml_value(used["model"]),
            title=run.path.name,
            metric=primary["name"],
            n=primary["n"],
            groups=_groups(primary),
            split=primary["split"],
            scores=scores,
            baselines=baselines or "| none were scored | |",
            rows=rows,
            max_length=used["data"]["max_length"],
            method=used["train"]["method"],
            rate=used["train"]["learning_rate"],
            epochs=used["train"]["num_train_epochs"],
            seed=used["seed"],
            labels=_labels(manifest["label_schema"]),
            tag=task.pipeline.tag if task.pipeline is not None else task.name,
            usage=_usage(task, used, adapted=is_adapter(run.model)),
            pipeline_note=_pipeline_note(task, run),
            pooling=_POOLING if used["train"]["pooling"] == "mean" else "",
            version=manifest["versions"]["tunesmith"],
        ),
    )


def _labels(label_schema: JsonObject) -> str:
    labels = label_schema.get("labels", [])
    return " Labels: " + ", ".join(f"`{label}`" for label in labels) + "." if labels else ""


def _groups(primary: JsonObject) -> str:
    """A sentence if the rows of the score are not independent."""
    if "groups" not in primary:
        return ""
    return f"The rows are in {primary['groups']:,} groups; intervals resample whole groups. "


def _usage(task: Task, used: JsonObject, *, adapted: bool) -> str:
    """How other tools load the model."""
    if adapted:
        return (
            f"from peft import PeftModel\nfrom transformers import {task.auto_class}\n\n"
            f"base = {task.auto_class}.from_pretrained({used['model']!r})\n"
            'model = PeftModel.from_pretrained(base, "PATH/TO/THIS/FOLDER")'
        )
    if task.pipeline is not None and task.pipeline.code:
        return task.pipeline.code
    if task.pipeline is not None:
        call = ", ".join(filter(None, ('"a text"', task.pipeline.arguments)))
        return (
            "from transformers import pipeline\n\n"
            f'answer = pipeline("{task.pipeline.tag}", model="PATH/TO/THIS/FOLDER")\nanswer({call})'
        )
    return (
        f"from transformers import AutoTokenizer, {task.auto_class}\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("PATH/TO/THIS/FOLDER")\n'
        f'model = {task.auto_class}.from_pretrained("PATH/TO/THIS/FOLDER")'
    )


def _pipeline_note(task: Task, run: Run) -> str:
    """How the answers of the pipeline can differ from ours."""
    if task.pipeline is None or task.pipeline.note is None or is_adapter(run.model):
        return ""
    return task.pipeline.note(json.loads((run.model / "tokenizer.json").read_text(encoding="utf-8")))


_POOLING = """
The last layer of this model is a pooling layer: its attention is uniform, so the classifier reads the mean over
all tokens. It is an ordinary layer of the architecture and needs no extra code.
"""

_CARD = """---
library_name: transformers
pipeline_tag: {tag}
base_model: {base_yaml}
tags: [tunesmith]
---

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

## How it was made

Rows: {rows}. Method `{method}`, learning rate {rate}, {epochs} epochs, seed {seed}; texts longer than
{max_length} tokens are truncated. Made with tunesmith {version}.
{pooling}
## Limits

The scores are valid for texts like the scored ones. Scores by label, the most confident errors and the whole
recipe are in the report of the run.
"""
