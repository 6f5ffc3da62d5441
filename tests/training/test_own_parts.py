"""A program's own loss, optimizer, schedule and batches, through the pipeline: exact, checked and resumable."""

import functools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler as torch_schedulers
from transformers.optimization import Adafactor, get_linear_schedule_with_warmup

from tunesmith import pipeline
from tunesmith.errors import InterruptedRunError, ModelError, NonFiniteError, RecipeError
from tunesmith.hooks import Hooks
from tunesmith.pipeline.hooked import refuse_hooks_without_effect
from tunesmith.tasks import TASKS
from tunesmith.training.optimizer import make_optimizer
from tunesmith.training.own_batch import own_batch
from tunesmith.training.own_loss import OwnLoss
from tunesmith.training.own_optimizer import own_optimizer
from tunesmith.training.rates import Rates
from tunesmith.training.settings import Settings

pytestmark = pytest.mark.usefixtures("lean")

TASK = TASKS.get("text-classification")
SETTINGS = Settings(
    seed=1, learning_rate=1e-3, lr_scheduler_type="linear", warmup_steps=0, weight_decay=0.01, max_grad_norm=1.0,
    gradient_accumulation_steps=1, bf16=False, eval_steps=1, save_steps=1, logging_steps=1,
    early_stopping_patience=None,
)  # fmt: skip


def trained(recipe, folder="", *, listeners=(), stop_after=None, data=None, train=None, **hooks):
    train = {"max_steps": 6, "eval_steps": 3, "num_train_epochs": "auto", "logging_steps": 1, **(train or {})}
    changed = recipe.replace(train=train, evaluate={"baselines": False}, data=data or {})
    changed = changed.model_copy(update={"output_dir": f"{recipe.output_dir}{folder}"})
    more = {}
    if stop_after is not None:
        asked = iter([*[False] * (stop_after - 1), True])
        more["should_stop"] = lambda: next(asked)
    return pipeline.train(changed, hooks=Hooks(**hooks), listeners=listeners, **more)


def weights(run):
    return load_file(run.model / "model.safetensors")


def same(one, other):
    found = weights(other)
    return all(torch.equal(tensor, found[name]) for name, tensor in weights(one).items())


def steps(run, key="learning_rate"):
    return [event[key] for event in run.events() if event["kind"] == "step"]


# Loss


def summed(outputs, batch):
    return cross_entropy(outputs, batch["labels"], reduction="sum")


def each(outputs, batch):
    return cross_entropy(outputs, batch["labels"], reduction="none")


def test_the_tasks_own_loss_by_hand_gives_its_weights(tiny_recipe):
    """As a sum and as one loss for each item, bit for bit; the items of the whole batch are the divisor."""
    train = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 5}
    plain = trained(tiny_recipe, train=train)
    assert same(plain, trained(tiny_recipe, "-sum", loss=summed, train=train))
    assert same(plain, trained(tiny_recipe, "-each", loss=each, train=train))


def mean(outputs, batch):
    return cross_entropy(outputs, batch["labels"])


OUTPUTS = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
BATCH = {"labels": torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])}


def checked(loss, warn=print):
    return OwnLoss(loss, warn)(OUTPUTS.clone().requires_grad_(), BATCH)


def test_a_mean_is_refused():
    with pytest.raises(RecipeError, match=r"must be a sum over the items .* it is a mean"):
        checked(mean)
    assert checked(summed) == checked(each)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda outputs, batch: 1.0, "it is a `float`"),
        (lambda outputs, batch: outputs.argmax(-1), "a tensor of torch.int64"),
        (lambda outputs, batch: summed(outputs.detach(), batch), "it has no gradient"),
        (lambda outputs, batch: outputs[:3].sum(-1), r"its shape is \[3\]"),
    ],
)
def test_what_is_no_loss_is_refused(loss, message):
    with pytest.raises(RecipeError, match=message):
        checked(loss)


def test_a_loss_that_is_not_finite_names_its_rows(tiny_recipe):
    with pytest.raises(NonFiniteError, match=r"the loss is inf.*train\.csv"):
        trained(tiny_recipe, loss=lambda outputs, batch: summed(outputs, batch) * float("inf"))


