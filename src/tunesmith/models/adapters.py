"""Low-rank adapters (LoRA), made, saved and merged by peft.

Hu et al. 2021 (arXiv 2106.09685); DoRA: Liu et al. 2024 (arXiv 2402.09353); rank-stabilised scaling α/√r:
Kalajdzievski 2023 (arXiv 2312.03732). The adapter is added to the model in place, so the training loop needs no
code for it. Modules without pretrained weights (a new head, a pooler that the files lack) are trained and saved
whole, beside the adapter.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tunesmith.errors import RecipeError
from tunesmith.models.auto_classes import AUTO_CLASSES, PLAIN_PEFT_TYPE
from tunesmith.models.heads import find_head
from tunesmith.models.resolve import ADAPTER_FILE
from tunesmith.models.trial import is_close, known_texts, outputs, trying

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from torch import nn

    from tunesmith.types import Model

_TOLERANCE = 1e-4
"""Share of the largest output of a layer."""
_HEADS_OF_PEFT = ("classifier", "score", "qa_outputs")
"""Endings of names that peft treats as heads."""


@dataclass(frozen=True)
class LoraSettings:
    """Settings of an adapter, each as in `TrainRecipe`."""

    rank: int
    alpha: float
    dropout: float
    targets: Sequence[str] | str
    use_dora: bool
    use_rslora: bool


def add_lora(
    model: Model, auto_class: str, settings: LoraSettings, *, base: str, seed: int, whole: Sequence[str] = ()
) -> PeftModel:
    """Adds an adapter to a model, in place; only the adapter and the modules in `whole` stay trainable.

    Args:
        model: model of transformers.
        auto_class: class of transformers that loads the model.
        settings: settings of the adapter.
        base: location of the base model, which is written into the adapter's config.
        seed: random seed of the adapter's weights.
        whole: modules that are trained and saved whole, without an adapter (see `whole_modules`).

    Returns:
        Peft's view of the model, which saves the adapter.

    Raises:
        RecipeError: no module of the model has one of the target names, or the adapter would change nothing.
    """
    config = _lora_config(model, auto_class, settings, base=base, whole=whole)
    try:
        adapted = _put_in(model, config, seed)
    except ValueError as error:
        raise RecipeError(
            f"train.lora_target_modules matches no module of this model: {settings.targets} "
            f"({str(error).splitlines()[0].rstrip('.')}).",
            remedy="Leave it at `auto` for every linear layer, or use `train.method=full`.",
        ) from None
    adapted.peft_config["default"].base_model_name_or_path = base
    if not _acts(model):
        raise RecipeError(
            f"an adapter would change nothing in `{type(model).__name__}`: its layers are not linear.",
            remedy="Use `train.method=full`.",
        )
    return adapted


def _lora_config(
    model: Model, auto_class: str, settings: LoraSettings, *, base: str, whole: Sequence[str]
) -> LoraConfig:
    import peft

    targets = settings.targets
    return peft.LoraConfig(
        task_type=_peft_type(auto_class),
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear" if targets == "auto" else list(targets),
        exclude_modules=_below((*whole, *_unadaptable(model, targets))),
        modules_to_save=list(whole) or None,
        use_dora=settings.use_dora,
        use_rslora=settings.use_rslora,
        base_model_name_or_path=base,
    )


def _peft_type(auto_class: str) -> str | None:
    """The task type of peft; None for an auto class that it does not know."""
    if auto_class == "AutoModel":
        return PLAIN_PEFT_TYPE
    return AUTO_CLASSES[auto_class].peft_type if auto_class in AUTO_CLASSES else None


def _put_in(model: Model, config: LoraConfig, seed: int) -> PeftModel:
    """The model with an adapter; the seed determines its weights."""
    import peft
    import torch

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "The PEFT config's `base_model_name_or_path`")  # as it shall be
        return peft.get_peft_model(model, config)


def _acts(model: Model) -> bool:
    """Whether any adapter contributes to the model's outputs for a few texts."""
    import torch

    weights = [parameter for name, parameter in model.named_parameters() if "lora_B" in name]
    if not weights:
        return True  # another kind of adapter
    with trying(model), torch.enable_grad():
        total = outputs(model, known_texts(model)).square().sum()
        found = torch.autograd.grad(total, weights, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in found)


def whole_modules(model: Model, new_weights: Iterable[str], *, has_head: bool) -> tuple[str, ...]:
    """Names of the modules that are trained whole beside an adapter: the head, and modules with missing weights.

    Args:
        model: model of transformers.
        new_weights: names of weights that the files lack.
        has_head: whether the task has a head of its own; if not, the model's output layer gets an adapter.
    """
    if not has_head:
        return ()
    own = find_head(model, model.config.num_labels)
    body = model.base_model
    found = []
    for name, module in model.named_children():
        outside = body is not model and module is not body and next(module.parameters(), None) is not None
        if outside or own in module.modules():
            found += _apart(name, module)
    new = sorted({name.rpartition(".")[0] for name in new_weights} - {""})
    inside = tuple(f"{name}." for name in found)
    return (*found, *(name for name in new if not f"{name}.".startswith(inside)))


