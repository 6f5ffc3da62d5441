"""Callbacks with the names of transformers' TrainerCallback: when they are called, and what they can ask for."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
from transformers.trainer_callback import ExportableState

from tunesmith import pipeline
from tunesmith.errors import InterruptedRunError, RecipeError
from tunesmith.events import Logged, Step
from tunesmith.hooks import Hooks
from tunesmith.run import Run
from tunesmith.tasks import TASKS
from tunesmith.testing.listeners import Recorder

pytestmark = pytest.mark.usefixtures("lean")


def trained(recipe, *callbacks, listeners=(), should_stop=None, **train):
    train = {"max_steps": 6, "eval_steps": 3, "num_train_epochs": "auto", **train}
    recipe = recipe.replace(train=train, evaluate={"baselines": False})
    more = {} if should_stop is None else {"should_stop": should_stop}
    return pipeline.train(recipe, hooks=Hooks(callbacks=callbacks), listeners=listeners, **more)


def weights(run):
    return load_file(run.model / "model.safetensors")


def rates(run):
    return [event["learning_rate"] for event in run.events() if event["kind"] == "step"]


class Watch:
    """Notes every call; not a subclass of anything."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        raise AttributeError(name)


def noting(name):
    def method(self, args, state, control, **kwargs):
        self.calls.append((name, state.global_step))
        self.last = (args, state, control, kwargs)

    return method


NAMES = (
    "on_init_end", "on_train_begin", "on_epoch_begin", "on_step_begin", "on_substep_end", "on_pre_optimizer_step",
    "on_optimizer_step", "on_step_end", "on_epoch_end", "on_log", "on_evaluate", "on_save", "on_train_end",
)  # fmt: skip
for _name in NAMES:
    setattr(Watch, _name, noting(_name))


def test_the_order_is_that_of_a_trainer(tiny_recipe):
    """Ten steps are an epoch."""
    watch = Watch()
    trained(tiny_recipe, watch, max_steps=14, eval_steps=10, logging_steps=10, gradient_accumulation_steps=2,
            per_device_train_batch_size=8)  # fmt: skip
    step = ["on_step_begin", "on_substep_end", "on_pre_optimizer_step", "on_optimizer_step", "on_step_end"]
    names = [name for name, _ in watch.calls]
    assert names[:8] == ["on_init_end", "on_train_begin", "on_epoch_begin", *step]
    assert names[8] == "on_log"
    at_10 = [name for name, at in watch.calls if at == 10]
    assert at_10[:6] == ["on_step_end", "on_epoch_end", "on_log", "on_log", "on_evaluate", "on_save"]
    assert at_10[6:] == ["on_epoch_begin", *step[:-1]]
    assert [name for name, at in watch.calls if at == 14] == [
        "on_step_end", "on_epoch_end", "on_log", "on_log", "on_evaluate", "on_save", "on_train_end",
    ]  # fmt: skip
    assert names.count("on_step_begin") == 14


def test_they_are_given_what_a_trainer_gives(tiny_recipe):
    watch = Watch()
    run = trained(tiny_recipe, watch)
    args, state, control, given = watch.last
    assert given["model"].config.num_labels == 2
    assert given["processing_class"] is given["tokenizer"]
    assert given["optimizer"].param_groups[0]["lr"] > 0
    assert given["lr_scheduler"].get_last_lr()[0] == given["optimizer"].param_groups[0]["lr"]
    assert (state.max_steps, state.global_step, state.eval_steps) == (6, 6, 3)
    assert state.epoch == pytest.approx(0.6)
    assert state.best_model_checkpoint.endswith(f"step-{state.best_global_step:05d}")
    assert state.best_metric == max(e["accuracy"] for e in run.events() if e["kind"] == "validation")
    assert sorted(state.log_history[0]) == [
        "epoch", "grad_norm", "learning_rate", "loss", "step",
    ]  # fmt: skip
    assert [entry["step"] for entry in state.log_history if "eval_accuracy" in entry] == [3, 6]
    assert (args.metric_for_best_model, args.greater_is_better, args.learning_rate) == (
        "accuracy",
        True,
        5e-3,
    )
    assert args.eval_strategy == "steps"
    assert json.loads(args.to_json_string())["output_dir"] == str(run.path)
    assert not control.should_training_stop
    with pytest.raises(AttributeError, match="cannot be set"):
        args.learning_rate = 1.0


