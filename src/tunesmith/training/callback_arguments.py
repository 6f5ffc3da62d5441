"""What callbacks read as `args`: the numbers of a run under the names of transformers' TrainingArguments.

A view, because the numbers are decided when a callback is called. A name of TrainingArguments that a run here has
no value for is an error that says so; a default of a Trainer would be a lie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from tunesmith.recipe import Recipe
    from tunesmith.training.processes import Processes
    from tunesmith.types import JsonObject

_SAME = (
    "learning_rate", "weight_decay", "max_grad_norm", "num_train_epochs", "lr_scheduler_type", "warmup_steps",
    "gradient_accumulation_steps", "gradient_checkpointing", "bf16", "label_smoothing_factor", "logging_steps",
    "eval_steps", "save_steps", "per_device_train_batch_size", "report_to",
)  # fmt: skip


class NoCounterpartError(AttributeError):
    """A callback asks for what only a Trainer of transformers has."""


class CallbackArguments:
    """A read-only view.

    Args:
        values: values by name.
    """

    _values: dict[str, Any]

    def __init__(self, values: Mapping[str, object]) -> None:
        object.__setattr__(self, "_values", dict(values))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._values:
            raise NoCounterpartError(f"`args.{name}`, which a run of tunesmith has no value for")
        return self._values[name]

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"args.{name} cannot be set: the recipe decides, or the hook of that name")

    def to_dict(self) -> JsonObject:
        """All values, as those of JSON."""
        return {name: _plain(value) for name, value in self._values.items()}

    def to_sanitized_dict(self) -> JsonObject:
        """All values, as numbers and texts."""
        kinds = (bool, int, float, str)
        return {name: v if isinstance(v, kinds) else str(v) for name, v in self.to_dict().items()}

    def to_json_string(self) -> str:
        """All values, as JSON."""
        return json.dumps(self.to_dict(), indent=2)


class OnlyInTrainer:
    """Stands for an object that only a Trainer has; whoever uses it is told.

    Args:
        name: name of the object.
    """

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __getattr__(self, name: str) -> NoReturn:
        self._refuse()

    def __len__(self) -> int:
        self._refuse()

    def __iter__(self) -> NoReturn:
        self._refuse()

    def __bool__(self) -> bool:
        return False

    def _refuse(self) -> NoReturn:
        raise NoCounterpartError(f"`{self._name}`, which only a Trainer of transformers has")


def callback_arguments(
    recipe: Recipe, metric: tuple[str, bool], processes: Processes, *, max_steps: int, own_optimizer: bool
) -> CallbackArguments:
    """The view of a recipe in which every `auto` has its value.

    Args:
        recipe: recipe as it is used.
        metric: name of the metric that chooses the best step, and whether greater is better.
        processes: processes that train together.
        max_steps: steps of the run.
        own_optimizer: whether a program's own optimizer trains.
    """
    from transformers.trainer_utils import IntervalStrategy, SaveStrategy

    train, device = recipe.train, processes.accelerator.device
    local = processes.accelerator.local_process_index
    values: JsonObject = {name: getattr(train, name) for name in _SAME}
    if train.per_device_train_batch_size is None:  # batches have a number of tokens
        del values["per_device_train_batch_size"]
    values |= {
        "output_dir": recipe.output_dir, "run_name": recipe.output_dir,
        "seed": recipe.seed, "data_seed": recipe.seed,
        "max_steps": max_steps, "neftune_noise_alpha": train.neftune_noise_alpha or None, "fp16": False,
        "logging_strategy": IntervalStrategy.STEPS, "logging_first_step": True, "eval_delay": 0,
        "eval_strategy": IntervalStrategy.STEPS, "save_strategy": SaveStrategy.STEPS, "eval_on_start": False,
        "load_best_model_at_end": True, "metric_for_best_model": metric[0], "greater_is_better": metric[1],
        "do_train": True, "do_eval": True, "do_predict": False, "push_to_hub": False, "disable_tqdm": True,
        "device": device, "n_gpu": int(device.type == "cuda"), "world_size": processes.world,
        "process_index": processes.rank, "local_process_index": local,
        "local_rank": local, "should_log": processes.is_first, "should_save": processes.is_first,
    }  # fmt: skip
    if not own_optimizer:
        values |= {"optim": "adamw_torch_fused", "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}
    return CallbackArguments(values)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(getattr(value, "value", value))