def test_a_loss_that_is_no_sum_over_rows_is_reported():
    warnings = []
    checked(lambda outputs, batch: summed(outputs, batch) ** 2, warnings.append)
    assert ["not a sum over rows" in warning for warning in warnings] == [True]


def test_keys_that_a_hook_takes_the_place_of_are_refused(tiny_recipe):
    for train, hooks, key in (
        ({"focal_gamma": 2.0}, {"loss": summed}, "train.focal_gamma"),
        ({"lr_scheduler_type": "cosine"}, {"scheduler": falling}, "train.lr_scheduler_type"),
    ):
        with pytest.raises(RecipeError, match=f"{key} has no effect with an own"):
            refuse_hooks_without_effect(TASK, tiny_recipe.replace(train=train), Hooks(**hooks))
    probe = tiny_recipe.replace(train={"method": "probe"})
    with pytest.raises(RecipeError, match="`loss` has no effect on method `probe`"):
        refuse_hooks_without_effect(TASK, probe, Hooks(loss=summed))


# Optimizer


def momentum(groups):
    return torch.optim.SGD(groups, momentum=0.9, nesterov=True)


def adafactor_of_transformers(groups):
    return Adafactor(groups, scale_parameter=False, relative_step=False)


def adafactor_of_torch(groups):
    return torch.optim.Adafactor(groups)


def rprop(groups):  # whose state has a step size as a tensor, and whose groups have tuples
    return torch.optim.Rprop([{"params": group["params"], "lr": group["lr"]} for group in groups])


def test_sgd_is_that_of_torch_by_hand(tiny_recipe):
    """The update of one step, from its gradient, its rate and its decay; the gradient is clipped."""

    class By:
        def on_pre_optimizer_step(self, args, state, control, model=None, optimizer=None, **kwargs):
            if state.global_step == 0:
                self.wanted = {
                    id(p): p - group["lr"] * (p.grad + group["weight_decay"] * p)
                    for group in optimizer.param_groups
                    for p in group["params"]
                    if p.grad is not None
                }

        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step == 1:
                for p in model.parameters():
                    if id(p) in self.wanted:
                        torch.testing.assert_close(p, self.wanted.pop(id(p)))
                assert not self.wanted

    run = trained(tiny_recipe, optimizer=lambda groups: torch.optim.SGD(groups), callbacks=[By()],
                  train={"max_grad_norm": 0.01, "max_steps": 2})  # fmt: skip
    assert steps(run, "grad_norm")[0] > 0.01


def test_the_rate_that_a_group_is_given_is_scheduled(tiny_recipe):
    """A group's own `lr` is its peak: here ten times that of the recipe."""

    def tenfold(groups):
        return torch.optim.SGD([{**group, "lr": 10 * group["lr"]} for group in groups])

    seen = []

    class Rates:
        def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
            seen.append(optimizer.param_groups[0]["lr"])

    run = trained(tiny_recipe, optimizer=tenfold, callbacks=[Rates()])
    assert seen == pytest.approx([10 * rate for rate in steps(run)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda groups: groups, "it made a `list`"),
        (lambda groups: torch.optim.SGD(groups[:1]), "must have every trainable parameter"),
        (lambda groups: torch.optim.LBFGS([p for g in groups for p in g["params"]]), "without a closure"),
    ],
)
def test_what_is_no_optimizer_is_refused(make, message):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    with pytest.raises(RecipeError, match=message):
        own_optimizer(make, model, SETTINGS, None, 1.0)


class Odd(torch.optim.SGD):
    def step(self, closure=None):
        super().step()
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["why"] = object()


def test_a_state_that_cannot_be_saved_is_an_error_at_the_first_step(tiny_recipe):
    with pytest.raises(RecipeError, match=r"optimizer/state/0/why` must hold tensors and plain values"):
        trained(tiny_recipe, optimizer=Odd)


# Schedule


def falling(step, total_steps):
    return 1 / (1 + step)


def one_cycle(optimizer, total_steps):
    return torch_schedulers.OneCycleLR(optimizer, max_lr=0.01, total_steps=total_steps + 1)


def warm(optimizer, total_steps):
    return get_linear_schedule_with_warmup(optimizer, 2, total_steps)


