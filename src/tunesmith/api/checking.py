"""`check`, from what people hold to findings."""

from __future__ import annotations

import html
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tunesmith.api.keywords import spelled_out, suggesting
from tunesmith.api.recipes import build_recipe, is_recipe, only_one
from tunesmith.api.shown import Report
from tunesmith.api.using import open_door, showing
from tunesmith.api.verb_keywords import CHECK_DEFAULTS, CheckKeywords
from tunesmith.errors import RecipeError
from tunesmith.events import Events

if TYPE_CHECKING:
    from tunesmith.data.formats.memory import Held
    from tunesmith.pipeline.checking import CheckReport
    from tunesmith.types import JsonObject

_OF_THE_RECIPE = (
    "labels", "label", "text", "task", "model", "validation", "test", "columns", "max_length", "seed",
)  # fmt: skip
_SHOWN = ("severity", "check", "text", "remedy")


class CheckResult:
    """What `check` found.

    Args:
        report: findings and the rows that they are about.
        held: objects in memory that were checked, which stay sources as long as this object lives.
    """

    def __init__(self, report: CheckReport, held: Sequence[Held] = ()) -> None:
        self._report, self._held = report, tuple(held)
        self._json = report.to_json()

    @property
    def findings(self) -> list[JsonObject]:
        """The findings, the worst first: `check`, `severity`, `text`, `rows`, `evidence`, `remedy`."""
        return list(self._json["findings"])

    @property
    def is_blocking(self) -> bool:
        """Whether something makes training pointless, or its score wrong."""
        return self._report.is_blocking

    def to_json(self) -> JsonObject:
        """The content of check.json."""
        return dict(self._json)

    def report(self, path: str | os.PathLike[str] = "check.html", *, force: bool = False) -> Report:
        """Writes the findings as a page, which a notebook shows and `.open()` opens in the browser.

        Args:
            path: the file to write.
            force: replace an earlier file.

        Raises:
            RecipeError: the file exists.
        """
        from tunesmith.pipeline.checking import title_of
        from tunesmith.run import write_atomically

        file = Path(path)
        if file.exists() and not force:
            raise RecipeError(f"`{file}` already exists.", remedy="Give another name, or `force=True`.")
        write_atomically(file, self._report.page(title_of(self._report.recipe)))
        return Report(file)

    def fix(self, out: str | os.PathLike[str], *, force: bool = False) -> JsonObject:
        """Writes a cleaned copy of the data; the original stays as it is.

        Args:
            out: a file for the training rows (.jsonl, .csv, .tsv, .parquet), or a folder for all splits.
            force: replace an earlier copy.

        Returns:
            `files` with their rows, and the rows `removed` and `changed` by check.

        Raises:
            RecipeError: the place is a source, is taken, or its ending is unknown.
        """
        from tunesmith.pipeline.fixing import fix

        return fix(self._report, out, force=force)

    def __repr__(self) -> str:
        from tunesmith.pipeline.checking import lines_of

        return "\n".join(lines_of(self._json))

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(it[key])}</td>" for key in _SHOWN) + "</tr>"
            for it in self.findings
        )
        counts = Counter(it["severity"] for it in self.findings)
        said = ", ".join(f"{n} {severity}" for severity, n in counts.items()) or "nothing was found"
        return f"<b>check of the data</b>: {said}<table>{rows}</table><p><code>.report()</code> has the rows.</p>"


@suggesting
@spelled_out(CheckKeywords, CHECK_DEFAULTS)
def check(data: Any = None, **keywords: Unpack[CheckKeywords]) -> CheckResult:
    """Checks the data, without training: `check("reviews.csv")`, `check(frame, label="stars", test=other)`.

    Args:
        data: a file, or several; rows in memory; texts, with `labels`; or a recipe, as for `train`.
        **keywords: the keywords.

    Returns:
        The findings; `.report()` writes them as a page.

    Raises:
        UserError: the recipe, the data or the model must be corrected first.
    """
    from tunesmith import pipeline

    open_door()
    given: JsonObject = {**CHECK_DEFAULTS, **keywords}
    recipe = given.get("recipe")
    if is_recipe(data):
        data, recipe = None, only_one(data, recipe)
    values: JsonObject = {name: given.get(name) for name in _OF_THE_RECIPE}
    held: list[Held] = []
    notices: list[str] = []
    built = build_recipe(
        recipe,
        overrides=given["overrides"],
        notices=notices,
        held=held,
        data=data,
        output_dir="runs/check",
        **values,
    )
    with showing(given["progress"], given["listeners"]) as shown:
        for notice in notices:
            Events(shown).note(notice)
        return CheckResult(pipeline.check(built, with_model=not given["fast"], listeners=shown), held)
