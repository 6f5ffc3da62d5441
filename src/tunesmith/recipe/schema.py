"""The recipe: one typed tree, validated once at the door, frozen afterwards.

Every key has its type, bounds and one-line description here and nowhere else: the JSON Schema for editors,
`tunesmith init`, the table in `docs/recipe.md` and the error messages are made from these fields. Names are
those of `TrainingArguments` and the Hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Auto = Literal["auto"]
Method = Literal["probe", "full", "lora"]
METHODS: tuple[str, ...] = get_args(Method)


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
    columns: dict[str, str | list[str]] = Field(
        {}, description="the task's column: the file's column (or columns, where there is one a label)"
    )
    group_by: str | None = Field(None, description="rows with one value of this column never cross splits")
    align_answers: Literal["exact", "nearby", "normalized"] = Field(
        "exact",
        description="answers that are not where their row says: exact: refuse them; nearby: look for the same "
        "text; normalized: also for one that differs by white space, quotes, dashes and case",
    )
    max_length: Auto | Annotated[int, Field(ge=4)] = Field(
        "auto", description="tokens a text may have; auto: the longest there is, within model and memory"
    )
    too_long: Literal["auto", "cut", "window", "stop"] = Field(
        "auto",
        description="texts above max_length: cut them, read them in windows (where the task can), or stop",
    )
    overlap_tokens: Auto | Annotated[int, Field(ge=0)] = Field(
        "auto", description="tokens that the windows of one text share; auto: a quarter of max_length"
    )
    packing: Auto | bool = Field(
        "auto", description="several short texts in one sequence, kept apart; auto: where the task can"
    )
    chat_template: str = Field(
        "auto", description="auto: the model's own, else plain; or plain, chatml, … (docs/tasks.md)"
    )
    bad_rows: Literal["stop", "set_aside"] = Field(
        "stop", description="stop at rows that cannot be used, or write them to data/bad_rows.jsonl"
    )


class TrainRecipe(_Section):
    """How the model is trained."""

    method: Method = Field(
        "full", description="probe: a head on the frozen model; full: the whole model; lora: an adapter"
    )
    pooling: Literal["auto", "mean", "first"] = Field(
        "auto", description="what the head sees: the mean over tokens (BERT family), or the first token"
    )
    head_start: bool = Field(True, description="start from the head that a probe fitted")
    freeze_layers: int = Field(0, ge=0, description="bottom layers (and embeddings) kept as they are")
    cache_frozen_layers: Auto | bool = Field(
        "auto",
        description="compute what frozen layers make of a text once, and keep it on disk; auto: if it helps",
    )
    freeze_embeddings: bool = Field(False, description="the embeddings kept as they are")
    freeze: Sources = Field([], description="names of parameters kept as they are; `*` stands for anything")
    layer_lr_decay: float = Field(
        1.0, gt=0, le=1, description="each layer learns slower than the one above it by this factor"
    )
    lora_r: int = Field(16, ge=1, description="rank of the adapter")
    lora_alpha: float = Field(32, gt=0, description="its scale is lora_alpha / lora_r")
    lora_dropout: float = Field(0.05, ge=0, lt=1, description="in front of the adapter")
    lora_target_modules: Auto | Sources = Field(
        "auto", description="names of the modules that get an adapter; auto: every linear layer of the body"
    )
    use_dora: bool = Field(False, description="learn size and direction of weights apart (DoRA)")
    use_rslora: bool = Field(False, description="scale by lora_alpha / sqrt(lora_r), for large ranks")
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
        "auto", description="tokens of one optimizer step, padding included"
    )
    per_device_train_batch_size: Annotated[int, Field(ge=1)] | None = Field(
        None, description="rows of one forward pass, instead of tokens_per_batch"
    )
    gradient_accumulation_steps: int = Field(1, ge=1, description="forward passes to one optimizer step")
    tokens_per_micro_batch: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="most tokens of one forward pass, padding included; larger batches take several; "
        "auto: what fits the free memory",
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations again in the backward pass: less memory, more time"
    )
    bf16: Auto | bool = Field("auto", description="bfloat16 arithmetic; auto: where the processor has it")
    acceleration: bool = Field(
        True,
        description="faster arithmetic with the same results (docs/performance.md); false: that of torch and "
        "transformers, in training and in everything that is done with the run",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: rare labels weigh more, by 1 / their frequency"
    )
    focal_gamma: float = Field(0.0, ge=0, le=10, description="weigh what is known well less (focal loss)")
    label_smoothing_factor: float = Field(
        0.0, ge=0, lt=1, description="share of the target given to all labels"
    )
    r_drop_alpha: float = Field(
        0.0, ge=0, description="weight of agreement between two dropout masks (R-Drop)"
    )
    neftune_noise_alpha: float = Field(0.0, ge=0, description="noise on the embeddings (NEFTune), 5 is usual")
    augment: dict[Literal["word_dropout", "typos", "casing"], Annotated[float, Field(ge=0, le=0.5)]] = Field(
        {}, description="a noisy copy of every training text: shares of words left out, misspelt, recased"
    )
    mlm_probability: float = Field(
        0.15, gt=0, lt=1, description="share of tokens that are masked (fill-mask)"
    )
    whole_word_masking: bool = Field(False, description="mask whole words (fill-mask)")
    dpo_beta: float = Field(0.1, gt=0, description="how far the model may leave the reference (preference)")
    eval_steps: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto", description="steps between evaluations of the validation rows; auto: an epoch, at most 1000"
    )
    save_steps: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto", description="steps between checkpoints; auto: as eval_steps"
    )
    logging_steps: int = Field(10, ge=1, description="steps between lines of events.jsonl")
    early_stopping_patience: Annotated[int, Field(ge=1)] | None = Field(
        None, description="stop after so many evaluations without a better validation metric"
    )

    @model_validator(mode="after")
    def _one_batch_size(self) -> TrainRecipe:
        if self.per_device_train_batch_size is not None and self.tokens_per_batch != "auto":
            raise ValueError("tokens_per_batch and per_device_train_batch_size exclude each other; give one")
        return self


class GenerateRecipe(_Section):
    """How texts are generated; saved with the model."""

    max_new_tokens: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto", description="most tokens of an answer; auto: the longest of the training rows, else 256"
    )
    num_beams: int = Field(1, ge=1, le=64, description="beams that are searched")
    do_sample: bool = Field(False, description="draw tokens instead of taking the most probable")
    temperature: float = Field(1.0, gt=0, description="of the drawing")
    top_p: float = Field(1.0, gt=0, le=1, description="draw from the most probable tokens of this mass")


class EvaluateRecipe(_Section):
    """How the result is scored."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the intervals")
    bootstrap_samples: int = Field(
        1000,
        ge=100,
        le=100_000,
        description="resamples behind the interval of a metric that is no share, a loss say",
    )
    baselines: bool = Field(
        True, description="score what is cheap too: majority, TF-IDF, probe, the base model, …"
    )
    samples: int = Field(
        8, ge=0, le=1000, description="answers generated for the report, where scores need none"
    )
    slices: list[str] = Field([], description="columns whose values are scored one by one")
    groups: list[str] = Field([], description="columns of groups of people: scored, with the largest gap")


class ExportRecipe(_Section):
    """What an export of the run may lose."""

    min_agreement: float = Field(
        0.99, ge=0, le=1, description="least share of validation rows with the same answer as the run's"
    )
    max_metric_drop: float = Field(
        0.01, ge=0, description="most that the primary metric may get worse, in its own unit"
    )


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
    generate: GenerateRecipe = GenerateRecipe()
    evaluate: EvaluateRecipe = EvaluateRecipe()
    export: ExportRecipe = ExportRecipe()

    def to_yaml(self) -> str:
        """Every value, none left out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def replace(self, **sections: Mapping[str, Any]) -> Recipe:
        """A copy with values of sections changed: `recipe.replace(train={"learning_rate": 1e-4})`."""
        tree = self.model_dump(mode="json", exclude_unset=True)
        for section, values in sections.items():
            tree.setdefault(section, {}).update(values)
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
