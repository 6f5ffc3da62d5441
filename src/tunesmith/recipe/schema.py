"""The recipe: one typed tree, validated once at the door, frozen afterwards.

Every key has its type, bounds and one-line description here and nowhere else: the JSON Schema for editors,
`tunesmith init`, the table in `docs/recipe.md` and the error messages are made from these fields. Names are
those of `TrainingArguments` and the Hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Auto = Literal["auto"]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Sources = Annotated[list[str], BeforeValidator(_as_list)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataRecipe(_Section):
    """Where the examples come from and how they are split."""

    train: Sources = Field(min_length=1, description="file, files, folder, or Hub data set (`hub:NAME`)")
    validation: Sources | Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="a file, or the share of the training rows to hold out"
    )
    test: Sources | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="a file, or the share to hold out; without it the validation rows are scored"
    )
    columns: dict[str, str] = Field({}, description="the task's column: the file's column")
    group_by: str | None = Field(None, description="rows with one value of this column never cross splits")
    max_length: Auto | Annotated[int, Field(ge=4)] = Field(
        "auto", description="tokens a text may have; auto: the longest there is, within model and memory"
    )
    bad_rows: Literal["stop", "set_aside"] = Field(
        "stop", description="stop at rows that cannot be used, or write them to data/bad_rows.jsonl"
    )


class TrainRecipe(_Section):
    """How the model is trained."""

    method: str = Field("full", description="probe: a head on the frozen model; full: the whole model")
    pooling: Literal["auto", "mean", "first"] = Field(
        "auto", description="what the head sees: the mean over tokens (BERT family), or the first token"
    )
    head_start: bool = Field(True, description="start from the head that a probe fitted")
    freeze_layers: int = Field(0, ge=0, description="bottom layers (and embeddings) kept as they are")
    num_train_epochs: Auto | Annotated[float, Field(gt=0, le=10_000)] = Field(
        "auto", description="passes over the training rows"
    )
    max_steps: Annotated[int, Field(gt=0)] | None = Field(
        None, description="optimizer steps; overrides num_train_epochs"
    )
    learning_rate: Auto | Annotated[float, Field(gt=0, le=1)] = Field(
        "auto", description="peak learning rate; auto: from the model's size (docs/training.md)"
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="how the learning rate falls after the warm-up"
    )
    warmup_steps: Annotated[float, Field(ge=0)] = Field(0.1, description="steps, or a share of them below 1")
    weight_decay: float = Field(0.01, ge=0, le=1, description="decoupled, on matrices only")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    tokens_per_batch: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto", description="tokens of one optimizer step, padding included, over all devices"
    )
    per_device_train_batch_size: Annotated[int, Field(ge=1)] | None = Field(
        None, description="rows of one forward pass on one device, instead of tokens_per_batch"
    )
    gradient_accumulation_steps: int = Field(1, ge=1, description="forward passes to one optimizer step")
    bf16: Auto | bool = Field("auto", description="bfloat16 arithmetic; auto: where the processor has it")
    eval_steps: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto", description="steps between looks at the validation rows; auto: an epoch, at most 1000"
    )
    save_steps: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto", description="steps between checkpoints; auto: as eval_steps"
    )
    logging_steps: int = Field(10, ge=1, description="steps between lines of events.jsonl")
    early_stopping_patience: Annotated[int, Field(ge=1)] | None = Field(
        None, description="stop after so many looks without a better validation metric"
    )

    @model_validator(mode="after")
    def _one_batch_size(self) -> TrainRecipe:
        if self.per_device_train_batch_size is not None and self.tokens_per_batch != "auto":
            raise ValueError("tokens_per_batch and per_device_train_batch_size exclude each other; give one")
        return self


class EvaluateRecipe(_Section):
    """How the result is scored."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the intervals")
    bootstrap_samples: int = Field(1000, ge=100, le=100_000, description="resamples behind an interval")
    baselines: bool = Field(True, description="score majority, TF-IDF + logistic regression and probe too")
    slices: list[str] = Field([], description="columns whose values are scored one by one")
    groups: list[str] = Field([], description="columns of groups of people: scored, with the largest gap")


class Recipe(_Section):
    """Everything one run is made from."""

    task: str = Field("text-classification", description="what the model learns to do: `tunesmith list`")
    model: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2", description="Hub id, local folder, or a run of ours"
    )
    output_dir: str = Field("runs/run", min_length=1, description="the run folder")
    seed: int = Field(42, ge=0, lt=2**63, description="every random choice is a function of it")
    data: DataRecipe
    train: TrainRecipe = TrainRecipe()
    evaluate: EvaluateRecipe = EvaluateRecipe()

    def to_yaml(self) -> str:
        """Every value, none left out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def replace(self, **sections: Mapping[str, Any]) -> Recipe:
        """A copy with values of sections changed: `recipe.replace(train={"learning_rate": 1e-4})`."""
        tree = self.model_dump(mode="json")
        for section, values in sections.items():
            tree[section].update(values)
        return Recipe.model_validate(tree)


def recipe_keys() -> list[str]:
    """Every key of the recipe, dotted: `train.learning_rate`."""
    return list(recipe_fields(Recipe))


def describe_fields() -> list[tuple[str, str, str]]:
    """(dotted key, default, description) of every field, for docs and `init`."""
    rows = []
    for key, info in recipe_fields(Recipe).items():
        default = "required" if info.is_required() else yaml_value(info.get_default())
        rows.append((key, default, info.description or ""))
    return rows


def yaml_value(value: Any) -> str:
    """One value as YAML writes it, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def recipe_fields(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Pydantic's description of every field below a section, by dotted key."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        section = _section_type(info.annotation)
        if section is not None:
            found.update(recipe_fields(section, f"{prefix}{name}."))
        else:
            found[prefix + name] = info
    return found


def _section_type(annotation: Any) -> type[BaseModel] | None:
    is_section = isinstance(annotation, type) and issubclass(annotation, _Section)
    return cast(type[BaseModel], annotation) if is_section else None