def test_watching_changes_no_weight(tiny_recipe, tmp_path):
    class Steps(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            torch.rand(3)  # nor does a draw of its own

    plain = pipeline.train(
        tiny_recipe.model_copy(update={"output_dir": str(tmp_path / "plain")}).replace(
            train={"max_steps": 6, "eval_steps": 3}, evaluate={"baselines": False}
        )
    )
    watched = trained(tiny_recipe, Steps)
    assert all(torch.equal(tensor, weights(watched)[name]) for name, tensor in weights(plain).items())
    assert "hooks" in watched.manifest()
    assert "hooks" not in plain.manifest()
    assert "hooks" not in json.loads((plain.checkpoints / "step-00006" / "state.json").read_text())


class StopAt(TrainerCallback):
    def __init__(self, step, method="on_step_end"):
        self.step = step
        setattr(self, method, self._stop)

    def _stop(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step


@pytest.mark.parametrize("method", ["on_step_end", "on_evaluate", "on_save"])
def test_a_stop_ends_the_run_as_its_last_step_would(tiny_recipe, method):
    """Evaluated, saved, scored and reported; all but the method's own work may still be to come at step 4."""
    at = {"on_evaluate": 3, "on_save": 3}.get(method, 4)
    run = trained(tiny_recipe, StopAt(at, method), max_steps=50, logging_steps=4)
    assert run.is_finished
    assert run.metrics["train"]["steps"] == at
    assert [e["step"] for e in run.events() if e["kind"] == "validation"][-1] == at
    assert (run.checkpoints / f"step-{at:05d}").is_dir()


def test_a_run_that_a_callback_ended_stays_ended_when_it_is_resumed(tiny_recipe, monkeypatch):
    """The process dies between the loop and the report."""
    monkeypatch.setattr(pipeline.training, "save", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        trained(tiny_recipe, StopAt(4, "on_save"), max_steps=50, save_steps=4)
    monkeypatch.undo()
    run = trained(tiny_recipe, StopAt(4, "on_save"), max_steps=50, save_steps=4)
    assert run.metrics["train"]["steps"] == 4


def test_early_stopping_of_transformers(tiny_recipe, monkeypatch):
    """The second of two evaluations without a better value ends it; the counter survives an interruption."""
    found = iter([0.5, 0.7, 0.6, 0.65, 0.9])
    monkeypatch.setattr(type(TASKS.get("text-classification")), "validation_scores",
                        lambda *_: {"accuracy": next(found)})  # fmt: skip
    stopper = EarlyStoppingCallback(early_stopping_patience=2)
    asked = iter([False] * 6 + [True])
    with pytest.raises(InterruptedRunError):
        trained(tiny_recipe, stopper, max_steps=50, eval_steps=2, should_stop=lambda: next(asked))
    assert stopper.early_stopping_patience_counter == 1
    again = EarlyStoppingCallback(early_stopping_patience=2)
    run = trained(tiny_recipe, again, max_steps=50, eval_steps=2)
    assert run.metrics["train"]["steps"] == 8
    assert run.metrics["train"]["best_step"] == 4


def test_flags_are_honoured(tiny_recipe):
    class Ask(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_log = state.global_step == 2
            control.should_evaluate = control.should_save = state.global_step == 3

    run = trained(tiny_recipe, Ask(), max_steps=8, eval_steps=8, logging_steps=100)
    steps = {
        kind: [e["step"] for e in run.events() if e["kind"] == kind]
        for kind in ("step", "validation", "checkpoint")
    }
    assert steps["step"] == [1, 2, 8]
    assert steps["validation"] == [3, 8]
    assert 3 in steps["checkpoint"]


def test_a_flag_that_comes_too_late_is_reported(tiny_recipe):
    class Late(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            control.should_log = True

    recorder = Recorder()
    trained(tiny_recipe, Late(), listeners=[recorder])
    assert [w for w in recorder.warnings if "should_log" in w] == [
        "a callback set control.should_log after it could be honoured in its step"
    ]


def test_an_epoch_cannot_end_early(tiny_recipe):
    class Ends(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_epoch_stop = True

    with pytest.raises(RecipeError, match=r"Ends\.on_step_end.*should_epoch_stop"):
        trained(tiny_recipe, Ends())


class Halve(TrainerCallback):
    """Halves the rate once, as people do."""

    def __init__(self, method, at):
        setattr(self, method, self._halve)
        self.at = at

    def _halve(self, args, state, control, optimizer=None, **kwargs):
        if state.global_step == self.at:
            for group in optimizer.param_groups:
                group["lr"] *= 0.5


@pytest.mark.parametrize(("method", "first"), [("on_step_begin", 2), ("on_step_end", 2)])
def test_a_changed_rate_stays_changed(tiny_recipe, tmp_path, method, first):
    """The third step is the first with half the rate: `on_step_begin` of it, or `on_step_end` of the second."""
    plain = rates(trained(tiny_recipe, Watch(), logging_steps=1))
    other = tiny_recipe.model_copy(update={"output_dir": str(tmp_path / "other")})
    run = trained(other, Halve(method, 2), logging_steps=1)
    halved = rates(run)
    assert halved == plain[:first] + [rate / 2 for rate in plain[first:]]


def test_a_rate_of_zero_leaves_the_weights(tiny_recipe, tmp_path):
    """The rate that is set is the rate of the update, and not only of the log."""

    class Zero(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, optimizer=None, **kwargs):
            for group in optimizer.param_groups:
                group["lr"] = 0.0 if state.global_step >= 2 else 1e-3
            self.before = {name: p.clone() for name, p in model.named_parameters()}

        def on_step_end(self, args, state, control, model=None, **kwargs):
            changed = any(not torch.equal(p, self.before[name]) for name, p in model.named_parameters())
            assert changed == (state.global_step <= 2)

    assert rates(trained(tiny_recipe, Zero(), logging_steps=1)) == [1e-3, 1e-3, 0, 0, 0, 0]


def test_a_changed_rate_survives_an_interruption(tiny_recipe, tmp_path):
    straight = trained(tiny_recipe, Halve("on_step_end", 2), logging_steps=1)
    other = tiny_recipe.model_copy(update={"output_dir": str(tmp_path / "other")})
    asked = iter([False] * 3 + [True])
    with pytest.raises(InterruptedRunError):
        trained(other, Halve("on_step_end", 2), logging_steps=1, should_stop=lambda: next(asked))
    resumed = trained(other, Halve("on_step_end", 2), logging_steps=1)
    assert rates(resumed) == rates(straight)
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(straight).items())


def test_a_gradient_is_clipped_where_a_callback_sees_it(tiny_recipe):
    norms = []

    class Norm(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            norms.append(float(torch.nn.utils.get_total_norm(gradients)))

    run = trained(tiny_recipe, Norm(), max_grad_norm=0.01, logging_steps=1)
    assert norms == [pytest.approx(0.01, rel=1e-3)] * 6
    assert min(e["grad_norm"] for e in run.events() if e["kind"] == "step") > 0.01


def test_logged_values_reach_events_and_file(tiny_recipe):
    class Logs(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if "loss" in logs:
                logs["twice"] = 2 * logs["loss"]
                logs["tensor"] = torch.tensor(float("nan"))

    recorder = Recorder()
    run = trained(tiny_recipe, Logs(), listeners=[recorder], logging_steps=3)
    logged = [event for event in recorder.events if isinstance(event, Logged)]
    losses = {event.step: event.loss for event in recorder.events if isinstance(event, Step)}
    assert [(event.step, event.values["twice"]) for event in logged] == [
        (step, 2 * losses[step]) for step in (1, 3, 6)
    ]
    lines = [event for event in run.events() if event["kind"] == "logged"]
    assert lines[0]["values"] == {"twice": 2 * losses[1], "tensor": None}


def test_a_text_cannot_be_logged(tiny_recipe):
    class Logs(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            logs["mood"] = "good"

    with pytest.raises(RecipeError, match=r"logs\['mood'\] is a `str`"):
        trained(tiny_recipe, Logs())


def test_who_needs_a_trainer_is_told(tiny_recipe):
    class Asks(TrainerCallback):
        def on_step_end(self, args, state, control, trainer, **kwargs):
            raise AssertionError

    class Loads(TrainerCallback):
        def on_train_begin(self, args, state, control, train_dataloader=None, **kwargs):
            len(train_dataloader)

    class Reads(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            print(args.dataloader_num_workers)

    for callback, asked in (
        (Asks(), "trainer"),
        (Loads(), "train_dataloader"),
        (Reads(), "dataloader_num_workers"),
    ):
        with pytest.raises(RecipeError, match=rf"{type(callback).__name__}\.on_\w+` asks for `.*{asked}`"):
            trained(
                tiny_recipe.model_copy(update={"output_dir": f"{tiny_recipe.output_dir}-{asked}"}), callback
            )


@pytest.mark.parametrize("wrong", [print, object(), {"on_step_end": print}])
def test_what_is_no_callback_is_refused_before_anything(tiny_recipe, wrong):
    with pytest.raises(RecipeError, match="must have methods such as `on_step_end`"):
        trained(tiny_recipe, wrong)
    assert not Run(tiny_recipe.output_dir).manifest_file.exists()


class Odd(TrainerCallback):
    def on_prediction_step(self, args, state, control, **kwargs):
        raise AssertionError

    def on_step_edn(self, args, state, control, **kwargs):
        raise AssertionError


class Narrow:
    def __init__(self):
        self.models = []

    def on_step_end(self, args, state, control, model=None):
        self.models.append(model)


def test_methods_that_are_never_called_and_methods_that_take_little(tiny_recipe, capsys):
    """Beside a printer of transformers, given as a class."""
    recorder, narrow = Recorder(), Narrow()
    trained(tiny_recipe, Odd(), narrow, PrinterCallback, listeners=[recorder], max_steps=2)
    assert [w for w in recorder.warnings if "Odd" in w] == [
        "`Odd.on_prediction_step` is never called: evaluations are not cut into steps for it",
        "`Odd.on_step_edn` is never called: no event has this name. Did you mean `on_step_end`?",
    ]
    assert [model is not None for model in narrow.models] == [True, True]
    printed = capsys.readouterr().out
    assert "'loss'" in printed
    assert "'eval_accuracy'" in printed


class Counts(TrainerCallback, ExportableState):
    def __init__(self, limit=3):
        self.limit, self.steps = limit, 0

    def on_step_end(self, args, state, control, **kwargs):
        self.steps += 1

    def state(self):
        return {"args": {"limit": self.limit}, "attributes": {"steps": self.steps}}


def test_the_state_of_a_callback_and_the_history_survive(tiny_recipe):
    asked = iter([False] * 3 + [True])
    with pytest.raises(InterruptedRunError):
        trained(tiny_recipe, Counts(), Watch(), logging_steps=1, should_stop=lambda: next(asked))
    counts, watch = Counts(), Watch()
    trained(tiny_recipe, counts, watch, logging_steps=1)
    assert counts.steps == 6
    history = watch.last[1].log_history
    assert [entry["step"] for entry in history if "loss" in entry] == [1, 2, 3, 4, 5, 6]
