"""The mean of the weights after each of the last steps, which is often better than the last weights.

A uniform average, as in stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407), here at the end of
the usual schedule. It costs a pass over the trained weights at each of these steps, and a copy of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tunesmith.events import Events

if TYPE_CHECKING:
    import torch

    from tunesmith.training.checkpoints import State

AVERAGED = "averaged_steps"
"""Key of the entry of an average in `State.history`: the number of steps whose weights it has."""

_PREFIX, _COUNT = "average/", "average_count"


class WeightAverage:
    """A running mean of weights.

    Args:
        parameters: trained weights by name.
        share: share of the steps, at the end, after each of which the weights count; 0 averages nothing.
        total_steps: number of steps of the training.
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor], share: float, total_steps: int) -> None:
        self._parameters = dict(parameters)
        self._begins_after = total_steps - round(share * total_steps)
        self._means: dict[str, torch.Tensor] = {}
        self.count = 0

    def add(self, step: int) -> None:
        """Takes the weights after a step, if it is one of the last ones."""
        if step <= self._begins_after:
            return
        self.count += 1
        for name, parameter in self._parameters.items():
            weights = parameter.detach().float()
            if self.count == 1:
                self._means[name] = weights.clone()
            else:
                self._means[name].lerp_(weights, 1 / self.count)

    def swap(self) -> None:
        """Puts the mean in the place of the weights, and these in the place of the mean; twice changes nothing."""
        import torch

        with torch.no_grad():
            for name, mean in self._means.items():
                weights = self._parameters[name].detach().clone()
                self._parameters[name].copy_(mean)
                self._means[name] = weights

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a checkpoint must hold for an exact continuation; nothing before the first weights count."""
        import torch

        if not self.count:
            return {}
        named = {f"{_PREFIX}{name}": mean for name, mean in self._means.items()}
        return {**named, _COUNT: torch.tensor([self.count])}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Continues from what `tensors` gave."""
        self.count = 0
        self._means.clear()
        if _COUNT not in tensors:
            return
        self.count = int(tensors[_COUNT])
        for name, parameter in self._parameters.items():
            self._means[name] = tensors[f"{_PREFIX}{name}"].to(parameter.device, copy=True)


def without_average(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint that are not of an average."""
    return {name: it for name, it in tensors.items() if not name.startswith(_PREFIX) and name != _COUNT}


def try_average(
    average: WeightAverage,
    state: State,
    evaluate: Callable[[], Mapping[str, float]],
    metric: tuple[str, bool],
    events: Events,
) -> bool:
    """Scores the average of the last weights; it stays in the model, as one more step, if it is the best.

    Args:
        average: average of the last weights.
        state: state after the last step.
        evaluate: function that scores the validation rows.
        metric: name of the metric that chooses, and whether greater is better.
        events: listeners.
    """
    average.swap()
    scores, (name, greater_is_better) = evaluate(), metric
    gain = (scores[name] - state.best_value) * (1 if greater_is_better else -1)
    said = f"the average of the weights of the last {average.count} steps: {name} {scores[name]:.4f}"
    events.note(f"{said}, {'kept' if gain > 0 else 'not better than the best step'}")
    if not gain > 0:
        average.swap()
        return False
    state.step += 1
    state.best_step, state.best_value = state.step, scores[name]
    state.history.append({"step": state.step, **scores, AVERAGED: average.count})
    return True
