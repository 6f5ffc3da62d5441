"""Writes the pages that are made from the code, or with `--check` fails when they differ from it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.cli import VERBS
from tunesmith.cli.main import build_app
from tunesmith.data.recipe_template import schema_text
from tunesmith.metrics import METRICS
from tunesmith.recipe import METHOD_ALIASES, SYNONYMS, TRANSLATIONS, describe_fields, yaml_value
from tunesmith.recipe.translations import ALWAYS, TRAIN_ON
from tunesmith.tasks import TASKS, Column, Task, best_metric

if TYPE_CHECKING:
    from tunesmith.models.catalogue import KnownModel

HERE = Path(__file__).parent


def recipe_page() -> str:
    """Every key of the recipe, and the names that are also accepted."""
    rows = "\n".join(f"| `{key}` | `{default}` | {text} |" for key, default, text in describe_fields())
    names = "\n".join(f"| `{theirs}` | `{ours}` |" for theirs, ours in sorted(SYNONYMS.items()))
    return (
        "# The recipe\n\n"
        "A recipe is a YAML file (version 1.2: `2e-4` is a number, `no` is a text). An unknown key is an error\n"
        "with a suggestion. Data files are searched for beside the recipe first, then in the current folder.\n"
        "On the command line, `section.key=value` after the verb overrides the file. The JSON Schema for\n"
        "editors is [recipe.schema.json](recipe.schema.json). `make docs` generates this page.\n\n"
        f"| key | default | meaning |\n|---|---|---|\n{rows}\n\n"
        "## Names from other tools\n\nThese names are also accepted, and a notice gives the name used here.\n\n"
        f"| name | key |\n|---|---|\n{names}\n\n"
        "These keys say which words of a conversation are learned. Only turns of the assistant are learned here,\n"
        "so other values are refused.\n\n"
        f"| name | of | value | here |\n|---|---|---|---|\n{_translations()}\n\n"
        "These names of tasks and methods are accepted, too.\n\n"
        f"| key | value | also |\n|---|---|---|\n{_aliases()}\n"
    )


def _translations() -> str:
    """Keys of other tools with values of their own."""
    shown = {ALWAYS: "as always", **{value: f"`{TRAIN_ON}: {value}`" for value in ("all", "last")}}
    return "\n".join(
        f"| `{name}` | {it.tool} | `{yaml_value(theirs)}` | {shown[ours]} |"
        for name, it in sorted(TRANSLATIONS.items())
        for theirs, ours in it.values.items()
    )


def _aliases() -> str:
    """Other names of tasks and methods."""
    methods: dict[str, list[str]] = {}
    for theirs, ours in METHOD_ALIASES.items():
        methods.setdefault(ours, []).append(theirs)
    rows = [("task", name, TASKS.get(name).aliases) for name in TASKS.built_in()]
    rows += [("train.method", name, tuple(others)) for name, others in methods.items()]
    return "\n".join(f"| `{key}` | `{name}` | {_marked(others)} |" for key, name, others in rows)


def facts_page() -> str:
    """Columns, options, baselines and metrics of every task."""
    rows = "\n".join(
        f"| {_marked([name])}{with_what} | {_marked(_column(column) for column in task.columns)} "
        f"| {_length(task)} | {_marked(task.supported_options)} | {_marked(task.baselines)} "
        f"| {_marked([task.primary_metric])} | {_marked([best_metric(task, {})[0]])} |"
        for name in TASKS.built_in()
        for with_what, task in _objects(TASKS.get(name))
    )
    names = "\n".join(
        f"| {_marked([name])} | {_marked([column.name])} | {_marked(column.aliases)} |"
        for name in TASKS.built_in()
        for column in TASKS.get(name).columns
    )
    return (
        "# Facts of the tasks\n\nThe facts behind [tasks.md](tasks.md), from the code. A column in brackets is\n"
        "optional. `make docs` generates this page.\n\n"
        "| task | columns | `max_length: auto`, and longer texts | keys of `train` that only some tasks support"
        " | baselines besides the probe | primary metric | metric of the best step |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n\n"
        "## Names by which columns are found\n\nTheir own name first, then these, the most usual first.\n\n"
        f"| task | column | also found as |\n|---|---|---|\n{names}\n\n"
        "## Metrics\n\nThe values of a share go from 0 to 1; reports show them as percentages.\n\n"
        f"| metric | in reports | better | unit | meaning |\n|---|---|---|---|---|\n{_metrics()}\n"
    )


def _objects(task: Task) -> list[tuple[str, Task]]:
    """The task, and how it differs for a decoder alone where it has both kinds of models."""
    if task.decoders is None:
        return [("", task)]
    return [("", task), (", by a decoder", task.decoders.task())]


def _metrics() -> str:
    return "\n".join(
        f"| `{metric.name}` | {metric.label} | {'greater' if metric.greater_is_better else 'smaller'} "
        f"| {metric.unit} | {metric.meaning} |"
        for metric in map(METRICS.get, METRICS.built_in())
    )


def _column(column: Column) -> str:
    return column.name if column.required else f"[{column.name}]"


def _length(task: Task) -> str:
    length = "the longest text" if task.length.auto is None else f"{task.length.auto}"
    return f"{length}; {'windows' if task.windows else 'cut'}"


def _marked(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"


def commands_page() -> str:
    """The help of every verb."""
    import click
    import typer.main

    group = typer.main.get_command(build_app())
    parts = [
        "# Commands\n\nThe help of every verb, as it prints it. This page is generated by `make docs`.\n"
    ]
    for name in VERBS.built_in():
        command = group.commands[name]  # type: ignore[attr-defined]
        context = click.Context(
            command, info_name=f"tunesmith {name}", terminal_width=100, max_content_width=100
        )
        parts.append(f"\n## {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "".join(parts)


def models_page() -> str:
    """Every family of models by task, from the results of the sweep over tiny models (docs/models.json)."""
    from tunesmith.models.auto_classes import AUTO_CLASSES
    from tunesmith.testing.families import LEFT_OUT

    found = json.loads((HERE / "models.json").read_text(encoding="utf-8"))
    rows = "\n".join(
        f"| `{family}` | {' | '.join(_cell(tasks.get(name)) for name in AUTO_CLASSES)} | {_family_notes(tasks)} |"
        for family, tasks in sorted(found.items())
    )
    reasons = sorted(
        {
            f"| `{family}` | {AUTO_CLASSES[name].in_words} | {entry['why']} |"
            for family, tasks in found.items()
            for name, entry in tasks.items()
            if "why" in entry
        }
    )
    rest = "\n".join(f"| `{family}` | {why} |" for family, why in sorted(LEFT_OUT.items()))
    return (
        "# Models\n\nThis page lists which tasks work with which family of models (`model_type` in config.json).\n"
        "`make families` tries a tiny random model of every family with a tokenizer of its kind. It checks that\n"
        "the model opens, computes the same as transformers, trains, reads a text of the stated maximum length,\n"
        "can be frozen, adapted and saved, and gives the same answers alone and in a batch. This page is\n"
        "generated from the results, for the version of transformers in constraints.txt.\n\n"
        "[choosing.md](choosing.md) says which model to choose.\n\n"
        "`fast`: faster code replaces the encoder's own. `stock`: the code of transformers runs.\n"
        "`no`: refused, with the reason below. –: transformers has no class for the task.\n"
        "*Not packed*: short texts are padded, since in one sequence they would attend to each other.\n"
        "*Equal lengths*: padding changes the outputs of the model, so answers are computed for texts of one\n"
        "length at a time.\n\n"
        "A family that generates text also summarizes and translates, [by a decoder](tasks.md#by-a-decoder): the\n"
        "column of these tasks is on models with an encoder and a decoder. A GGUF file of a decoder is read if\n"
        "transformers knows its architecture: Llama, Mistral, Qwen, Gemma, Phi, GPT-2, StarCoder, Falcon, ….\n\n"
        f"| family | {' | '.join(known.in_words for known in AUTO_CLASSES.values())} | notes |\n"
        f"|{'---|' * (len(AUTO_CLASSES) + 2)}\n{rows}\n\n"
        "## Refused, and why\n\n| family | task | reason |\n|---|---|---|\n" + "\n".join(reasons) + "\n\n"
        "## Not tried\n\nThese families do not read plain text, or are parts of another model.\n\n"
        f"| family | reason |\n|---|---|\n{rest}\n"
    )


def catalogue_page() -> str:
    """The list of models for `tunesmith models`."""
    from tunesmith.models.catalogue import catalogue
    from tunesmith.reports.models_table import in_millions

    def languages(model: KnownModel) -> str:
        few = ", ".join(model.languages)
        return few if len(model.languages) <= _FEW else f"{len(model.languages)} languages"

    rows = "\n".join(
        f"| [{model.id}](https://huggingface.co/{model.id}) | {model.kind} | `{model.family}` "
        f"| {in_millions(model.parameters)} | {model.context:,} | {model.licence} | {languages(model)} "
        f"| {_remarks(model)} |"
        for model in catalogue()
    )
    return (
        "# The list of base models\n\n"
        "The models that [`tunesmith models`](choosing.md) chooses from, besides those on the machine. The\n"
        "facts are those of cards, configs and papers; `tunesmith models ID` shows the source of each. A test\n"
        "builds every model from its config and counts its weights. `make docs` generates this page.\n\n"
        "*Pickled*: the Hub had no safetensors, so tunesmith cannot read it as it is. *Not verified*: whether\n"
        "there are safetensors. *Gated*: the Hub asks for a consent.\n\n"
        "| model | kind | family | weights | tokens | licence | languages | remarks |\n"
        "|---|---|---|--:|--:|---|---|---|\n"
        f"{rows}\n"
    )


_FEW = 6


def _remarks(model: KnownModel) -> str:
    said = {
        "gated": model.gated,
        "pickled": model.weights == "pickle",
        "not verified": model.weights == "unknown",
        "compares texts": model.sentence,
        "chat": model.chat,
        f"for {model.domain}": model.domain,
        f"writes {model.writes}": model.writes,
    }
    return ", ".join(name for name, is_so in said.items() if is_so)


def _cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "–"
    if "wrong" in entry:
        return f"wrong: {', '.join(entry['wrong'])}"
    return "no" if entry["state"] == "not supported" else f"{entry['state']}"


def _family_notes(tasks: dict[str, Any]) -> str:
    return ", ".join(sorted({note for entry in tasks.values() for note in entry.get("notes", ())}))


def pages() -> dict[str, str]:
    """The text of every generated page, by file name."""
    return {
        "recipe.md": recipe_page(),
        "task-facts.md": facts_page(),
        "commands.md": commands_page(),
        "models.md": models_page(),
        "catalogue.md": catalogue_page(),
        "recipe.schema.json": schema_text(),
    }


def main() -> None:
    """Writes the pages, or checks them."""
    differing = []
    for name, text in pages().items():
        file = HERE / name
        if "--check" in sys.argv:
            if not file.is_file() or file.read_text(encoding="utf-8") != text:
                differing.append(name)
        else:
            file.write_text(text, encoding="utf-8")
    if differing:
        sys.exit(f"docs/{', docs/'.join(differing)}: differs from the code; run `make docs`.")


if __name__ == "__main__":
    main()
