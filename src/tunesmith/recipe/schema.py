"""The recipe: one typed tree, validated once when it is read, frozen afterwards.

Every key has its type, bounds and one-line description here and nowhere else. The JSON Schema for editors,
`tunesmith init`, the table in `docs/recipe.md` and the error messages are made from these fields. The names are
those of `TrainingArguments` and the Hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BeforeValidator, Field, model_validator

from tunesmith.recipe.data_section import Auto, DataRecipe, Section, Sources, as_list

Method = Literal["probe", "contrastive", "full", "lora"]
METHODS: tuple[str, ...] = get_args(Method)
METHOD_ALIASES: dict[str, str] = {
    **dict.fromkeys(("linear-probe", "linear-probing", "head", "head-only"), "probe"),
    **dict.fromkeys(("finetune", "fine-tune", "finetuning", "fine-tuning", "full-finetuning"), "full"),
    **dict.fromkeys(("adapter", "peft"), "lora"),
    **dict.fromkeys(("setfit", "contrast", "few-shot"), "contrastive"),
}
"""Other names of the methods, in lower case and with hyphens."""
Noise = Literal["word_dropout", "typos", "casing"]


def _as_trackers(value: object) -> object:
    return [] if value in ("none", ["none"]) else as_list(value)


Trackers = Annotated[list[str], BeforeValidator(_as_trackers)]


class TrainRecipe(Section):
    """How the model is trained."""

    method: Auto | Method = Field(
        "auto",
        description="what is trained; probe: a head on the frozen model; contrastive: the model, by comparing "
        "rows, and then a head; full: the whole model; lora: an adapter; auto: contrastive below 16 rows a label, "
        "else full",
    )
    pooling: Literal["auto", "mean", "first"] = Field(
        "auto", description="input of the head: the mean over tokens (BERT family), or the first token"
    )
    head_start: bool = Field(True, description="start training from the head that the probe fitted")
    freeze_layers: int = Field(
        0, ge=0, description="number of bottom layers that are frozen, with the embeddings"
    )
    cache_frozen_layers: Auto | bool = Field(
        "auto",
        description="compute the outputs of frozen layers once and keep them on disk; auto: if it helps",
    )
    freeze_embeddings: bool = Field(False, description="freeze the embeddings")
    add_tokens: str | None = Field(
        None,
        description="words that become tokens of the model; auto: frequent words of the training texts that its "
        "tokenizer breaks into three pieces or more; or a text file with one word a line",
    )
    freeze: Sources = Field([], description="names of parameters that are frozen; `*` stands for anything")
    layer_lr_decay: float = Field(
        1.0, gt=0, le=1, description="factor between the learning rates of a layer and the layer above it"
    )
    lora_r: int = Field(16, ge=1, description="rank of the LoRA adapter")
    lora_alpha: float = Field(32, gt=0, description="scale of the LoRA adapter, times lora_r")
    lora_dropout: float = Field(
        0.05, ge=0, lt=1, description="dropout probability of the LoRA adapter's input"
    )
    lora_target_modules: Auto | Sources = Field(
        "auto",
        description="names of the modules that get an adapter; auto: every linear layer except the head",
    )
    use_dora: bool = Field(False, description="learn the size and the direction of weights separately (DoRA)")
    use_rslora: bool = Field(
        False, description="scale the adapter by lora_alpha / sqrt(lora_r), for large ranks"
    )
    num_train_epochs: Auto | Annotated[float, Field(gt=0, le=10_000)] = Field(
        "auto", description="number of passes over the training rows"
    )
    max_steps: Annotated[int, Field(gt=0)] | None = Field(
        None, description="number of optimizer steps; overrides num_train_epochs"
    )
    learning_rate: Auto | Annotated[float, Field(gt=0, le=1)] = Field(
        "auto", description="peak learning rate; auto: from the model's size (docs/training.md)"
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="how the learning rate falls after the warm-up"
    )
    warmup_steps: Annotated[float, Field(ge=0)] = Field(
        0.1, description="number of warm-up steps; below 1, a share of all steps"
    )
    weight_decay: float = Field(
        0.01, ge=0, le=1, description="decoupled weight decay, applied to matrices only"
    )
    dropout: Auto | Annotated[float, Field(ge=0, lt=1)] = Field(
        "auto",
        description="dropout probability of the model's layers; auto: as in the model's config",
    )
    max_grad_norm: float = Field(
        1.0, gt=0, description="largest norm of the gradients; larger ones are scaled down"
    )
    tokens_per_batch: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto", description="most tokens in one optimizer step, padding included"
    )
    per_device_train_batch_size: Annotated[int, Field(ge=1)] | None = Field(
        None, description="number of rows in one forward pass, instead of tokens_per_batch"
    )
    gradient_accumulation_steps: int = Field(
        1, ge=1, description="number of forward passes in one optimizer step"
    )
    tokens_per_micro_batch: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="most tokens in one forward pass, padding included; a larger batch takes several passes; "
        "auto: as many as fit into the free memory",
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations again in the backward pass, for less memory and more time"
    )
    bf16: Auto | bool = Field(
        "auto", description="bfloat16 arithmetic; auto: where it is faster on this machine"
    )
    acceleration: bool = Field(
        True,
        description="faster arithmetic with the same results (docs/performance.md); false: that of torch and "
        "transformers, in training and in everything that is done with the run",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="weights of the labels in the loss; balanced: 1 / frequency of the label"
    )
    focal_gamma: float = Field(
        0.0, ge=0, le=10, description="exponent of the focal loss, which gives easy examples less weight"
    )
    label_smoothing_factor: float = Field(
        0.0, ge=0, lt=1, description="share of the target probability that is spread over all labels"
    )
    r_drop_alpha: float = Field(
        0.0, ge=0, description="weight of the loss between the outputs of two dropout masks (R-Drop)"
    )
    neftune_noise_alpha: float = Field(
        0.0, ge=0, description="size of the noise on the embeddings (NEFTune); 5 is usual"
    )
    augment: dict[Noise, Annotated[float, Field(ge=0, le=0.5)]] = Field(
        {},
        description="a noisy copy of every training text: shares of words dropped, misspelt, changed in case",
    )
    mlm_probability: float = Field(
        0.15, gt=0, lt=1, description="share of tokens that are masked (fill-mask)"
    )
    whole_word_masking: bool = Field(False, description="mask whole words (fill-mask)")
    dpo_beta: float = Field(
        0.1, gt=0, description="strength that keeps the model near the reference (preference)"
    )
    folds: int | None = Field(
        None,
        ge=2,
        le=50,
        description="cross-validation: number of parts of the training rows; for each, a model learns from the "
        "others and is scored on it, before the model learns from all",
    )
    average_last: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the steps, at the end, whose weights are averaged; the average is kept if it is "
        "better on the validation rows",
    )
    eval_steps: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto", description="steps between evaluations on the validation rows; auto: one epoch, at most 1000"
    )
    save_steps: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto", description="steps between checkpoints; auto: the same as eval_steps"
    )
    logging_steps: int = Field(10, ge=1, description="steps between lines of events.jsonl")
    max_skipped_batches: int = Field(
        0,
        ge=0,
        description="number of batches that are left out when a loss, a gradient or a weight is not finite after "
        "them; training goes back to the last checkpoint each time",
    )
    report_to: Trackers = Field(
        [],
        description="trackers that get curves, scores and the report: tensorboard, wandb, mlflow, trackio "
        "(docs/trackers.md)",
    )
    early_stopping_patience: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="number of evaluations without a better validation metric after which training stops",
    )

    @model_validator(mode="after")
    def _one_batch_size(self) -> TrainRecipe:
        if self.per_device_train_batch_size is not None and self.tokens_per_batch != "auto":
            raise ValueError("tokens_per_batch and per_device_train_batch_size exclude each other; give one")
        return self


class GenerateRecipe(Section):
    """How texts are generated; saved with the model."""

    max_new_tokens: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="most tokens in an answer; auto: a fifth more than the longest training answer, and at least "
        "256 in a chat; 256 for the continuation of a text",
    )
    num_beams: int = Field(1, ge=1, le=64, description="number of beams in beam search")
    repetition_penalty: Auto | Annotated[float, Field(gt=0, le=10)] = Field(
        "auto",
        description="divisor of the scores of tokens that a text or its prompt already has; above 1, texts repeat "
        "themselves less; auto: the model's own, usually 1",
    )
    do_sample: bool = Field(False, description="draw tokens at random instead of taking the most probable")
    temperature: float = Field(1.0, gt=0, description="temperature of the token probabilities")
    top_p: float = Field(
        1.0, gt=0, le=1, description="draw only from the most probable tokens, up to this total probability"
    )


class EvaluateRecipe(Section):
    """How the result is scored."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="confidence level of the intervals")
    bootstrap_samples: int = Field(
        1000,
        ge=100,
        le=100_000,
        description="number of resamples for the interval of a metric that is not a share, such as a loss",
    )
    baselines: bool = Field(
        True, description="score simple baselines too: majority, TF-IDF, probe, the base model, …"
    )
    samples: Auto | Annotated[int, Field(ge=0, le=1000)] = Field(
        "auto",
        description="number of answers that are generated and judged, if the metrics need none; auto: 100 for "
        "chat, else 8",
    )
    general_text: str | None = Field(
        None,
        description="a text file whose likelihood before and after training shows what a decoder forgets; none: "
        "English paragraphs of the package",
    )
    canaries: str | None = Field(
        None,
        description="a file with planted secrets (`prompt`, `secret`): whether a model that writes has learned "
        "them (docs/writing.md)",
    )
    harmful_prompts: str = Field(
        "auto",
        description="prompts that a chat model should refuse, a line each in a file; auto: a list of the package; "
        "none: it is not asked",
    )
    previous: Literal["auto", "none"] = Field(
        "auto",
        description="whether a classifier whose `model` is a run is asked what it has forgotten of that run's "
        "task, on the rows that the run was scored on; none: it is not",
    )
    calibration: Literal["auto", "none", "temperature", "vector"] = Field(
        "auto",
        description="how scores become probabilities, fitted on the validation rows; temperature: one factor; "
        "vector: a factor and a shift for each label; auto: by cross-validation (docs/trust.md)",
    )
    decision: Literal["auto", "none", "offsets"] = Field(
        "auto",
        description="which label is answered; offsets: rare labels are favoured, by what is fitted on the "
        "validation rows; none: the most probable; auto: offsets, where labels are rare and macro F1 gains "
        "beyond chance, by cross-validation (docs/methods.md)",
    )
    max_error: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="most wrong answers among those given; the model abstains from the others (docs/trust.md)",
    )
    slices: Sources = Field([], description="columns by whose values the scores are split")
    groups: Sources = Field(
        [], description="columns of groups of people, whose scores and largest gap are reported"
    )
    identity_terms: Sources = Field(
        [],
        description="lists of words for groups of people that are exchanged in texts: gender, names, religion, "
        "nationality, ethnicity, orientation, age, disability, or a file (docs/fairness.md)",
    )
    stereotypes: Sources = Field(
        [],
        description="pairs of sentences that a language model compares: tables like CrowS-Pairs, folders like "
        "WinoBias (docs/fairness.md)",
    )


