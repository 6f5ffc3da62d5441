"""12 = 4×3 = 5/5/2 = two processes, to 1e-6 in float64; against plain autograd."""

import pytest
import torch

from tunesmith.errors import RunError
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import PLAIN_LOSS, TASKS
from tunesmith.testing import forked
from tunesmith.testing.tiny import tiny_rows, write_tiny_model
from tunesmith.training.gradient import Part, accumulate_gradient, sum_gradients
from tunesmith.training.processes import Processes

TASK = TASKS.get("text-classification")


def setting(folder):
    loaded = load_for_training(
        resolve_model(str(folder)), TASK, {"labels": ["a", "b", "c"]}, pooling="mean", seed=1
    )
    rows = tiny_rows(12)
    batch = loaded.tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    return loaded.model.double().eval(), batch, torch.arange(12) % 3


def parts(batch, labels, sizes):
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    for start, size in zip(starts, sizes, strict=True):
        rows = slice(start, start + size)
        yield Part({name: tensor[rows] for name, tensor in {**batch, "labels": labels}.items()})


def gradient(model, batch, labels, sizes, processes=None, mine=slice(None)):
    processes = processes or Processes()
    model.zero_grad()
    loss = accumulate_gradient(
        processes.accelerator,
        list(parts(batch, labels, sizes))[mine],
        lambda _, part: TASK.loss(TASK.forward(model, part), part, PLAIN_LOSS),
        n_items=12,
    )
    sum_gradients(processes, model.parameters())
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain(model, batch, labels):
    model.zero_grad()
    torch.nn.functional.cross_entropy(model(**batch).logits, labels).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_close(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.allclose(one[name], other[name], rtol=0, atol=1e-6), name
    assert max(float(g.abs().max()) for g in one.values()) > 1e-3


@pytest.mark.parametrize("sizes", [[12], [4, 4, 4], [5, 5, 2], [1] * 12])
def test_however_a_batch_is_cut(tmp_path, sizes):
    model, batch, labels = setting(write_tiny_model(tmp_path / "m"))
    loss, found = gradient(model, batch, labels, sizes)
    expected = plain(model, batch, labels)
    assert_close(found, expected)
    assert loss == pytest.approx(
        float(torch.nn.functional.cross_entropy(model(**batch).logits, labels).detach())
    )


CUTS = ("6,6", "5,2,5", "7,5")


@pytest.fixture(scope="module")
def from_two_processes(tmp_path_factory):
    """A folder with the model, and the gradient of each cut as two processes computed it."""
    folder = tmp_path_factory.mktemp("two")
    write_tiny_model(folder / "m")
    assert forked.exit_codes_of_two(one_of_two, folder) == [0, 0]
    assert (folder / "backend").read_text() == "gloo"
    return folder


@pytest.mark.parametrize("sizes", CUTS)
def test_two_processes(from_two_processes, sizes):
    model, batch, labels = setting(from_two_processes / "m")
    found = torch.load(from_two_processes / f"gradient-{sizes}.pt", weights_only=True)
    assert_close(found, plain(model, batch, labels))


def one_of_two(folder):
    import torch.distributed as dist

    processes = Processes()
    # The first process takes parts 0, 2, …; with three parts both take part in the sum.
    mine = slice(processes.rank, None, 2)
    for sizes in CUTS:
        model, batch, labels = setting(f"{folder}/m")
        cut = [int(size) for size in sizes.split(",")]
        _, found = gradient(model, batch, labels, cut, processes, mine)
        if processes.is_first:
            torch.save(found, f"{folder}/gradient-{sizes}.pt")
    assert processes.share({"half": 0.1 + 0.2} if processes.is_first else None) == {"half": 0.1 + 0.2}
    assert processes.any(processes.rank == 1)
    assert not processes.any(False)
    with pytest.raises(RunError, match="taken"):
        processes.first(_refusing)
    if processes.is_first:
        (folder / "backend").write_text(dist.get_backend())
    # A process that leaves while the other still talks to it takes it along (SIGABRT in gloo).
    processes.wait()
    dist.destroy_process_group()


def _refusing():
    raise RunError("the folder is taken.", remedy="Wait.")
