"""Numbers that are not finite, and memory that runs out: what the loop does, and what it ends with."""

import math

import pytest
import torch
from safetensors.torch import load_file

from tunesmith import pipeline
from tunesmith.errors import NonFiniteError, RecipeError
from tunesmith.run import Run
from tunesmith.testing.listeners import Recorder
from tunesmith.training import step_gradient
from tunesmith.training.checkpoints import Checkpoints, State
from tunesmith.training.guards import note_spike
from tunesmith.training.objective import Objective

pytestmark = pytest.mark.usefixtures("lean")

FAST = {
    "head_start": False,
    "max_steps": 8,
    "eval_steps": 4,
    "save_steps": 2,
    "bf16": False,
    "num_train_epochs": 2,
}


@pytest.fixture
def recipe(tiny_recipe, tmp_path):
    def make(name, **train):
        changed = tiny_recipe.replace(
            train={**FAST, **train}, evaluate={"baselines": False}, data={"check": "off"}
        )
        return changed.model_copy(update={"output_dir": str(tmp_path / name)})

    return make


def weights(run):
    return load_file(run.model / "model.safetensors")


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def largest_difference(one, other):
    return max(float((one[name].float() - other[name].float()).abs().max()) for name in one)


@pytest.fixture
def losses_become_nan(monkeypatch):
    """Makes the loss of some steps (from 0) not a number."""

    def at(*steps):
        really = Objective.__call__

        def loss(self, inputs, step, part):
            found = really(self, inputs, step, part)
            return found * math.nan if step in steps else found

        monkeypatch.setattr(Objective, "__call__", loss)

    return at


def test_a_loss_that_is_not_a_number_stops_the_run_and_no_checkpoint_has_it(recipe, losses_become_nan):
    losses_become_nan(5)
    with pytest.raises(NonFiniteError, match="step 6: the loss is nan") as caught:
        pipeline.train(recipe("stops"))
    assert "`train.max_skipped_batches=1`" in caught.value.remedy
    newest = Checkpoints.of(Run(recipe("stops").output_dir)).newest()
    assert newest.step == 4
    assert all(torch.isfinite(tensor).all() for tensor in newest.model_tensors().values())


def test_by_recipe_the_batch_is_left_out_and_named_and_the_run_resumes_so(recipe, losses_become_nan):
    losses_become_nan(5)
    recorder = Recorder()
    run = pipeline.train(recipe("skips", max_skipped_batches=1), listeners=[recorder])
    [said] = [text for text in recorder.warnings if "left out" in text]
    assert "Back to step 4; the batch of step 6 is left out: " in said
    assert "train.csv, line " in said
    state = Checkpoints.of(run).newest().state()
    assert state.skipped == [5]
    assert all(torch.isfinite(tensor).all() for tensor in weights(run).values())
    steps = [event["step"] for event in run.events() if event["kind"] == "step"]
    assert steps == sorted(set(steps))
    with pytest.raises(NonFiniteError):
        losses_become_nan(2, 5)
        pipeline.train(recipe("too often", max_skipped_batches=1))


def test_a_batch_before_the_first_checkpoint_can_be_left_out(recipe, losses_become_nan):
    losses_become_nan(0)
    run = pipeline.train(recipe("first", max_skipped_batches=2))
    assert Checkpoints.of(run).newest().state().skipped == [0]


@pytest.mark.parametrize("skips", [0, 1])
def test_a_weight_that_an_update_spoils_is_never_saved(recipe, monkeypatch, skips):
    """The batch of the step before is the one that is left out: it has spoiled the weights."""
    from tunesmith.training.loop import _Loop

    really, spoiled = _Loop._step, []

    def step(self):
        really(self)
        if self.state.step == 6 and not spoiled:
            spoiled.append(1)
            with torch.no_grad():
                next(iter(self.trained.values())).view(-1)[0] = math.inf

    monkeypatch.setattr(_Loop, "_step", step)
    if not skips:
        with pytest.raises(NonFiniteError, match="are not finite after this step"):
            pipeline.train(recipe("spoiled"))
        assert Checkpoints.of(Run(recipe("spoiled").output_dir)).newest().step == 4
    else:
        run = pipeline.train(recipe("spoiled", max_skipped_batches=1))
        assert Checkpoints.of(run).newest().state().skipped == [5]


def test_a_validation_score_that_is_not_a_number_is_never_the_best(recipe, monkeypatch):
    from tunesmith.training.loop import _Loop

    really = _Loop._scores
    monkeypatch.setattr(_Loop, "_scores", lambda self: dict.fromkeys(really(self), math.nan))
    with pytest.raises(NonFiniteError, match=r"the validation .* is nan; this step was not saved"):
        pipeline.train(recipe("scores"))
    assert Checkpoints.of(Run(recipe("scores").output_dir)).newest().step == 2


