from dataclasses import dataclass

import numpy as np
import pytest
import torch
import transformers

from tunesmith import pipeline
from tunesmith.data.batches import collate
from tunesmith.encoded import Encoded
from tunesmith.errors import RecipeError
from tunesmith.inference.forward import forward
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import IGNORED, PLAIN_LOSS, TASKS, LossOptions
from tunesmith.testing.tiny import write_tiny_model
from tunesmith.training.objective import Objective, noisy_embeddings

pytestmark = pytest.mark.usefixtures("lean")

TASK = TASKS.get("text-classification")
ENCODED = Encoded.of(
    {"input_ids": [[2, 9, 8, 7, 3], [2, 11, 3], [2, 12, 13, 14, 15, 16, 3]]}, {"labels": np.array([0, 1, 2])}
)
BATCH = collate(ENCODED, pad_token_id=0)


def divergence(one, other, labels):
    return TASK.divergence(one, other, {"labels": labels})


@dataclass(frozen=True)
class Settings:
    seed: int = 1
    bf16: bool = False
    r_drop_alpha: float = 0.0
    neftune_noise_alpha: float = 0.0
    loss: LossOptions = PLAIN_LOSS


def model_with(folder, dropout):
    write_tiny_model(folder, dropout=dropout)
    loaded = load_for_training(
        resolve_model(str(folder)), TASK, {"labels": list("abc")}, pooling="first", seed=1
    )
    return loaded.model.train()


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A model without dropout."""
    return model_with(tmp_path_factory.mktemp("models") / "calm", 0.0)


@pytest.fixture(scope="module")
def dropping(tmp_path_factory):
    return model_with(tmp_path_factory.mktemp("models") / "dropping", 0.2)


def loss(model, step=0, part=0, batch=BATCH, **settings):
    with torch.no_grad():
        return float(Objective(TASK, model, model, Settings(**settings))(batch, step, part))


def test_plain_is_the_tasks_loss(calm):
    with torch.no_grad():
        expected = float(TASK.loss(TASK.forward(calm, BATCH), BATCH, PLAIN_LOSS))
    assert loss(calm) == expected


def test_options_reach_the_task(calm):
    options = LossOptions(label_smoothing=0.3, focal_gamma=1.0)
    with torch.no_grad():
        expected = float(TASK.loss(TASK.forward(calm, BATCH), BATCH, options))
    assert loss(calm, loss=options) == expected != loss(calm)


def test_it_is_a_function_of_seed_step_and_part(dropping):
    how = {"r_drop_alpha": 1.0, "neftune_noise_alpha": 5.0}
    one = loss(dropping, **how)
    torch.rand(7)
    assert loss(dropping, **how) == one
    others = {loss(dropping, step=1, **how), loss(dropping, part=1, **how),
              loss(dropping, seed=2, **how), one}  # fmt: skip
    assert len(others) == 4


@pytest.mark.parametrize("alpha", [0.5, 5.0])
def test_r_drop_without_dropout_is_the_plain_loss(calm, alpha):
    assert loss(calm, r_drop_alpha=alpha) == loss(calm)


def test_the_gradient_of_r_drop_without_dropout_is_the_plain_one(calm):
    found = []
    for alpha in (0.0, 3.0):
        calm.zero_grad()
        Objective(TASK, calm, calm, Settings(r_drop_alpha=alpha))(BATCH, 0, 0).backward()
        found.append({n: p.grad.clone() for n, p in calm.named_parameters() if p.grad is not None})
    calm.zero_grad()
    assert max(float(g.abs().max()) for g in found[0].values()) > 1e-3
    assert all(torch.allclose(g, found[1][name], atol=1e-6) for name, g in found[0].items())


def test_r_drop_adds_the_divergence_of_two_masks(dropping):
    """Wu et al. 2021, equation 4, from the two passes written out."""
    outputs = []

    class Listening(type(TASK)):
        def forward(self, model, batch):
            outputs.append(super().forward(model, batch))
            return outputs[-1]

    with torch.no_grad():
        found = Objective(Listening(), dropping, dropping, Settings(r_drop_alpha=2.0))(BATCH, 0, 0)
    one, other = outputs
    assert not torch.equal(one, other)
    p, q = (torch.distributions.Categorical(logits=logits) for logits in outputs)
    between = torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p)
    both = TASK.loss(one, BATCH, PLAIN_LOSS) + TASK.loss(other, BATCH, PLAIN_LOSS)
    assert torch.allclose(found, both / 2 + 2.0 * between.sum() / 2, atol=1e-5)
    # The first of both masks is the one of training without R-Drop.
    assert loss(dropping) == float(TASK.loss(one, BATCH, PLAIN_LOSS))


def test_the_divergence_is_summed_over_items_so_that_batches_can_be_cut():
    one, other = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    labels = torch.tensor([0, 1, IGNORED, 2, 3, 0])
    whole = divergence(one, other, labels)
    parts = divergence(one[:2], other[:2], labels[:2]) + divergence(one[2:], other[2:], labels[2:])
    assert torch.allclose(whole, parts)
    assert float(divergence(one, one, labels)) == 0.0
    assert torch.allclose(divergence(one, other, labels), divergence(other, one, labels))


def test_tokens_whose_label_is_ignored_do_not_count():
    one, other = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    labels = torch.tensor([[0, 1, IGNORED], [IGNORED, IGNORED, 2]])
    counted = labels != IGNORED
    expected = divergence(one[counted], other[counted], labels[counted])
    assert torch.allclose(divergence(one, other, labels), expected)


def test_r_drop_of_several_labels_compares_their_probabilities():
    """Two passes with logits that differ by 4 throughout: every label's probability is another."""
    task = TASKS.get("multi-label-classification")
    logits = iter([torch.tensor([[-2.0, -1.0]]), torch.tensor([[2.0, 3.0]])] * 2)

    class TwoPasses(type(task)):
        def forward(self, model, batch):
            return next(logits)

    model = torch.nn.Linear(1, 1)
    batch = {"labels": torch.tensor([[1.0, 0.0]])}
    without, with_it = (
        Objective(TwoPasses(), model, model, Settings(r_drop_alpha=alpha))(batch, 0, 0)
        for alpha in (1e-9, 1.0)
    )
    assert float(with_it) > float(without) + 1.0


