"""Time to quality: the scores on the test rows along a whole training, the clock stopped while they are taken.

    python benchmarks/_child_whole.py '{"program": "ours", …}'

The clock starts when the rows are read and the model is loaded, so encoding, probe and head start count. Ours
is scored when training begins (that is the probe's head) and every few steps, Trainer after every epoch; both
by the same means, the accuracy of the model as it is at that moment. The training itself is not touched.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _child_stretch import Spec, encoded_rows, load_for_trainer, recipe_of, training_arguments

_EVALUATIONS_AN_EPOCH = 6
_ROWS_OF_A_PASS = 32


class Clock:
    """Seconds, of which some do not count."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now, self._began = now, now()

    @property
    def seconds(self) -> float:
        """That count, so far."""
        return self._now() - self._began

    def restart(self) -> None:
        """What was until now does not count."""
        self._began = self._now()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """What is done in here does not count."""
        began = self._now()
        yield
        self._began += self._now() - began


def seconds_to(points: list[dict[str, float]], accuracy: float) -> float | None:
    """When an accuracy was first reached; None if never."""
    return next((point["seconds"] for point in points if point["accuracy"] >= accuracy), None)


def trainer(spec: Spec) -> dict[str, Any]:
    """`Trainer` to its end, scored after every epoch."""
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

    model, tokenizer = load_for_trainer(spec)
    test = encoded_rows(spec.options["test"], tokenizer)
    points: list[dict[str, float]] = []
    clock = Clock()
    rows = encoded_rows(spec.train, tokenizer)

    class Callback(TrainerCallback):
        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            seconds = clock.seconds
            with clock.stopped():
                points.append({"seconds": seconds, "accuracy": accuracy_of(model, tokenizer, test)})

    Trainer(
        model=model,
        args=TrainingArguments(**training_arguments(spec)),
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[Callback()],
    ).train()
    return {"points": points, "seconds": clock.seconds, "final": points[-1]["accuracy"]}


def accuracy_of(model: Any, tokenizer: Any, rows: Any) -> float:
    """The share of rows whose label the model gives, in batches of similar length."""
    import torch

    was_training, right = model.training, 0
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    model.eval()
    with torch.inference_mode():
        for i in range(0, len(order), _ROWS_OF_A_PASS):
            batch = tokenizer.pad(rows.select(order[i : i + _ROWS_OF_A_PASS]).to_list(), return_tensors="pt")
            labels = batch.pop("labels")
            right += int((model(**batch).logits.argmax(-1) == labels).sum())
    model.train(was_training)
    return right / len(rows)


def ours(spec: Spec) -> dict[str, Any]:
    """`tunesmith.train` to its end, scored when the loop begins and several times an epoch.

    Options:
        defaults: no value but data and model is given.
        recipe: values by dotted key.
    """
    import tunesmith
    from tunesmith import events
    from tunesmith.pipeline.predict_split import predict_split
    from tunesmith.tasks import point_scores

    tunesmith.tune_process()  # as the command line does
    points: list[dict[str, float]] = []

    class Listener:
        stage_now, trained_s = "", 0.0

        def __call__(self, event: events.Event) -> None:
            if isinstance(event, events.Stage):
                self.stage(event.name)
            if isinstance(event, events.Step):
                every = max(1, round(event.step / max(event.epoch, 1e-9) / _EVALUATIONS_AN_EPOCH))
                if event.step % every == 0 or event.step == event.total_steps:
                    self.evaluate()

        def stage(self, name: str) -> None:
            if name == "train":
                self.evaluate()
            if self.stage_now == "train":
                self.trained_s = clock.seconds
            self.stage_now = name

        def evaluate(self) -> None:
            seconds = clock.seconds
            with clock.stopped():
                work, plan = plans[-1]
                evaluated = predict_split(work, plan, plan.final_split)
                scores = point_scores(work.task, evaluated, plan.data.label_schema)
            points.append({"seconds": seconds, "accuracy": scores["accuracy"]})

    listener, clock = Listener(), Clock()
    with plans_made(clock) as plans:
        run = tunesmith.train(
            overrides=spec.options.get("recipe", {}) if spec.options.get("defaults") else _same(spec),
            listeners=[listener],
            model=spec.model,
            data=spec.train,
            test=spec.options["test"],
            output_dir=spec.folder,
        )
    final = run.metrics["primary"]["value"]
    return {"points": points, "seconds": listener.trained_s, "all_s": clock.seconds, "final": final}


def _same(spec: Spec) -> dict[str, Any]:
    asked = recipe_of(spec)
    del asked["train.eval_steps"]
    return asked


@contextlib.contextmanager
def plans_made(clock: Clock) -> Iterator[list[Any]]:
    """Yields what the phases of the pipeline read, and restarts the clock when a model is open."""
    from tunesmith.pipeline import training

    made: list[Any] = []
    open_model, make_plan = training.open_model, training.make_plan

    def opening(*arguments: Any) -> Any:
        opened = open_model(*arguments)
        clock.restart()
        return opened

    def planning(work: Any, *arguments: Any) -> Any:
        made.append((work, make_plan(work, *arguments)))
        return made[-1][1]

    training.open_model, training.make_plan = opening, planning
    try:
        yield made
    finally:
        training.open_model, training.make_plan = open_model, make_plan


PROGRAMS = {"trainer": trainer, "ours": ours}


def main() -> None:
    """Trains what the argument specifies and prints the result."""
    spec = Spec(**json.loads(sys.argv[1]))
    with contextlib.redirect_stdout(sys.stderr):
        result = PROGRAMS[spec.program](spec)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
