"""`tunesmith demo`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

import typer

from tunesmith.cli.arguments import FORCE, JSON

if TYPE_CHECKING:
    from tunesmith.recipe import Recipe
    from tunesmith.run import Run
    from tunesmith.types import JsonObject

EXAMPLES = ("tunesmith demo", "tunesmith demo chat", "tunesmith demo train.method=probe")


@dataclass(frozen=True)
class _Demo:
    """A recipe of the bundled example, and what its result is asked.

    Args:
        output_dir: the run folder, unless another is named.
        messages: texts for the trained model.
        is_written: whether an answer is a text.
    """

    output_dir: str
    messages: tuple[str, ...]
    is_written: bool = False


_DEMOS = {
    "text-classification": _Demo(
        "runs/demo",
        (
            "Third week now and still no sign of my parcel, has it left the country?",
            "the left crank fell off on the way to school. bought in march",
            "Which size for someone 158 cm with short legs?",
            "You charged my card twice for the same lights!!",
            "Could one of you look at my gears on Saturday morning?",
        ),
    ),
    "chat": _Demo(
        "runs/demo-chat",
        (
            "Third week now and still no sign of my parcel, has it left the country?",
            "the left crank fell off on the way to school. bought in march",
            "You charged my card twice for the same lights!!",
        ),
        is_written=True,
    ),
}


def _complete_examples(incomplete: str) -> list[str]:
    return [name for name in _DEMOS if name.startswith(incomplete)]


def verb(
    arguments: list[str] = typer.Argument(
        None,
        metavar="[EXAMPLE] [KEY=VALUE]",
        help="text-classification (the default) or chat, and values that override its recipe: "
        "train.method=probe.",
        autocompletion=_complete_examples,
    ),
    output_dir: Optional[str] = typer.Option(
        None, help="The run folder.  [default: runs/demo, or runs/demo-chat]"
    ),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Train and evaluate on the bundled example.

    The embedded model learns it. The example is the support desk of a bicycle shop. By default, an encoder learns
    to classify its messages, in a minute. With `chat`, a decoder learns to reply to them, in about six minutes
    on two cores. Nothing is downloaded.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    from tunesmith import pipeline
    from tunesmith.cli.output import display
    from tunesmith.training.processes import is_first_process

    demo, recipe = _chosen(arguments or (), output_dir)
    with display() as shown:
        run = pipeline.train(recipe, force=force, listeners=[shown])
    if is_first_process():
        _show(run, demo, as_json=as_json)


def _chosen(arguments: Sequence[str], output_dir: str | None) -> tuple[_Demo, Recipe]:
    from tunesmith.api import build_recipe
    from tunesmith.errors import RecipeError, did_you_mean
    from tunesmith.examples import example_folder

    names = [argument for argument in arguments if "=" not in argument] or ["text-classification"]
    if len(names) > 1 or names[0] not in _DEMOS:
        rule = (
            f"there is no demo `{names[0]}`." if len(names) == 1 else f"one demo at a time, got {len(names)}."
        )
        raise RecipeError(
            rule,
            remedy=f"{did_you_mean(names[0], list(_DEMOS))} The example has a recipe for each task: "
            "examples/support/TASK.yaml.",
        )
    demo = _DEMOS[names[0]]
    recipe = build_recipe(
        example_folder("support") / f"{names[0]}.yaml",
        overrides=[argument for argument in arguments if "=" in argument],
        output_dir=output_dir or demo.output_dir,
    )
    return demo, recipe


def _show(run: Run, demo: _Demo, *, as_json: bool) -> None:
    """The scores, and the answers to the messages."""
    from tunesmith.cli.output import print_json, print_line, print_metrics
    from tunesmith.inference.predictor import Predictor

    answers = Predictor.from_run(run.path)(list(demo.messages))
    if as_json:
        predictions = [{"text": text, **answer} for text, answer in zip(demo.messages, answers, strict=True)]
        print_json(
            {"run": str(run.path), "report": str(run.report_file), "predictions": predictions, **run.metrics}
        )
        return
    print_metrics(run.metrics)
    print_line()
    for text, answer in zip(demo.messages, answers, strict=True):
        print_line(_line(text, answer, demo))
    print_line(f"\nmodel   {run.model}\nreport  {run.report_file}")
    print_line(f'next    tunesmith predict {run.path} "your own message"')


def _line(text: str, answer: JsonObject, demo: _Demo) -> str:
    if demo.is_written:
        return f"customer   {text}\nassistant  {answer['message']['content']}\n"
    return f"{answer['label']:<20} {answer['score']:.2f}  {text}"
