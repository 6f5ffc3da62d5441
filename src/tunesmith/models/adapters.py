"""Low-rank adapters (LoRA), made, saved and merged by peft.

Hu et al. 2021 (arXiv 2106.09685); DoRA: Liu et al. 2024 (arXiv 2402.09353); rank-stabilised scaling α/√r:
Kalajdzievski 2023 (arXiv 2312.03732). The adapter is put into the model in place: who trains the model need not
know of it. A head that was made for the task is trained and saved whole beside the adapter.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.errors import RecipeError
from tunesmith.models.resolve import ADAPTER_FILE

_TASK_TYPES = {
    "AutoModelForSequenceClassification": "SEQ_CLS",
    "AutoModelForTokenClassification": "TOKEN_CLS",
    "AutoModelForQuestionAnswering": "QUESTION_ANS",
    "AutoModelForCausalLM": "CAUSAL_LM",
    "AutoModelForSeq2SeqLM": "SEQ_2_SEQ_LM",
}


@dataclass(frozen=True)
class LoraSettings:
    """Each as in `TrainRecipe`."""

    rank: int
    alpha: float
    dropout: float
    targets: Sequence[str] | str
    use_dora: bool
    use_rslora: bool


def add_lora(model: Any, auto_class: str, settings: LoraSettings, *, base: str, seed: int) -> Any:
    """Puts an adapter into a model, in place; only the adapter and the head stay trainable.

    Args:
        model: of transformers.
        auto_class: the class that loads it.
        settings: of the adapter.
        base: where the base model is found, written into the adapter's config.
        seed: of the adapter's weights.

    Returns:
        Peft's view of the model, which saves the adapter.

    Raises:
        RecipeError: no module of the model has one of the target names.
    """
    import peft
    import torch

    targets = settings.targets
    config = peft.LoraConfig(
        task_type=_TASK_TYPES.get(auto_class),
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear" if targets == "auto" else list(targets),
        use_dora=settings.use_dora,
        use_rslora=settings.use_rslora,
        base_model_name_or_path=base,
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.simplefilter("ignore", FutureWarning)
        try:
            adapted = peft.get_peft_model(model, config)
        except ValueError as error:
            raise RecipeError(
                f"train.lora_target_modules fits no module of this model: {targets}.",
                remedy=f"Leave it at `auto` for every linear layer. ({str(error).splitlines()[0]})",
            ) from None
    adapted.peft_config["default"].base_model_name_or_path = base
    return adapted


def merge_adapter(model: Any, folder: Path) -> Any:
    """The base model with a saved adapter added to its weights: a plain model of transformers.

    Args:
        model: the base model, of the adapter's class.
        folder: that holds the adapter.
    """
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft's affair with transformers
        # A head for other labels is not taken over; it will be new.
        adapted = peft.PeftModel.from_pretrained(
            model, str(folder), local_files_only=True, ignore_mismatched_sizes=True
        )
        merged = adapted.merge_and_unload()
    return merged.requires_grad_(True)


def adapter_modules(folder: Path) -> set[str]:
    """Names of the weights that an adapter brings whole, as the model calls them: its head."""
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", framework="np") as file:
        return {name.removeprefix("base_model.model.") for name in file.keys()}  # noqa: SIM118 (no mapping)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter instead of a whole model."""
    return (folder / ADAPTER_FILE).is_file()
