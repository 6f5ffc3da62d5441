"""The same gradient with less memory: micro-batches and gradient checkpointing."""

import contextlib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tunesmith import pipeline
from tunesmith.acceleration import accelerate
from tunesmith.data.batches import collate
from tunesmith.data.encoding import encode
from tunesmith.data.examples import read_examples
from tunesmith.errors import RecipeError
from tunesmith.models import memory as memory_module
from tunesmith.models.adapters import LoraSettings, add_lora
from tunesmith.models.freezing import freeze_bottom
from tunesmith.models.loading import load_for_training
from tunesmith.models.memory import Activations, Memory, use_checkpointing
from tunesmith.models.resolve import resolve_model
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.tasks import PLAIN_LOSS, TASKS, EncodeOptions
from tunesmith.testing.listeners import Recorder
from tunesmith.testing.tiny import as_probe, tiny_task_rows, write_rows, write_tiny_model
from tunesmith.training.micro_batches import choose_micro_batch, measure_training
from tunesmith.training.plan import BatchSize, Plan

pytestmark = pytest.mark.usefixtures("lean")

OF_FAMILY = {
    "bert": "text-classification",
    "roberta": "text-regression",
    "llama": "text-generation",
    "bart": "text2text-generation",
}


@pytest.fixture(scope="module", params=sorted(OF_FAMILY))
def family(request, tmp_path_factory):
    """A family's name, its task, its folder and some of the task's rows."""
    folder = tmp_path_factory.mktemp(request.param)
    task = TASKS.get(OF_FAMILY[request.param])
    file = write_rows(folder / "rows.jsonl", tiny_task_rows(task.name, 24))
    examples = read_examples(task, [str(file)]).examples
    return request.param, task, write_tiny_model(folder / "model", family=request.param, layers=3), examples


def loaded(family, method):
    """The model as it is trained, in float64, and its sequences."""
    _, task, folder, examples = family
    label_schema = task.learn_label_schema(examples.columns)
    found = load_for_training(
        resolve_model(str(folder)),
        task,
        label_schema,
        pooling="auto" if method != "lora" else "first",
        seed=1,
    )
    accelerate(found.model)
    if method == "lora":
        settings = LoraSettings(4, 8, 0.1, "auto", use_dora=False, use_rslora=False)
        add_lora(found.model, task.auto_class, settings, base=str(folder), seed=1)
        torch.manual_seed(3)
        with torch.no_grad():  # an adapter begins at nothing, where half of its gradient is zero
            for parameter_name, parameter in found.model.named_parameters():
                if "lora_B" in parameter_name:
                    parameter.normal_(std=0.1)
    if method == "frozen":
        freeze_bottom(found.model, 1)
    encoded = encode(task, examples, found.tokenizer, EncodeOptions(None), label_schema)
    return found.model.double().train(), found.tokenizer, encoded


