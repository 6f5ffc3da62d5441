"""`tunesmith demo`."""

from __future__ import annotations

import os

import typer

from tunesmith.cli.arguments import FORCE, JSON


def verb(
    arguments: list[str] = typer.Argument(
        None, metavar="KEY=VALUE", help="Values that override the recipe of the example: train.method=probe."
    ),
    output_dir: str = typer.Option("runs/demo", help="The run folder."),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Train and evaluate on the bundled example.

    The embedded model learns it. The example classifies messages to the support desk of a bicycle shop.
    Nothing is downloaded.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    from tunesmith import pipeline
    from tunesmith.api import build_recipe
    from tunesmith.cli.output import display, print_json, print_line, print_metrics
    from tunesmith.examples import example_folder
    from tunesmith.inference.predictor import Predictor
    from tunesmith.training.processes import is_first_process

    recipe = build_recipe(
        example_folder("support") / "text-classification.yaml",
        overrides=arguments or (),
        output_dir=output_dir,
    )
    with display() as shown:
        run = pipeline.train(recipe, force=force, listeners=[shown])
    if not is_first_process():
        return
    predictor = Predictor.from_run(run.path)
    predictions = dict(zip(_MESSAGES, predictor(_MESSAGES), strict=True))
    if as_json:
        answers = [{"text": t, "label": p["label"], "score": p["score"]} for t, p in predictions.items()]
        print_json(
            {"run": str(run.path), "report": str(run.report_file), "predictions": answers, **run.metrics}
        )
        return
    print_metrics(run.metrics)
    print_line()
    for text, prediction in predictions.items():
        print_line(f"{prediction['label']:<20} {prediction['score']:.2f}  {text}")
    print_line(f"\nmodel   {run.model}\nreport  {run.report_file}")
    print_line(f'next    tunesmith predict {run.path} "your own message"')


_MESSAGES = [
    "Third week now and still no sign of my parcel, has it left the country?",
    "the left crank fell off on the way to school. bought in march",
    "Which size for someone 158 cm with short legs?",
    "You charged my card twice for the same lights!!",
    "Could one of you look at my gears on Saturday morning?",
]