def test_a_loss_far_above_the_usual_is_a_spike_and_hides_no_later_one():
    state = State()
    for step in range(60):
        state.step = step + 1
        note_spike(state, 40.0 if step in (30, 45) else 1.0 + 0.01 * (step % 7))
    assert [spike["step"] for spike in state.spikes] == [31, 46]
    assert len(state.recent_losses) == 50
    assert note_spike(State(), 1e9) is None, "the first losses are no spikes"


# Memory


@pytest.fixture
def memory_ends(monkeypatch):
    """Forward passes with more than `most` tokens fail from a step on, as torch does when there is no memory."""

    def above(most, from_step=0):
        really = Objective.__call__

        def loss(self, inputs, step, part):
            if step >= from_step and inputs["input_ids"].numel() > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return really(self, inputs, step, part)

        monkeypatch.setattr(Objective, "__call__", loss)

    return above


def test_memory_that_ends_in_the_first_step_gives_the_weights_of_the_smaller_passes(recipe, memory_ends):
    memory_ends(120)
    recorder = Recorder()
    run = pipeline.train(recipe("ends"), listeners=[recorder])
    assert any("the memory ran out with forward passes of up to" in text for text in recorder.warnings)
    used = run.recipe().train.tokens_per_micro_batch
    assert used <= 120
    smaller = pipeline.train(recipe("smaller", tokens_per_micro_batch=used))
    assert same(weights(run), weights(smaller))
    assert f"tokens_per_micro_batch: {used}" in run.recipe_file.read_text()


def test_memory_that_ends_later_gives_nearly_the_same_weights_and_is_remembered(
    recipe, memory_ends, tiny_model, tmp_path
):
    from tunesmith.testing.tiny import write_tiny_model

    still = str(write_tiny_model(tmp_path / "still", dropout=0.0))  # masks depend on the passes
    make = lambda name, **train: recipe(name, **train).model_copy(update={"model": still})  # noqa: E731
    memory_ends(120, from_step=4)
    run = pipeline.train(make("later"))
    used = run.recipe().train.tokens_per_micro_batch
    smaller = pipeline.train(make("smaller", tokens_per_micro_batch=used))
    assert largest_difference(weights(run), weights(smaller)) < 1e-4


def test_a_row_that_does_not_fit_alone_is_an_error_with_a_remedy(recipe, memory_ends):
    memory_ends(1)
    with pytest.raises(RecipeError, match="ran out of memory"):
        pipeline.train(recipe("none"))


def test_an_evaluation_for_which_the_memory_ends_is_computed_in_halves(finished_run, monkeypatch):
    from tunesmith.inference import forward
    from tunesmith.inference.predictor import Predictor

    texts = ["the old cat is here", "a red dog"] * 8
    predictor = Predictor.from_run(finished_run.path)
    expected, really, failures = predictor(texts), forward.collate, []

    def collate(encoded, **how):
        if len(encoded) > 3:
            failures.append(len(encoded))
            raise torch.OutOfMemoryError("out of memory")
        return really(encoded, **how)

    monkeypatch.setattr(forward, "collate", collate)
    found = predictor(texts)
    assert failures
    assert [answer["label"] for answer in found] == [answer["label"] for answer in expected]


def test_other_errors_are_no_lack_of_memory(recipe, monkeypatch):
    def fails(*given):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(step_gradient.StepGradient, "_add", fails)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        pipeline.train(recipe("other"))


def test_after_a_kill_for_memory_the_next_start_halves_the_passes(recipe, monkeypatch):
    """A process that is killed leaves its mark; only where the kernel has killed one since, passes are halved."""
    from tunesmith.models import out_of_memory
    from tunesmith.pipeline import memory

    class KilledError(BaseException):
        pass

    kills = {"booted": "b", "kills": 3}
    for module in (memory, out_of_memory):
        monkeypatch.setattr(module, "kills_for_memory", lambda: dict(kills))
    asked = recipe("killed", save_steps=1)

    def killed_at(step):
        def listen(event):
            if getattr(event, "step", 0) == step and type(event).__name__ == "Step":
                raise KilledError

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
            patch.setattr(Run, "update_manifest", without_the_end(Run.update_manifest))
            pipeline.train(asked, listeners=[listen])

    def without_the_end(really):
        return lambda run, **entries: None if entries == {"in_loop": {}} else really(run, **entries)

    killed_at(3)
    run = Run(asked.output_dir)
    before = run.recipe().train.tokens_per_micro_batch
    killed_at(5)
    assert run.recipe().train.tokens_per_micro_batch == before
    kills["kills"] = 4
    recorder = Recorder()
    run = pipeline.train(asked, listeners=[recorder])
    assert any("killed processes for lack of memory" in text for text in recorder.warnings)
    assert run.recipe().train.tokens_per_micro_batch <= before // 2 + 12
    assert run.manifest()["in_loop"] == {}


def test_the_kernel_counts_what_it_kills():
    from tunesmith.models.out_of_memory import kills_for_memory

    found = kills_for_memory()
    assert found["kills"] >= 0
    assert found == kills_for_memory()