def milestones(optimizer):
    return torch_schedulers.SequentialLR(
        optimizer,
        [torch_schedulers.ConstantLR(optimizer, 0.5, 2), torch_schedulers.MultiStepLR(optimizer, [1, 3])],
        milestones=[2],
    )


def test_a_function_of_the_step_is_the_schedule(tiny_recipe):
    run = trained(tiny_recipe, scheduler=falling)
    assert steps(run) == pytest.approx([5e-3 / (1 + step) for step in range(6)], rel=1e-12)


def test_a_scheduler_of_torch_sets_the_rates(tiny_recipe):
    run = trained(tiny_recipe, scheduler=functools.partial(torch_schedulers.StepLR, step_size=2, gamma=0.5))
    assert steps(run) == pytest.approx([5e-3, 5e-3, 2.5e-3, 2.5e-3, 1.25e-3, 1.25e-3])


def test_a_scheduler_may_wait_for_plateaus(tiny_recipe):
    """An evaluation at each step; a threshold that no gain reaches lets it divide the rate after the second."""
    plateau = functools.partial(
        torch_schedulers.ReduceLROnPlateau, mode="max", factor=0.1, patience=0, threshold=9.0
    )
    run = trained(tiny_recipe, scheduler=plateau, train={"eval_steps": 1, "max_steps": 3})
    assert steps(run) == pytest.approx([5e-3, 5e-3, 5e-4])
    optimizer = make_optimizer(torch.nn.Linear(3, 3), weight_decay=0.0)
    with pytest.raises(RecipeError, match=r"watches `accuracy` with mode `min`"):
        Rates(optimizer, SETTINGS, 6, torch_schedulers.ReduceLROnPlateau, ("accuracy", True))


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (lambda step, total: -1, "at step 0 of 6 it is -1"),
        (lambda step, total: "half", "it is 'half'"),
        (lambda optimizer: None, "it made a `NoneType`"),
    ],
)
def test_what_is_no_schedule_is_refused(scheduler, message):
    optimizer = make_optimizer(torch.nn.Linear(3, 3), weight_decay=0.0)
    with pytest.raises(RecipeError, match=message):
        Rates(optimizer, SETTINGS, 6, scheduler, ("accuracy", True)).set(0)


def test_a_value_of_the_recipe_is_no_function():
    with pytest.raises(RecipeError, match="`scheduler` must be a function, got 'cosine'"):
        Hooks(scheduler="cosine")


# Batches


def dropping(batch):
    """Replaces a tenth of the tokens by padding."""
    drop = torch.rand(batch["input_ids"].shape) < 0.1
    return {**batch, "input_ids": batch["input_ids"].masked_fill(drop, 0)}


@pytest.mark.parametrize(
    "hooks",
    [
        {"optimizer": momentum, "scheduler": falling},
        {"optimizer": adafactor_of_transformers, "scheduler": milestones},
        {"optimizer": adafactor_of_torch, "scheduler": warm, "collate": dropping},
        {"optimizer": rprop, "scheduler": functools.partial(torch_schedulers.StepLR, step_size=2)},
        {"scheduler": one_cycle},
    ],
    ids=["momentum", "adafactor of transformers", "adafactor of torch", "rprop", "adamw"],
)
def test_any_of_them_resumes_bit_for_bit(tiny_recipe, hooks):
    straight = trained(tiny_recipe, **hooks)
    with pytest.raises(InterruptedRunError):
        trained(tiny_recipe, "-stopped", **hooks, stop_after=4)
    resumed = trained(tiny_recipe, "-stopped", **hooks)
    assert same(straight, resumed)
    assert steps(straight) == steps(resumed)
    assert len(set(steps(straight))) > 1


def test_the_batch_is_what_the_loss_is_given(tiny_recipe):
    seen = []

    def weighted(outputs, batch):
        seen.append(batch["weight"])
        return each(outputs, batch) * batch["weight"]

    trained(tiny_recipe, loss=weighted, train={"max_steps": 1},
            collate=lambda batch: {**batch, "weight": torch.ones(len(batch["labels"]))})  # fmt: skip
    assert seen[0].tolist() == [1.0] * 16


