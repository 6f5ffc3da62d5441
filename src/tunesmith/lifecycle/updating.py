"""`update`: new rows → challengers → a decision, with a record of everything on the way.

new rows ─gather→ known, leaking, learned, held out ─write_merged→ files ─train_challengers→ runs
         ─choose→ the challenger ─judge→ Decision ─→ promoted, proposed or refused
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.checks import CheckedData, Finding
from tunesmith.checks._running import as_json, blocking, run_checks, worst_first
from tunesmith.data.examples import fingerprint
from tunesmith.errors import CheckBlockedError, RecipeError, UserError
from tunesmith.evaluation.promotion import Rule
from tunesmith.events import Events, Listener
from tunesmith.lifecycle import record
from tunesmith.lifecycle.challenging import MergedFiles, Start, starts_of, train_challengers, write_merged
from tunesmith.lifecycle.feedback import count_feedback, write_feedback
from tunesmith.lifecycle.gathering import NewRows, OldRows, gather, read_old_rows
from tunesmith.lifecycle.judging import Judged, choose, judge
from tunesmith.lifecycle.merging import Merge
from tunesmith.masking import masked_argument
from tunesmith.models.task_of_model import task_of_model
from tunesmith.reports.update import update_page
from tunesmith.run import Run, write_atomically
from tunesmith.run.champion import Registry, is_registry
from tunesmith.run.files import remove_unfinished
from tunesmith.run.locking import locked
from tunesmith.tasks import TASKS, LabelSchema
from tunesmith.training.loop import never

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

PROMOTED, PROPOSED, REFUSED = "promoted", "proposed", "refused"
NOTHING_NEW, FAILED = "nothing_new", "failed"
BY = "tunesmith update"


@dataclass(frozen=True)
class Asked:
    """What is asked of an update.

    Args:
        run: folder of the champion, or of a registry.
        data: files, folders or Hub names of new rows.
        columns: the file's column for each of the task's; those of the champion when empty.
        log: folder or URL of a prediction log, whose rows with feedback are new rows; empty for none.
        registry: folder of a registry, in which a better challenger is promoted; None only proposes it.
        start: models that challengers begin from: `champion`, `base` or `both`.
        merge: which old rows are learned again.
        holdout: share of the new rows that both models are compared on.
        rule: what is asked of a challenger.
        slices: columns by whose values nothing may get worse, besides those of the champion's recipe.
        output_dir: folder of the update; None chooses one beside the champion.
        trigger: what made the update begin, for its record.
    """

    run: str | os.PathLike[str]
    data: Sequence[str] = ()
    columns: Mapping[str, str | list[str]] = field(default_factory=dict)
    log: str = ""
    registry: Path | None = None
    start: str = "both"
    merge: Merge = field(default_factory=Merge)
    holdout: float = 0.3
    rule: Rule = field(default_factory=Rule)
    slices: Sequence[str] = ()
    output_dir: Path | None = None
    trigger: str = "asked for"

    def __post_init__(self) -> None:
        """Refuses a request without new rows, and shares that are none."""
        if not self.data and not self.log:
            raise RecipeError(
                "an update needs new rows.",
                remedy="Give a file with `--data`, or a prediction log with feedback with `--log`.",
            )
        for name, value in (("holdout", self.holdout), ("level", self.rule.level)):
            if not 0 < value < 1:
                raise RecipeError(
                    f"`--{name}` must be above 0 and below 1, got {value:g}.",
                    remedy="0.3 and 0.05 are usual.",
                )
        if not 0 < self.rule.risk <= 0.5:
            raise RecipeError(
                f"`--risk` must be above 0 and at most 0.5, got {self.rule.risk:g}.", remedy="0.05 is usual."
            )
        if self.rule.margin < 0:
            raise RecipeError(
                f"`--margin` must not be below 0, got {self.rule.margin:g}.", remedy="0.02 is usual."
            )

    def champion(self, events: Events) -> Run:
        """The run that is updated; the champion of the registry, where there is one.

        Raises:
            RunError: there is no finished run.
        """
        home = self.home
        if home is None or not is_registry(home):
            return Run.open(self.run)
        champion = Run.open(Registry(home).champion())
        if home != Path(self.run) and champion.path.resolve() != Path(self.run).resolve():
            events.note(f"{champion.path} is the champion of {home}, and is updated in place of {self.run}")
        return champion

    @property
    def home(self) -> Path | None:
        """The registry: the one that is named, or `run` where that is one."""
        return Path(self.run) if self.registry is None and is_registry(self.run) else self.registry

    def request(self, champion: Run) -> JsonObject:
        """What the outcome depends on, as plain JSON."""
        return {
            "champion": str(champion.path.resolve()),
            "run_id": champion.run_id,
            "data": [masked_argument(source) for source in self.data],
            "fingerprint": fingerprint(self.data) if self.data else "",
            "columns": dict(self.columns),
            "log": masked_argument(self.log),
            "feedback": count_feedback(self.log) if self.log else 0,
            "from": self.start,
            "merge": self.merge.to_json(),
            "holdout": self.holdout,
            "rule": self.rule.to_json(),
            "slices": list(self.slices),
        }


def update(
    asked: Asked, *, listeners: Iterable[Listener] = (), should_stop: Callable[[], bool] = never
) -> JsonObject:
    """Trains a challenger on new rows, compares it with the champion, and promotes it only if it is better.

    Args:
        asked: what is asked for.
        listeners: called with every event (`tunesmith.events`).
        should_stop: asked after every step of a training; when it is true, everything is saved and the update ends
            with InterruptedRunError. The same request goes on.

    Returns:
        The content of `update.json`, with `folder`.

    Raises:
        UserError: the run, the registry or the rows cannot be used.
        CheckBlockedError: the new rows must be corrected first, and the champion's recipe says so.
        InterruptedRunError: a signal or `should_stop` stopped a training.
    """
    events, began = Events(listeners), time.perf_counter()
    champion = asked.champion(events)
    starts = starts_of(asked.start, champion)
    request = asked.request(champion)
    folder = record.folder_for(champion, asked.output_dir, request)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        remove_unfinished(folder, (record.RECORD, record.PAGE))
        record.begin(folder, request)
        _enter(asked, champion)
        work = _Work(asked, champion, starts, folder, events, tuple(listeners), should_stop)
        with _failure_recorded(folder):
            found = work.run()
        whole = record.finish(folder, {**found, "seconds": round(time.perf_counter() - began, 1)})
        if whole["decision"] == PROMOTED:
            _promote(asked, whole)
        write_atomically(folder / record.PAGE, update_page(whole))
    return {**whole, "folder": str(folder)}


@contextmanager
def _failure_recorded(folder: Path) -> Iterator[None]:
    """Writes into the record why rows could not be used: the same request would fail again."""
    try:
        yield
    except (UserError, CheckBlockedError) as error:
        record.finish(folder, {"decision": FAILED, "reasons": [str(error)]})
        raise


@dataclass(frozen=True)
class _Work:
    """An update in progress."""

    asked: Asked
    champion: Run
    starts: Sequence[Start]
    folder: Path
    events: Events
    listeners: Sequence[Listener]
    should_stop: Callable[[], bool]

    def run(self) -> JsonObject:
        """What is found and decided."""
        self.events.stage("read", "Reading the rows")
        task = task_of_model(TASKS.get(self.champion.recipe().task), self.champion.model)
        old = read_old_rows(self.champion, task)
        new = self._gather(old)
        said: JsonObject = {
            "task": task.name,
            "trigger": self.asked.trigger,
            "champion": str(self.champion.path.resolve()),
            "new_rows": dict(new.counts),
            "new_labels": dict(new.new_labels),
            "notices": list(new.notices),
        }
        if not len(new.train) or not len(new.held):
            why = "there are no new rows to learn from and to compare on"
            return {**said, "decision": NOTHING_NEW, "reasons": [f"{why}: {_counted(new.counts)}"]}
        said["findings"] = self._check(old, new)
        files = write_merged(self.folder / "data", old, new, self.asked.merge)
        said["merge"] = {**self.asked.merge.to_json(), "rows": files.rows}
        self.events.note(
            f"{len(new.train):,} new rows are learned, {len(new.held):,} are held out to compare on"
        )
        return {**said, **self._compete(files)}

    def _gather(self, old: OldRows) -> NewRows:
        asked, data = self.asked, self.folder / "data"
        feedback = None
        if asked.log:
            views = self.champion.read_as()
            feedback = write_feedback(asked.log, old.task, views, data, self.events)
        return gather(
            self.champion, old, asked.data, asked.columns, feedback, data, asked.holdout, self.events
        )

    def _check(self, old: OldRows, new: NewRows) -> list[JsonObject]:
        """The findings of the checks of texts in the new rows, beside those that the champion is scored on."""
        self.events.stage("check", "Checking the new rows")
        splits = {"train": new.examples, **{name: it for name, it in old.splits.items() if name != "train"}}
        schema = _schema_of_all(old, new)
        checked = CheckedData(old.task, old.recipe, splits, schema, seed=old.recipe.seed)
        wanted = run_checks(checked, wanted=lambda it: it.before_training and not it.reads_features)
        found = [it for it in worst_first(wanted) if it.check != "class_balance" or not new.new_labels]
        for finding in found:
            if finding.severity != "note":
                self.events.warn(f"{finding.check}: {finding.text}")
        _refuse_blocked(old, [it for it in found if it.check != "leakage"])
        return [as_json(finding, splits) for finding in found]

    def _compete(self, files: MergedFiles) -> JsonObject:
        """The challengers, the chosen one, and what the rule says of it."""
        runs = train_challengers(
            self.champion, self.starts, files, self.folder, listeners=self.listeners,
            should_stop=self.should_stop,
        )  # fmt: skip
        self.events.stage("evaluate", "Comparing with the champion")
        scores = choose(runs, files, self.events)
        best = next(iter(scores))
        judged = judge(self.champion, runs[best], files, self.asked.rule, self.asked.slices, self.events)
        decision = PROMOTED if self.asked.home is not None else PROPOSED
        return {
            "decision": decision if judged.decision.promote else REFUSED,
            **judged.decision.to_json(),
            "challenger": str(runs[best].path.resolve()),
            "challengers": [_challenger(start, runs[start], score) for start, score in scores.items()],
            "left_out": judged.left_out,
            "disagreements": _disagreements(judged),
        }


def _schema_of_all(old: OldRows, new: NewRows) -> LabelSchema:
    """What the task learns from old and new rows."""
    train, more = old.splits["train"].columns, new.examples.columns
    columns = {name: [*train[name], *more[name]] for name in train if name in more}
    return {**old.label_schema, **old.task.learn_label_schema(columns)}


def _challenger(start: Start, run: Run, score: float | None) -> JsonObject:
    return {
        "from": start,
        "run": str(run.path.resolve()),
        "model": run.recipe().model,
        "validation": score,
        "seconds": run.metrics.get("train", {}).get("seconds"),
        "findings": sum(run_finding["severity"] != "note" for run_finding in _findings(run)),
    }


def _findings(run: Run) -> list[JsonObject]:
    """What the checks of a challenger's training found."""
    from tunesmith.run import read_json

    file = run.data / "check.json"
    return list(read_json(file)["findings"]) if file.is_file() else []


