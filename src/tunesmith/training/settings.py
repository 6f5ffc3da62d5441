"""The numbers of a training, every one decided."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.tasks import PLAIN_LOSS, LossOptions


@dataclass(frozen=True)
class Settings:
    """The numbers of the loop; each as in `TrainRecipe`, with every `auto` filled in."""

    seed: int
    learning_rate: float
    lr_scheduler_type: str
    warmup_steps: float
    weight_decay: float
    max_grad_norm: float
    gradient_accumulation_steps: int
    bf16: bool
    eval_steps: int
    save_steps: int
    logging_steps: int
    early_stopping_patience: int | None
    average_last: float = 0.0
    layer_lr_decay: float = 1.0
    r_drop_alpha: float = 0.0
    neftune_noise_alpha: float = 0.0
    loss: LossOptions = PLAIN_LOSS
    tokens_per_micro_batch: int | None = None
    max_skipped_batches: int = 0