def gradient(task, model, batch):
    model.zero_grad()
    torch.manual_seed(7)  # of the dropout masks
    loss = task.loss(task.forward(model, batch), batch, PLAIN_LOSS)
    loss.backward()
    return float(loss.detach()), {
        name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("method", ["full", "lora", "frozen"])
def test_checkpointing_gives_the_same_gradient_under_dropout(family, method):
    name, task, _, _ = family
    if method == "frozen" and name == "bart":
        pytest.skip("freeze_layers is for encoders and decoders, not both")
    model, tokenizer, encoded = loaded(family, method)
    batch = collate(encoded.take(np.arange(8)), pad_token_id=tokenizer.pad_token_id)
    # The stock arithmetic beside the stock arithmetic: the fast encoder draws its masks another way.
    stock = loaded(family, method)[0]
    with contextlib.suppress(ImportError):
        from tunesmith.acceleration.encoder import use_stock_encoder

        use_stock_encoder(stock)
    loss, plain = gradient(task, stock, batch)
    use_checkpointing(model)
    again, found = gradient(task, model, batch)
    assert again == pytest.approx(loss, rel=1e-12)
    assert found.keys() == plain.keys()
    for parameter, expected in plain.items():
        assert torch.allclose(found[parameter], expected, rtol=0, atol=1e-6), parameter
    assert max(float(g.abs().max()) for g in plain.values()) > 1e-3
    assert gradient(task, model, batch)[0] == again
    torch.manual_seed(8)
    assert task.loss(task.forward(model, batch), batch, PLAIN_LOSS).item() != again  # there was dropout


def test_checkpointing_needs_less_and_frozen_layers_need_less(family):
    name, task, _, _ = family
    model, tokenizer, encoded = loaded(family, "full")
    how = {"pad_token_id": tokenizer.pad_token_id, "bf16": False}
    whole = measure_training(task, model, encoded, **how)
    assert whole.optimizer == 2 * whole.gradients
    # Less than all where rows of the token table do not occur.
    assert 0 < whole.gradients <= sum(p.numel() * 8 for p in model.parameters() if p.requires_grad)
    longest = int(encoded.lengths.max())
    layers = 3 * 32 * 8  # a hidden state of each layer is the least
    assert whole.activations.of(1000, longest) > 1000 * layers
    state = torch.get_rng_state()
    use_checkpointing(model)
    less = measure_training(task, model, encoded, **how)
    if name in ("bert", "roberta"):  # the stock layers do not round shapes up
        assert 0 < whole.libraries < less.libraries
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert less.activations.of(1000, longest) < 0.9 * whole.activations.of(1000, longest)
    if name != "bart":
        model = loaded(family, "frozen")[0]
        frozen = measure_training(task, model, encoded, **how)
        assert frozen.activations.of(1000, longest) < whole.activations.of(1000, longest)
        assert frozen.gradients < whole.gradients


def plan_of(lengths, size):
    return Plan(np.array(lengths), size, epochs=1, max_steps=None, seed=0)


def recipe_with(**train):
    return Recipe.model_validate({"data": {"train": ["a"], "max_length": 64}, "train": train})


def memory_of(free, token=1000.0, pair=0.0):
    return Memory(
        weights=0,
        gradients=0,
        optimizer=0,
        activations=Activations(np.zeros(1), np.array([token]), np.array([pair])),
        free=free,
    )


def test_a_batch_that_fits_stays_whole():
    plan = plan_of([10] * 50, BatchSize(tokens=200))
    assert choose_micro_batch(recipe_with(), plan, memory_of(10**9), world=1) == (200, [])
    rows = plan_of([10] * 50, BatchSize(rows=12))
    assert choose_micro_batch(recipe_with(), rows, memory_of(10**9), world=1) == (120, [])
    parts = recipe_with(gradient_accumulation_steps=3)
    assert choose_micro_batch(parts, rows, memory_of(10**9), world=2)[0] == 20


def test_a_batch_that_does_not_fit_is_cut():
    plan = plan_of([10] * 50, BatchSize(tokens=200))
    tokens, notices = choose_micro_batch(recipe_with(), plan, memory_of(100_000), world=1)
    assert tokens == 85
    assert "a batch of 200 tokens does not fit" in notices[0]
    assert choose_micro_batch(recipe_with(), plan, memory_of(100_000, 500, 50), world=1)[0] == 85


def test_when_not_even_one_sequence_fits_the_remedies_are_named():
    plan = plan_of([10] * 50, BatchSize(tokens=200))
    with pytest.raises(RecipeError, match="a single sequence of 10 tokens") as error:
        choose_micro_batch(recipe_with(), plan, memory_of(9_000), world=1)
    for remedy in ("gradient_checkpointing=true", "method=lora", "max_length` below 64", "micro_batch"):
        assert remedy in str(error.value)
    tried = recipe_with(gradient_checkpointing=True, method="lora")
    with pytest.raises(RecipeError, match="single sequence") as error:
        choose_micro_batch(tried, plan, memory_of(9_000), world=1)
    assert "gradient_checkpointing" not in str(error.value)
    tokens, notices = choose_micro_batch(
        recipe_with(tokens_per_micro_batch=50), plan, memory_of(9_000), world=1
    )
    assert tokens == 50
    assert "are free" in notices[0]


@pytest.fixture
def still_recipe(tiny_recipe, tmp_path):
    """Without dropout, so that cutting a batch changes nothing."""
    model = write_tiny_model(tmp_path / "still", dropout=0.0)
    tree = tiny_recipe.model_dump(exclude_unset=True) | {"model": str(model)}
    tree["train"] |= {"num_train_epochs": 1, "bf16": False, "head_start": False, "logging_steps": 1}
    tree["evaluate"] |= {"baselines": False}
    return Recipe.model_validate(tree)


def losses(run: Run):
    found = [event["loss"] for event in run.events() if event["kind"] == "step"]
    assert len(found) > 5
    return found


def weights(run: Run):
    return load_file(run.model / "model.safetensors")


def test_little_memory_cuts_batches_and_learns_the_same(still_recipe, tmp_path, monkeypatch):
    recorder = Recorder()
    whole = pipeline.train(still_recipe, listeners=[recorder])
    used = whole.recipe().train
    told = next(line for line in recorder.said if line.startswith("memory: about"))
    assert "weights" in told
    assert "free" in told
    assert whole.manifest()["memory"]["tokens"] == used.tokens_per_micro_batch
    needed = whole.manifest()["memory"]
    scarce = needed["gradients"] + needed["optimizer"] + needed["activations"] // 3
    for name, value in {"_ROUNDED": 0, "_EVERY_SHAPE": 0, "_GAPS": 0.0}.items():  # much more than this model
        monkeypatch.setattr(memory_module, name, value)
    monkeypatch.setattr(memory_module, "free_memory", lambda device=None: scarce)
    recorder = Recorder()
    cut = pipeline.train(
        still_recipe.model_copy(update={"output_dir": str(tmp_path / "cut")}), listeners=[recorder]
    )
    assert any("does not fit" in line for line in recorder.said)
    assert cut.recipe().train.tokens_per_micro_batch < used.tokens_per_micro_batch / 2
    assert losses(cut) == pytest.approx(losses(whole), rel=1e-3)
    # A run of the recipe that was used cuts in the same places, however much memory there is.
    monkeypatch.undo()
    again = cut.recipe().model_copy(update={"output_dir": str(tmp_path / "again")})
    repeated = pipeline.train(again)
    assert all(torch.equal(weights(repeated)[n], t) for n, t in weights(cut).items())


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_with_checkpointing_learns_the_same(still_recipe, tmp_path, method):
    runs = []
    for on in (False, True):
        # A small rate: AdamW makes whole steps of gradients that are nothing but rounding.
        train = {"method": method, "gradient_checkpointing": on, "learning_rate": 1e-4}
        recipe = still_recipe.replace(train=train | ({"lora_dropout": 0.0} if method == "lora" else {}))
        runs.append(pipeline.train(recipe.model_copy(update={"output_dir": str(tmp_path / str(on))})))
    assert losses(runs[1]) == pytest.approx(losses(runs[0]), rel=1e-3)
    tokens = [run.manifest()["memory"]["activations"] for run in runs]
    assert tokens[1] < tokens[0]


def test_a_probe_has_no_use_for_it(tiny_recipe):
    with pytest.raises(RecipeError, match=r"train\.gradient_checkpointing has no effect on a probe"):
        pipeline.train(as_probe(tiny_recipe, gradient_checkpointing=True))


def test_the_end_of_a_text_stays_where_memory_is_measured():
    """T5 and BART classify by the token that ends a text; mBART's is followed by its language."""
    from tunesmith.encoded import Encoded
    from tunesmith.training.micro_batches import _beginnings

    cut = _beginnings(Encoded.of({"input_ids": [[0, 5, 6, 7, 2, 9], [0, 5, 2]]}), 4)
    assert [cut.ragged["input_ids"][i].tolist() for i in (0, 1)] == [[0, 5, 2, 9], [0, 5, 2]]
