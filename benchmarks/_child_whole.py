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

_LOOKS_AN_EPOCH = 6
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
    from tunesmith.progress import Silent, StepFacts
    from tunesmith.tasks import point_scores

    tunesmith.tune_process()  # as the command line does
    points: list[dict[str, float]] = []

    class Listener(Silent):
        stage_now = ""

        def stage(self, title: str) -> None:
            if title.startswith("Training"):
                self.look()
            if self.stage_now.startswith("Training"):
                self.trained_s = clock.seconds
            self.stage_now = title

        def step(self, facts: StepFacts) -> None:
            every = max(1, round(facts.step / max(facts.epoch, 1e-9) / _LOOKS_AN_EPOCH))
            if facts.step % every == 0 or facts.step == facts.total_steps:
                self.look()

        def look(self) -> None:
            seconds = clock.seconds
            with clock.stopped():
                session = sessions[-1]
                scores = point_scores(session.task, session.see(session.final), session.label_schema)
            points.append({"seconds": seconds, "accuracy": scores["accuracy"]})

    listener, clock = Listener(), Clock()
    with sessions_begun(clock) as sessions:
        run = tunesmith.train(
            overrides=spec.options.get("recipe", {}) if spec.options.get("defaults") else _same(spec),
            progress=listener,
            model=spec.model,
            data=spec.train,
            test=spec.options["test"],
            output_dir=spec.folder,
        )
    final = run.metrics()["primary"]["value"]
    return {"points": points, "seconds": listener.trained_s, "all_s": clock.seconds, "final": final}


def _same(spec: Spec) -> dict[str, Any]:
    asked = recipe_of(spec)
    del asked["train.eval_steps"]
    return asked


@contextlib.contextmanager
def sessions_begun(clock: Clock) -> Iterator[list[Any]]:
    """Yields the sessions that the pipeline begins, and restarts the clock with each."""
    from tunesmith import pipeline

    begun: list[Any] = []
    begin = pipeline.begin

    def remembering(*arguments: Any, **how: Any) -> Any:
        begun.append(begin(*arguments, **how))
        clock.restart()
        return begun[-1]

    pipeline.begin = remembering
    try:
        yield begun
    finally:
        pipeline.begin = begin


PROGRAMS = {"trainer": trainer, "ours": ours}


def main() -> None:
    """Trains what the argument specifies and prints the result."""
    spec = Spec(**json.loads(sys.argv[1]))
    with contextlib.redirect_stdout(sys.stderr):
        result = PROGRAMS[spec.program](spec)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
