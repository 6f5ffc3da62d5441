import torch

from tunesmith.training.randomness import derive, numpy_generator, seed_torch


def test_a_choice_is_a_function_of_seed_purpose_and_position():
    assert derive(1, "order", 2) == derive(1, "order", 2)
    others = {derive(1, "order", 2), derive(2, "order", 2), derive(1, "dropout", 2), derive(1, "order", 3)}
    assert len(others) == 4
    assert derive(1, "a", 11, 1) != derive(1, "a", 1, 11)
    assert 0 <= derive(0, "x") < 2**63


def test_the_function_does_not_change_between_versions():
    """A run that was begun with an older version must go on with the same choices."""
    assert derive(42, "order", 0) == 4739343602235701392
    assert numpy_generator(42, "order", 0).permutation(5).tolist() == [2, 1, 4, 0, 3]


def test_dropout_draws_what_the_seed_says():
    seed_torch(1, "dropout", 5)
    one = torch.nn.functional.dropout(torch.ones(100))
    torch.rand(3)
    seed_torch(1, "dropout", 5)
    assert torch.equal(one, torch.nn.functional.dropout(torch.ones(100)))
