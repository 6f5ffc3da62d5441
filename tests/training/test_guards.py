import pytest
import torch

from tunesmith.errors import NonFiniteError
from tunesmith.training.guards import require_finite


def guard(values, model=None, rate=1e-3, step=7):
    model = model or torch.nn.Linear(2, 2)
    require_finite(
        values,
        step=step,
        rows=range(9),
        location=lambda i: f"a.csv, line {i}",
        model=model,
        learning_rate=rate,
    )


def test_finite_values_pass_and_no_place_is_looked_up():
    looked_up = []
    values = {"loss": 1e30, "gradient norm": 0.0}
    model = torch.nn.Linear(2, 2)
    require_finite(values, step=1, rows=range(9), location=looked_up.append, model=model, learning_rate=1.0)
    assert looked_up == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_the_message_names_step_rows_and_what_to_try(value):
    with pytest.raises(NonFiniteError) as caught:
        guard({"loss": 1.0, "gradient norm": value})
    message = str(caught.value)
    assert message.startswith(f"step 7: the gradient norm is {value}; nothing was updated with it.")
    assert "a.csv, line 0; a.csv, line 1" in message
    assert "and 4 more" in message
    assert "a smaller `train.learning_rate` (it was 1.0e-03 here)" in message


def test_poisoned_weights_are_named():
    model = torch.nn.Linear(2, 2)
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
    with pytest.raises(
        NonFiniteError, match=r"weights themselves are not finite \(1 tensors, `weight` first\)"
    ):
        guard({"loss": float("nan")}, model)