def test_tokens_that_are_in_no_row_learn_too(tiny_recipe):
    """With stock batches, only rows of the token table that occur are trained."""

    def other(batch):
        return {**batch, "input_ids": torch.full_like(batch["input_ids"], 60)}

    def table(run):
        return next(t for name, t in weights(run).items() if name.endswith("word_embeddings.weight"))[60]

    plain, run = trained(tiny_recipe), trained(tiny_recipe, "-other", collate=other)
    assert not torch.equal(table(plain), table(run))


@pytest.mark.parametrize(
    ("collate", "message"),
    [
        (lambda batch: None, "it is a `NoneType`"),
        (lambda batch: {"input_ids": batch["input_ids"]}, "is missing"),
        (lambda batch: {name: x[:2] for name, x in batch.items()}, "the same 16 sequences"),
    ],
)
def test_what_is_no_batch_is_refused(collate, message):
    batch = {"input_ids": torch.ones(16, 5, dtype=torch.long), "labels": torch.ones(16)}
    with pytest.raises(RecipeError, match=message):
        own_batch(collate, batch)


# Model


def deeper(model):
    """Another layer, a copy of the last one."""
    import copy

    layers = model.bert.encoder.layer
    layers.append(copy.deepcopy(layers[-1]))
    model.config.num_hidden_layers += 1


def test_a_deeper_model_is_trained_saved_and_loaded(tiny_recipe):
    from transformers import AutoModelForSequenceClassification

    from tunesmith.inference.predictor import Predictor

    run = trained(tiny_recipe, model_init=deeper)
    stock = AutoModelForSequenceClassification.from_pretrained(run.model)
    base = json.loads((Path(tiny_recipe.model) / "config.json").read_text())
    assert stock.config.num_hidden_layers == base["num_hidden_layers"] + 2  # and the one that pools
    assert len(stock.bert.encoder.layer) == stock.config.num_hidden_layers
    assert Predictor.from_run(run.path)("the cat is red")["label"]


def wider_head(model):
    model.classifier = torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.Linear(16, 2))


class Cosine(torch.nn.Linear):
    """A head whose weights have the names of a stock one, and which computes something else."""

    def forward(self, features):
        return 10 * torch.nn.functional.linear(features / features.norm(dim=-1, keepdim=True), self.weight)


def cosine_head(model):
    model.classifier = Cosine(model.classifier.in_features, model.classifier.out_features)


class Subclass:
    pass


def bare(model):
    return model.bert


@pytest.mark.parametrize(
    ("model_init", "message"),
    [
        (wider_head, r"weights differ from those that its config describes, `classifier\.0\.bias` first"),
        (cosine_head, "computes something else"),
        (bare, "its class is `BertModel`, and transformers would load `BertForSequenceClassification`"),
        (lambda model: Subclass(), "it returned a `Subclass`"),
    ],
)
def test_what_transformers_could_not_load_is_refused(tiny_recipe, model_init, message):
    with pytest.raises(ModelError, match=message):
        trained(tiny_recipe, model_init=model_init)


def test_another_class_of_transformers_may_take_its_place(tiny_recipe):
    from transformers import BertConfig, BertForSequenceClassification

    def small(model):
        config = BertConfig(vocab_size=model.config.vocab_size, hidden_size=16, num_hidden_layers=1,
                            num_attention_heads=2, intermediate_size=32, num_labels=2)  # fmt: skip
        return BertForSequenceClassification(config)

    one, other = trained(tiny_recipe, model_init=small), trained(tiny_recipe, "-again", model_init=small)
    assert same(one, other)  # its random weights follow from the seed
    config = json.loads((one.model / "config.json").read_text())
    assert (config["hidden_size"], config["id2label"]) == (16, {"0": "animal", "1": "colour"})


def test_methods_that_save_no_model_refuse_it(tiny_recipe):
    lora = tiny_recipe.replace(train={"method": "lora"})
    with pytest.raises(RecipeError, match="`model_init` is not for method `lora`"):
        refuse_hooks_without_effect(TASK, lora, Hooks(model_init=deeper))
    with pytest.raises(RecipeError, match="`model_init` is not for `preference`"):
        refuse_hooks_without_effect(TASKS.get("preference"), tiny_recipe, Hooks(model_init=deeper))
