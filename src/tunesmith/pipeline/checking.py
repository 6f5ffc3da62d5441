"""The checks of the data: by themselves (`tunesmith check`), and in their fast form before a training.

`check` calls the phases of a training in order and stops before its plan: splits, rows, and the model, its
encodings and its features only where a check asks for them. A training runs the checks of texts when its rows are
read, and those that need features when the probe has them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from tunesmith.acceleration.bf16 import bf16_is_faster
from tunesmith.checks import CHECKS, CheckedData, Finding
from tunesmith.checks._running import as_json, blocking, excerpt, run_checks, worst_first
from tunesmith.checks.languages import PROBLEMS
from tunesmith.data.examples import Examples
from tunesmith.data.personal import redacted
from tunesmith.data.preparing import PreparedData, find_splits
from tunesmith.errors import CheckBlockedError
from tunesmith.events import Event, Events, Listener, Warning
from tunesmith.models.loading import refuse_other_kinds
from tunesmith.models.resolve import resolve_model
from tunesmith.models.task_of_model import task_of_model
from tunesmith.pipeline.encode import EncodedData, encode
from tunesmith.pipeline.open_model import OpenedModel, language_problems, open_model
from tunesmith.pipeline.prepare import prepare_data
from tunesmith.pipeline.probe import FeaturesOf
from tunesmith.pipeline.training_plan import TrainingPlan, wants_probe
from tunesmith.pipeline.work import Work
from tunesmith.recipe import Recipe
from tunesmith.reports.check_page import check_page, check_title
from tunesmith.reports.sources import named_sources
from tunesmith.run import Run, read_json, sha256_of, write_atomically, write_json
from tunesmith.tasks import TASKS, Task
from tunesmith.training.loop import never
from tunesmith.training.processes import Processes

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SHOWN_ROWS = 200
"""Rows of a finding that check.html shows."""
_SHOWN_LINES = 3
_MARKS = {"block": "!! ", "warn": " ! ", "note": "   "}


@dataclass(frozen=True)
class CheckReport:
    """What the checks found.

    Args:
        recipe: recipe whose data were checked.
        splits: usable rows by split.
        findings: findings, the worst first.
        left_out: checks that were not run, with the reason.
        data: what the checks read; `--fix` changes it and checks it again.
    """

    recipe: Recipe
    splits: Mapping[str, Examples]
    findings: Sequence[Finding]
    left_out: Mapping[str, str] = field(default_factory=dict)
    data: CheckedData | None = field(default=None, compare=False, repr=False)

    @property
    def is_blocking(self) -> bool:
        """Whether something makes training pointless, or its score wrong."""
        return bool(blocking(self.findings))

    def page(self, title: str) -> str:
        """The content of check.html.

        Args:
            title: name of what was checked.
        """
        return check_page(self.to_json(), [self._excerpts(it) for it in self.findings], title=title)

    def _excerpts(self, finding: Finding) -> list[str]:
        """The texts of the first rows of a finding, without personal data."""
        rows = finding.rows[:_SHOWN_ROWS]
        return [redacted(excerpt(self.splits[it.split], it.row)) for it in rows]

    def to_json(self) -> JsonObject:
        """The content of check.json."""
        return {
            "task": self.recipe.task,
            "splits": {split: len(examples) for split, examples in self.splits.items()},
            "findings": [as_json(finding, self.splits) for finding in self.findings],
            "left_out": dict(self.left_out),
        }


def check(recipe: Recipe, *, with_model: bool = True, listeners: Iterable[Listener] = ()) -> CheckReport:
    """Checks the data of a recipe; nothing is trained, and no file is written.

    Args:
        recipe: recipe, of which the data and, for the features, the model are used.
        with_model: run the checks that need the model, too.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the recipe, the data or the model must be corrected first.
    """
    listeners = tuple(listeners)
    with reading_for_checks(recipe, with_model=with_model, listeners=listeners) as checked:
        Events(listeners).stage("check", "Checking the data")
        findings = worst_first(run_checks(checked))
    left_out = _left_out(checked.task, with_model=with_model)
    return CheckReport(checked.recipe, checked.splits, findings, left_out, checked)


@contextmanager
def reading_for_checks(
    recipe: Recipe, *, with_model: bool = True, listeners: Iterable[Listener] = ()
) -> Iterator[CheckedData]:
    """What checks read of the data of a recipe; features are computed while it lasts.

    Args:
        recipe: recipe, of which the data and, for the features, the model are used.
        with_model: give features, too.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the recipe, the data or the model must be corrected first.
    """
    listeners = tuple(listeners)
    task = TASKS.get(recipe.task)
    recipe = find_splits(recipe).replace(data={"bad_rows": "set_aside"}, train={"augment": {}})
    with tempfile.TemporaryDirectory() as folder:
        # What the phases warn of, findings say.
        phases = Events([partial(_pass_on, listener) for listener in listeners])
        if with_model:
            task = task_of_model(task, resolve_model(recipe.model, phases.note).path)
        work = Work(Run(folder), task, recipe, recipe, phases, False, Processes(), never)
        data = prepare_data(work)
        checked = _checked(task, recipe, data)
        yield _with_model(work, data, checked) if with_model else checked


def title_of(recipe: Recipe) -> str:
    """What was checked, for the title of the page: the names of the training sources."""
    return named_sources(recipe.data.train)


def lines_of(report: JsonObject) -> Iterator[str]:
    """The findings as lines of text.

    Args:
        report: content of check.json.
    """
    for found in report["findings"]:
        yield f"{_MARKS[found['severity']]} {check_title(found['check'])}: {found['text']}"
        for row in found["rows"][:_SHOWN_LINES]:
            note = f": {row['note']}" if row["note"] else ""
            yield f"      {row['file']}:{row['line']} ({row['split']}){note}"
        if (more := found["n_rows"] - _SHOWN_LINES) > 0:
            yield f"      and {more:,} more rows"
        yield f"      {found['remedy']}"
    n = len(report["findings"])
    yield f"{n} findings" if n != 1 else "1 finding"


def _pass_on(listener: Listener, event: Event) -> None:
    if not isinstance(event, Warning):
        listener(event)


def _checked(task: Task, recipe: Recipe, data: PreparedData, run: str = "") -> CheckedData:
    return CheckedData(
        task, recipe, data.splits, data.label_schema, data.invalid_rows, seed=recipe.seed, run=run
    )


def _need_features(task: Task) -> list[str]:
    """The checks that need features, where the task has any."""
    names = CHECKS.names() if task.probe is not None else []
    return [name for name in names if CHECKS.get(name).needs_features]


def _left_out(task: Task, *, with_model: bool) -> dict[str, str]:
    """The checks that are not run, with the reason."""
    names = [name for name in CHECKS.names() if CHECKS.get(name).needs_features]
    if task.probe is None:
        return dict.fromkeys(names, f"it needs a linear probe, and `{task.name}` has none")
    return {} if with_model else dict.fromkeys(names, "it needs the model")


def _with_model(work: Work, data: PreparedData, checked: CheckedData) -> CheckedData:
    """What checks read, with what the model cuts, and its features where a check asks for them."""
    files = resolve_model(work.recipe.model)
    refuse_other_kinds(files, work.task)
    opened = open_model(work, files, data)
    encoded = encode(work, opened)
    checked.memo[PROBLEMS] = language_problems(work.task, files, data, opened.tokenizer)
    checked = replace(checked, truncation=read_json(work.run.data / "supervision.json"))
    if not _need_features(work.task):
        return checked
    return replace(checked, features=_features_of(work, opened, encoded).of_rows)


def _features_of(work: Work, opened: OpenedModel, encoded: EncodedData) -> FeaturesOf:
    """The features of a model that is opened for the checks alone."""
    device, asked = work.processes.accelerator.device, work.recipe.train.bf16
    opened.model.to(device)
    bf16 = bf16_is_faster(device.type) if asked == "auto" else asked
    return FeaturesOf(
        work, opened, encoded, lambda split: nullcontext(encoded.splits[split]), lambda split: bf16
    )


def check_texts(work: Work, data: PreparedData) -> list[Finding]:
    """The findings of the checks that need no model, before a training; reported, and nothing is written.

    Raises:
        CheckBlockedError: one of them blocks, and `data.check` is `block`.
    """
    if not _is_due(work):
        return []
    checked = _checked(work.task, work.recipe, data, str(work.run.path))
    return _report(work, run_checks(checked, wanted=lambda it: it.before_training and not it.reads_features))


def check_features(work: Work, plan: TrainingPlan, features: FeaturesOf, findings: Sequence[Finding]) -> None:
    """Runs the checks that need features, where the probe has them, and writes check.json and check.html.

    Args:
        work: what is to be done.
        plan: model and sequences.
        features: features of the probe.
        findings: findings of `check_texts`.

    Raises:
        CheckBlockedError: a finding blocks, and `data.check` is `block`.
    """
    if not _is_due(work):
        return
    checked = _checked(work.task, work.recipe, plan.data, str(work.run.path))
    found = list(findings)
    if wants_probe(work, plan):
        checked = replace(checked, features=features.of_rows)
    found += _report(work, run_checks(checked, wanted=lambda it: it.before_training and it.reads_features))
    report = CheckReport(work.recipe, plan.data.splits, worst_first(found))
    write_json(work.run.data / "check.json", report.to_json())
    write_atomically(work.run.data / "check.html", report.page(work.run.path.name))
    work.run.update_manifest(check=_sums(work))
    if found:
        work.events.note(f"{work.run.data / 'check.html'} has the rows of all {len(found)} findings")


def _sums(work: Work) -> JsonObject:
    """SHA-256 of the files that the check wrote; None for one that is not there."""
    paths = [work.run.data / name for name in ("check.json", "check.html")]
    return {path.name: sha256_of(path) if path.is_file() else None for path in paths}


def _is_due(work: Work) -> bool:
    """Whether the data are checked here: the first process does, once for each run."""
    is_done = work.resumes and work.run.manifest().get("check") == _sums(work)
    return work.recipe.data.check != "off" and work.processes.is_first and not is_done


def _report(work: Work, findings: Iterable[Finding]) -> list[Finding]:
    """Reports findings as warnings, the worst first.

    Raises:
        CheckBlockedError: one of them blocks, and `data.check` is `block`.
    """
    found = worst_first(findings)
    for finding in found:
        if finding.severity != "note":
            work.events.warn(f"{finding.check}: {finding.text}")
    blocked = blocking(found)
    if blocked and work.recipe.data.check == "block":
        raise CheckBlockedError(
            f"the check of the data found what blocks training: {'; '.join(it.text for it in blocked)}.",
            remedy="\n".join(dict.fromkeys(it.remedy for it in blocked)),
        )
    return found