class ExportRecipe(Section):
    """How far an export of the run may differ from the run."""

    min_agreement: float = Field(
        0.99,
        ge=0,
        le=1,
        description="least share of validation rows with the same answer from export and run",
    )
    max_metric_drop: float = Field(
        0.01, ge=0, description="largest loss of the primary metric, in its own unit"
    )


class RangeRecipe(Section):
    """The numbers that a search may give to a key."""

    low: int | float = Field(description="the smallest value")
    high: int | float = Field(description="the largest value")
    log: bool = Field(False, description="values are drawn evenly on a logarithmic scale")


class TuneRecipe(Section):
    """What `tunesmith tune` searches, and for how long; no other verb reads it."""

    space: dict[str, RangeRecipe | Annotated[list[Any], Field(min_length=1)]] = Field(
        {},
        description="by key of the recipe, a range (`{low: 1e-5, high: 1e-3, log: true}`) or a list of values; "
        "empty: the space of the task and the method (docs/tune.md)",
    )
    trials: Annotated[int, Field(ge=1)] | None = Field(
        None, description="number of trainings of the search; none: 40, or as many as `tune.time` allows"
    )
    time: str | None = Field(
        None, description="time for the whole search, the final training included: `20m`, `1h30m`, `90s`"
    )
    finalists: int = Field(
        3,
        ge=1,
        le=20,
        description="number of trials that are trained again with other seeds before one is chosen",
    )
    seeds: int = Field(3, ge=1, le=20, description="number of seeds with which each finalist is trained")
    soup: bool = Field(
        False,
        description="average the weights of the finalists into one model, which is kept if it is better on the "
        "validation rows beyond noise",
    )


class Recipe(Section):
    """Everything that one run depends on."""

    task: str = Field("text-classification", description="what the model learns to do: `tunesmith list`")
    model: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2", description="a Hub id, a local folder, or a run folder"
    )
    output_dir: str = Field("runs/run", min_length=1, description="the run folder")
    seed: int = Field(42, ge=0, lt=2**63, description="seed of every random choice")
    data: DataRecipe
    train: TrainRecipe = TrainRecipe()
    generate: GenerateRecipe = GenerateRecipe()
    evaluate: EvaluateRecipe = EvaluateRecipe()
    export: ExportRecipe = ExportRecipe()
    tune: TuneRecipe = TuneRecipe()

    def to_yaml(self) -> str:
        """The recipe as YAML, with every value."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def replace(self, **sections: Mapping[str, object]) -> Recipe:
        """A copy with values of sections changed: `recipe.replace(train={"learning_rate": 1e-4})`."""
        tree = self.model_dump(mode="json", exclude_unset=True)
        for section, values in sections.items():
            tree.setdefault(section, {}).update(values)
        return Recipe.model_validate(tree)