class Rows(torch.nn.Module):
    """Nothing but token embeddings."""

    def __init__(self, width=400):
        super().__init__()
        self.table = torch.nn.Embedding(20, width)

    def get_input_embeddings(self):
        return self.table


def test_neftune_noise_is_uniform_of_the_stated_size():
    """Jain et al. 2023, algorithm 1: α/√(n·d) for n real tokens of d features, per sequence."""
    model = Rows()
    with noisy_embeddings(model, BATCH, 5.0), torch.no_grad():
        noise = model.table(BATCH["input_ids"])
    noise = (noise - model.table(BATCH["input_ids"])).detach()
    for row, n in zip(noise, (5, 3, 7), strict=True):
        size = 5.0 / (n * 400) ** 0.5
        assert float(row.abs().max()) <= size * (1 + 1e-5)
        assert float(row.abs().max()) > 0.98 * size
        assert float(row.std()) == pytest.approx(size / 3**0.5, rel=0.05)
        assert abs(float(row.mean())) < 0.06 * size


def test_neftune_takes_the_whole_sequence_where_there_is_no_mask():
    model = Rows()
    ids = torch.randint(0, 20, (2, 9))
    with noisy_embeddings(model, {"input_ids": ids}, 3.0), torch.no_grad():
        noise = (model.table(ids) - torch.nn.functional.embedding(ids, model.table.weight)).abs()
    size = 3.0 / (9 * 400) ** 0.5
    assert 0.98 * size < float(noise.max()) <= size * (1 + 1e-5)


def test_neftune_is_off_outside_the_objective(calm):
    with torch.no_grad():
        before = TASK.forward(calm, BATCH)
    scored = forward(TASK, calm, ENCODED, pad_token_id=0)
    assert loss(calm, neftune_noise_alpha=10.0) != loss(calm)
    with torch.no_grad():
        assert torch.equal(TASK.forward(calm, BATCH), before)
    assert np.array_equal(forward(TASK, calm, ENCODED, pad_token_id=0), scored)
    assert not calm.get_input_embeddings()._forward_hooks


def test_neftune_is_off_after_an_error_too():
    model = Rows()
    with pytest.raises(RuntimeError, match="out of memory"), noisy_embeddings(model, BATCH, 5.0):
        raise RuntimeError("out of memory")
    assert not model.table._forward_hooks


def test_no_alpha_no_hook():
    model = Rows()
    with noisy_embeddings(model, BATCH, 0.0):
        assert not model.table._forward_hooks


@pytest.mark.parametrize("key", ["r_drop_alpha", "neftune_noise_alpha"])
def test_the_recipe_reaches_the_loop_and_the_bits_are_the_same_twice(tiny_recipe, tmp_path, key):
    from safetensors.torch import load_file

    def weights(name, alpha):
        recipe = tiny_recipe.replace(train={key: alpha, "max_steps": 3}, evaluate={"baselines": False})
        run = pipeline.train(recipe.model_copy(update={"output_dir": str(tmp_path / name)}))
        return load_file(run.model / "model.safetensors")

    one, again, without = weights("one", 2.0), weights("again", 2.0), weights("without", 0.0)
    assert all(torch.equal(tensor, again[name]) for name, tensor in one.items())
    assert any(not torch.equal(tensor, without[name]) for name, tensor in one.items())


def _t5():
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=60, d_model=24, d_kv=6, d_ff=40, num_layers=1, num_heads=4, decoder_start_token_id=0
        )
    )


def _bart():
    return transformers.BartForConditionalGeneration(
        transformers.BartConfig(
            vocab_size=60, d_model=24, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=40, decoder_ffn_dim=40, max_position_embeddings=30,
        )
    )  # fmt: skip


@pytest.mark.parametrize("make", [_t5, _bart])
def test_neftune_acts_on_the_text_that_an_encoder_reads(make):
    torch.manual_seed(0)
    model = make().eval()
    batch = {name: BATCH[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        plain = model(**batch, decoder_input_ids=batch["input_ids"]).logits
        with noisy_embeddings(model, batch, 50.0):
            noisy = model(**batch, decoder_input_ids=batch["input_ids"]).logits
        again = model(**batch, decoder_input_ids=batch["input_ids"]).logits
    assert not torch.equal(noisy, plain)
    assert torch.equal(again, plain)


def test_neftune_is_refused_where_it_would_have_no_effect(calm):
    unread = pytest.raises(RecipeError, match="neftune_noise_alpha has no effect")
    with unread, noisy_embeddings(calm, BATCH, 5.0):
        pass