def _apart(name: str, module: nn.Module) -> list[str]:
    """The name of a head; the names of its parts if peft would wrap one of these again because of its name."""
    if not any(inner.endswith(_HEADS_OF_PEFT) for inner, _ in module.named_modules() if inner):
        return [name]
    parts = [(f"{name}.{inner}", part) for inner, part in module.named_children()]
    return [
        one for inner, part in parts if any(True for _ in part.parameters()) for one in _apart(inner, part)
    ]


def _unadaptable(model: Model, targets: Sequence[str] | str) -> tuple[str, ...]:
    """Linear layers that `auto` leaves without an adapter, because it would have no effect or a wrong one.

    These are subclasses that compute more than a product (routers of experts), layers that are not called since
    the module around them reads their weights (Mamba), layers that share their weight with others (Zamba), and
    layers that peft refuses.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    if targets != "auto":
        return ()
    called, found = _called_modules(model), []
    modules = [module for _, module in model.named_modules() if isinstance(module, (nn.Linear, Conv1D))]
    uses = Counter(id(module.weight) for module in modules)
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Linear, Conv1D)):
            continue
        is_passed_by = name not in called and name.rpartition(".")[0] in called
        is_other = called.get(name, False) or uses[id(module.weight)] > 1
        if is_other or is_passed_by or _is_refused(model, name):
            found.append(name)
    return tuple(found)


def _called_modules(model: Model) -> dict[str, bool]:
    """The modules that are called for a few texts, and whether each is a linear layer that computes more."""
    called: dict[str, bool] = {}

    def note(module: nn.Module, given: tuple[torch.Tensor, ...], output: object, *, name: str) -> None:
        called[name] = called.get(name, False) or _does_more(module, given, output)

    handles = [
        module.register_forward_hook(functools.partial(note, name=name))
        for name, module in model.named_modules()
    ]
    try:
        with trying(model):
            outputs(model, known_texts(model))
    finally:
        for handle in handles:
            handle.remove()
    return called


def _does_more(module: nn.Module, given: tuple[torch.Tensor, ...], output: object) -> bool:
    """Whether a subclass of a linear layer computes something else than the product (routers of experts do)."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    if type(module) is nn.Linear or not isinstance(module, nn.Linear):
        return False
    if not isinstance(output, torch.Tensor):
        return True
    return not is_close(output, F.linear(given[0], module.weight, module.bias), _TOLERANCE)


def _is_refused(model: Model, name: str) -> bool:
    """Whether peft refuses an adapter in this layer of this family."""
    from peft.tuners import tuners_utils

    check = getattr(tuners_utils, "_check_lora_target_modules_mamba", None)
    try:
        if check is not None:
            check(SimpleNamespace(peft_type="LORA"), model, name.rpartition(".")[2])
    except ValueError:
        return True
    return False


def _below(modules: Sequence[str]) -> str | None:
    """A pattern that matches the modules and everything below them."""
    names = "|".join(map(re.escape, modules))
    return rf"(?:{names})(?:\..*)?" if modules else None


def merge_adapter(model: Model, folder: Path) -> Model:
    """The base model with a saved adapter added to its weights: a plain model of transformers.

    Args:
        model: base model, loaded with the adapter's class.
        folder: folder of the adapter.
    """
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers
        warnings.filterwarnings("ignore", "Found missing adapter keys")  # `_load_whole` loads them
        # A head for other labels is not loaded; the model gets a new one.
        adapted = peft.PeftModel.from_pretrained(
            model, str(folder), local_files_only=True, ignore_mismatched_sizes=True
        )
        _load_whole(adapted, folder)
        merged = adapted.merge_and_unload()
    return merged.requires_grad_(True)


def _load_whole(adapted: PeftModel, folder: Path) -> None:
    """Loads the weights that peft skips with only a warning: it misses renamed modules of a few families."""
    import torch
    from safetensors import safe_open

    state = adapted.state_dict()
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file, torch.no_grad():
        for name in file.keys():  # noqa: SIM118 (no mapping)
            saved = state.get(re.sub(r"\.(lora_[AB])\.", r".\1.default.", name))
            if "lora_" in name and saved is not None:
                saved.copy_(file.get_tensor(name))


def adapter_modules(folder: Path) -> set[str]:
    """Names, in the model, of the weights that are saved whole with an adapter, such as its head."""
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", framework="np") as file:
        return {name.removeprefix("base_model.model.") for name in file.keys()}  # noqa: SIM118 (no mapping)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter instead of a whole model."""
    return (folder / ADAPTER_FILE).is_file()