def _refuse_blocked(old: OldRows, findings: Sequence[Finding]) -> None:
    """Raises CheckBlockedError for what blocks, where the champion's recipe says to stop."""
    blocked = blocking(findings)
    if blocked and old.recipe.data.check == "block":
        raise CheckBlockedError(
            f"the check of the new rows found what blocks training: {'; '.join(it.text for it in blocked)}.",
            remedy="\n".join(dict.fromkeys(it.remedy for it in blocked)),
        )


_MOST_SHOWN = 20


def _disagreements(judged: Judged) -> list[JsonObject]:
    """Rows that one of both has right and the other wrong, new rows first; without judgement of rows, none."""
    one, other = judged.champion, judged.challenger
    rows = [
        number
        for number, (first, second) in enumerate(zip(one.correct, other.correct, strict=False))
        if first is not None and first != second
    ]
    shown = sorted(rows, key=lambda row: (not judged.is_new[row], row))[:_MOST_SHOWN]
    wanted = set(shown)
    lines = [
        {number: line for number, line in enumerate(scored.lines()) if number in wanted}
        for scored in (one, other)
    ]
    return [
        {"is_new": bool(judged.is_new[row]), "champion": lines[0][row], "challenger": lines[1][row]}
        for row in shown
    ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items() if n) or "none"


def _enter(asked: Asked, champion: Run) -> None:
    """Makes the run that is updated first the champion of an empty registry."""
    if asked.home is not None and not is_registry(asked.home):
        Registry(asked.home).promote(champion.path, by=BY, reason="the run that was updated first")


def _promote(asked: Asked, found: JsonObject) -> None:
    """Promotes the challenger."""
    assert asked.home is not None
    evidence = {name: found[name] for name in ("metric", "rule", "tests", "new_rows", "reasons")}
    why = "; ".join(found["reasons"])
    Registry(asked.home).promote(found["challenger"], by=BY, reason=why, evidence=evidence)
