"""The section `data` of a recipe, and what every section is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Auto = Literal["auto"]


def as_list(value: object) -> object:
    """A text as a list of one, and anything else as it is."""
    return [value] if isinstance(value, str) else value


Sources = Annotated[list[str], BeforeValidator(as_list)]


class Section(BaseModel):
    """A part of the recipe: strict, frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataRecipe(Section):
    """Where the examples come from and how they are split."""

    train: Sources = Field(
        min_length=1, description="a file, several files, a folder, or a Hub data set (`hub:NAME`)"
    )
    validation: Sources | Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="a file, or the share of the training rows that is held out"
    )
    test: Sources | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="a file, or the share that is held out; without it, the validation rows are scored"
    )
    columns: dict[str, str | list[str]] = Field(
        {}, description="name of a task's column: the file's column (a list where each label has a column)"
    )
    group_by: str | None = Field(
        None, description="rows with the same value in this column stay in one split"
    )
    fold: str | None = Field(
        None,
        description="the test rows are one part of the training rows, such as `2/5`: the second of five; "
        "`train.folds` trains all of them",
    )
    align_answers: Literal["exact", "nearby", "normalized"] = Field(
        "exact",
        description="answers that are not at the location that their row gives; exact: refuse; nearby: search "
        "for the same text; normalized: also accept other white space, quotes, dashes and case",
    )
    max_length: Auto | Annotated[int, Field(ge=4)] = Field(
        "auto",
        description="most tokens of a text; auto: the longest text, within the limits of model and memory",
    )
    too_long: Literal["auto", "cut", "window", "stop"] = Field(
        "auto",
        description="texts above max_length: cut them, read them in windows (if the task supports it), or stop; "
        "auto: windows if the task supports them (docs/tasks.md), else cut",
    )
    overlap_tokens: Auto | Annotated[int, Field(ge=0)] = Field(
        "auto", description="tokens that the windows of one text share; auto: a quarter of max_length"
    )
    packing: Auto | bool = Field(
        "auto",
        description="put several short texts into one sequence, kept apart; auto: if the task supports it",
    )
    chat_template: str = Field(
        "auto",
        description="auto: the model's own template, else plain; or a name: plain, chatml, … (docs/tasks.md)",
    )
    train_on: Literal["all", "last"] = Field(
        "all",
        description="turns of the assistant that are learned and scored: all, or the last one of each row (chat)",
    )
    label_order: Literal["auto", "none"] | list[str] = Field(
        "auto",
        description="labels from the lowest to the highest, whose distance is then reported; auto: by their names "
        "(1 to 5, low to high); none: they have no order",
    )
    instruction: str = Field(
        "auto",
        description="what a decoder is asked to do with each text, before the text; auto: the task's own "
        "(docs/tasks.md)",
    )
    check: Literal["off", "warn", "block"] = Field(
        "warn",
        description="check the data before training: off; warn: report findings; block: stop at a blocking one",
    )
    bad_rows: Literal["stop", "set_aside"] = Field(
        "stop", description="rows that cannot be used: stop, or set them aside in data/bad_rows.jsonl"
    )
    exclude: str | None = Field(
        None, description="a file of fingerprints from `tunesmith forget`; rows with these texts are left out"
    )
