"""What to do next: three steps, each with its evidence from the run.

A rule looks at the facts of a run and gives a step, or None where it does not apply. `RULES` is their order: first
what makes the scores wrong, then what would make the model better, then what always helps. The first three that
apply are the ones. A rule is a function; a new one is entered in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tunesmith.evaluation.seen import describe_seen
from tunesmith.metrics import METRICS, percent
from tunesmith.reports.run_facts import Facts

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

N_STEPS = 3
_WEAK_BY = 0.1
_FEWEST_CONFUSED, _CONFUSED_SHARE = 3, 0.1
_FEWEST_SUSPECTED = 3
_LOST_SHARE = 0.01
_WIDE = 0.05
_MOSTLY_ENDS = 0.95
_MUCH_REPEATED = 0.15


@dataclass(frozen=True)
class NextStep:
    """One thing to do.

    Args:
        action: what to do, as a sentence without a full stop.
        evidence: what in this run says so.
        setting: key of the recipe, or command, that does it; empty if there is none.
    """

    action: str
    evidence: str
    setting: str = ""


Rule = Callable[[Facts], NextStep | None]


def choose_next_steps(manifest: JsonObject, metrics: JsonObject, truncation: JsonObject) -> list[JsonObject]:
    """The three steps, the most urgent first; as `next_steps` in metrics.json."""
    facts = Facts(manifest, metrics, truncation)
    found = (step for rule in RULES if (step := rule(facts)) is not None)
    return [asdict(step) for _, step in zip(range(N_STEPS), found, strict=False)]


def no_test_rows(facts: Facts) -> NextStep | None:
    """The score is that of the rows that chose the best step."""
    if facts.primary["split"] == "test":
        return None
    return NextStep(
        "Score the model on rows that chose nothing",
        f"there are no test rows, and the {facts.primary['n']:,} validation rows chose the best step",
        "data.test=FILE",
    )


def trained_on_scored_rows(facts: Facts) -> NextStep | None:
    """Some of the scored rows were trained on."""
    said = describe_seen(facts.metrics)
    return NextStep("Take the training rows out of the scored ones", said) if said else None


def too_few_rows(facts: Facts) -> NextStep | None:
    """There are too few rows to judge anything."""
    verdict = facts.metrics.get("verdict", {})
    if verdict.get("outcome") != "too_few_rows":
        return None
    return NextStep(f"Add {facts.primary['split']} rows", verdict["text"])


def validation_and_test_differ(facts: Facts) -> NextStep | None:
    """Validation and test differ by more than chance."""
    gap = facts.metrics.get("validation_gap")
    return NextStep("Find out why validation and test differ", gap["text"]) if gap else None


def not_worth_it(facts: Facts) -> NextStep | None:
    """A baseline is as good, and cheaper."""
    verdict = facts.metrics.get("verdict", {})
    if verdict.get("outcome") not in ("not_shown", "worse"):
        return None
    is_probe = verdict["against"] == "probe"
    return NextStep(
        "Use the probe, which is trained in seconds"
        if is_probe
        else "Use the baseline, or add training rows",
        verdict["text"],
        "train.method=probe" if is_probe else "",
    )


def texts_were_cut(facts: Facts) -> NextStep | None:
    """Training texts are longer than `max_length`."""
    train = facts.truncation["train"]
    if train["rows_cut"] < _LOST_SHARE * train["rows"]:
        return None
    cut = (
        f"{train['rows_cut']:,} of {train['rows']:,} training texts were cut at {train['max_length']} tokens"
    )
    if facts.manifest.get("requested", {}).get("data", {}).get("max_length", "auto") == "auto":
        return NextStep("Choose a model that reads longer texts, or shorten the texts", cut)
    return NextStep("Read longer texts", cut, "data.max_length=auto")


def answers_were_lost(facts: Facts) -> NextStep | None:
    """Something of what should be learned is lost; tokens are the matter of `texts_were_cut`."""
    lost = {
        what: (gone, of)
        for what, (gone, of) in facts.truncation["train"]["lost"].items()
        if what != "tokens" and gone and gone >= _LOST_SHARE * of
    }
    if not lost:
        return None
    what, (gone, of) = max(lost.items(), key=lambda item: item[1][0] / item[1][1])
    return NextStep(f"Save what is lost: {what}", f"{gone:,} of {of:,} {what} of the training rows are lost")


def still_improving(facts: Facts) -> NextStep | None:
    """The last validation was the best."""
    values, train = facts.learning, facts.used["train"]
    if len(values) < 2 or values[-1][0] != facts.train["best_step"]:
        return None
    (before, earlier), (step, last) = values[-2:]
    more = (
        f"train.max_steps={2 * facts.train['steps']}"
        if train.get("max_steps")
        else f"train.num_train_epochs={2 * train['num_train_epochs']:g}"
    )
    named = METRICS.get(facts.best_metric).label
    return NextStep(
        "Train longer",
        f"validation {named} was still improving at the last step: {facts.learned(earlier)} at step {before}, "
        f"{facts.learned(last)} at step {step}",
        more,
    )


def stopped_improving_early(facts: Facts) -> NextStep | None:
    """The best validation was in the first half, and later ones are worse."""
    values, best = facts.learning, facts.train["best_step"]
    known = dict(values)
    if len(values) < 3 or best not in known or best > values[-1][0] / 2 or known[best] == values[-1][1]:
        return None
    return NextStep(
        "Stop earlier, or learn more slowly",
        f"the best validation was {facts.learned(known[best])} at step {best}, and the last one "
        f"{facts.learned(values[-1][1])} at step {values[-1][0]}",
        "" if facts.used["train"].get("early_stopping_patience") else "train.early_stopping_patience=2",
    )


def weak_label(facts: Facts) -> NextStep | None:
    """A label that is far below the others."""
    table = facts.metrics["details"].get("per_class")
    if table is None or "train" not in table:
        return None
    rows = [row for row in _rows_of(table, "labels", "f1", "train") if row[1] is not None]
    if len(rows) < 2:
        return None
    label, f1, n = min(rows, key=lambda row: (row[1], row[2]))
    if f1 > sum(row[1] for row in rows) / len(rows) - _WEAK_BY:
        return None
    what = table.get("counts", "rows")
    return NextStep(
        f"Add examples of `{label}`, and check those that are there",
        f"`{label}` has {n:,} training {what} and an F1 of {percent(f1)}",
    )


def suspected_labels(facts: Facts) -> NextStep | None:
    """True labels of scored rows that are probably wrong."""
    errors = facts.metrics.get("errors", {})
    suspected = errors.get("suspected")
    if not suspected or suspected["n"] < _FEWEST_SUSPECTED:
        return None
    return NextStep(
        "Check the true labels that are suspected to be wrong",
        f"for {suspected['n']:,} of {errors['of']:,} {facts.primary['split']} rows, the model and the nearest "
        "training rows agree on another label",
    )


def largest_fix(facts: Facts) -> NextStep | None:
    """What would take the most errors away, where the rules below and above do not say it."""
    errors = facts.metrics.get("errors", {})
    fixes = [fix for fix in errors.get("fixes", ()) if fix["kind"] in ("merge_labels", "more_rows")]
    if not fixes or fixes[0]["errors"] < max(_FEWEST_CONFUSED, _CONFUSED_SHARE * errors["wrong"]):
        return None
    fix = fixes[0]
    return NextStep(
        f"{fix['text'][:1].upper()}{fix['text'][1:]}",
        f"{fix['evidence']}: at most {fix['errors']:,} of {errors['wrong']:,} wrong rows would be right",
    )


def confused_labels(facts: Facts) -> NextStep | None:
    """Two labels that are often confused, where `largest_fix` does not say it."""
    table = facts.metrics["details"].get("confusion")
    if table is None or largest_fix(facts) is not None:
        return None
    labels, counts = table["labels"], table["counts"]
    pairs = [
        (n, sum(row), labels[i], labels[j])
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        if i != j and n >= max(_FEWEST_CONFUSED, _CONFUSED_SHARE * sum(row))
    ]
    if not pairs:
        return None
    n, of, true, given = max(pairs)
    return NextStep(
        f"Find a rule that tells `{true}` from `{given}`, and check their rows",
        f"{n:,} of {of:,} {facts.primary['split']} rows of `{true}` were answered `{given}`",
    )


_HOW_TO_MEND = {
    "boundary": "Check where entities begin and end in the data",
    "type": "Check which labels entities have in the data",
    "missed": "Add rows with entities like the missed ones",
    "spurious": "Look for entities that are not marked in the data",
}


def entity_errors(facts: Facts) -> NextStep | None:
    """The most frequent kind of wrong entity."""
    counts = facts.metrics["details"].get("entity_errors")
    if not counts or not sum(counts.values()):
        return None
    kind = max(counts, key=lambda name: counts[name])
    listed = ", ".join(f"{n:,} {name}" for name, n in counts.items())
    return NextStep(_HOW_TO_MEND[kind], f"errors of entities by kind: {listed}")


def weak_slice(facts: Facts) -> NextStep | None:
    """Rows of one value of a column are scored worse than all rows, beyond the interval."""
    sign = 1 if facts.metric.greater_is_better else -1
    edge = "high" if sign > 0 else "low"
    weak = [
        (sign * score["value"], column, name, score)
        for column, slices in facts.metrics["slices"].items()
        for name, score in slices["values"].items()
        if score[edge] is not None and sign * score[edge] < sign * facts.primary["value"]
    ]
    if not weak:
        return _found_slice(facts)
    _, column, name, score = min(weak, key=lambda found: found[:3])
    return NextStep(
        f"Add training rows whose `{column}` is `{name}`",
        f"{facts.metric.label} is {facts.metric.shown(score['value'])} on the {score['n']:,} rows of "
        f"`{name}`, and {facts.metric.shown(facts.primary['value'])} on all",
    )


def _found_slice(facts: Facts) -> NextStep | None:
    """The weakest slice that was found without being named."""
    found = facts.metrics.get("weak_slices", {})
    if not found.get("found"):
        return None
    worst, metric = found["found"][0], METRICS.get(found["metric"])
    return NextStep(
        f"Read the rows {worst['name']}, and add training rows like them",
        f"{metric.label} is {metric.shown(worst['value'])} on these {worst['n']:,} rows, and "
        f"{metric.shown(worst['rest'])} on the others",
    )


def wide_interval(facts: Facts) -> NextStep | None:
    """The score is known only roughly."""
    primary = facts.primary
    if not facts.metric.is_share or primary["high"] - primary["low"] < 2 * _WIDE:
        return None
    return NextStep(
        f"Add {primary['split']} rows, to know the score better",
        f"with {primary['n']:,} rows, {facts.metric.label} may be anything from "
        f"{facts.metric.shown(primary['low'])} to {facts.metric.shown(primary['high'])}",
    )


def read_the_errors(facts: Facts) -> NextStep | None:
    """Wrong answers show weaknesses of the model, or of the data."""
    n = facts.metrics.get("wrong_rows")
    if not n:
        return None
    split = facts.primary["split"]
    return NextStep(
        f"Read the wrong answers in predictions/{split}.jsonl",
        f"{n:,} of {facts.primary['n']:,} {split} rows are answered wrong; some of their labels may be wrong",
    )


def texts_do_not_end(facts: Facts) -> NextStep | None:
    """Many texts stop at the largest number of tokens, perhaps because they repeat themselves."""
    writing = facts.metrics.get("writing")
    if writing is None or "length_ratio" not in writing["model"]:  # a continuation need not end
        return None
    ends = writing["model"]["ends_by_itself"]["value"]
    if ends >= _MOSTLY_ENDS:
        return None
    most = facts.used["generate"]["max_new_tokens"]
    repeated = writing["model"].get("repetition", {}).get("value", 0.0)
    if repeated > _MUCH_REPEATED:
        return NextStep(
            "Let texts repeat themselves less, so that they end",
            f"{percent(1 - ends)} of {writing['n']:,} texts stop at {most:,} tokens, and {percent(repeated)} of "
            "all words were said before",
            "generate.repetition_penalty=1.1",
        )
    return NextStep(
        "Allow longer texts, or train longer, so that texts end by themselves",
        f"{percent(1 - ends)} of {writing['n']:,} texts stop at {most:,} tokens",
        f"generate.max_new_tokens={2 * most}",
    )


def forgot(facts: Facts) -> NextStep | None:
    """General text became less likely."""
    forgetting = facts.metrics.get("forgetting")
    if forgetting is None or forgetting["outcome"] != "worse":
        return None
    is_adapter = facts.used["train"]["method"] == "lora"
    return NextStep(
        "Train more gently, to keep what the model knew"
        if is_adapter
        else "Train an adapter, which keeps more",
        f"general text needs {percent(forgetting['increase']['value'])} more bits than before",
        "train.num_train_epochs=1" if is_adapter else "train.method=lora",
    )


def another_seed(facts: Facts) -> NextStep:
    """One training says nothing about the luck in it."""
    seed = facts.used["seed"]
    return NextStep(
        "Train once more with another seed, to see how much is luck",
        f"every number here is from one training, with seed {seed}",
        f"seed={seed + 1}",
    )


def another_model(facts: Facts) -> NextStep:
    """A larger model is often better."""
    model = facts.manifest["model"]
    return NextStep(
        "Try a larger model",
        f"`{facts.used['model']}` has {model['parameters']:,} parameters",
        "model=NAME",
    )


def score_again_later(facts: Facts) -> NextStep:
    """Scores are valid for texts like the scored ones."""
    return NextStep(
        "Score the model again on rows of your own, later",
        f"the scores are those of {facts.primary['n']:,} rows like the training rows",
        "tunesmith evaluate RUN --data FILE",
    )


RULES: Sequence[Rule] = (
    trained_on_scored_rows,
    no_test_rows,
    too_few_rows,
    validation_and_test_differ,
    not_worth_it,
    answers_were_lost,
    texts_were_cut,
    texts_do_not_end,
    forgot,
    still_improving,
    stopped_improving_early,
    suspected_labels,
    largest_fix,
    weak_label,
    confused_labels,
    entity_errors,
    weak_slice,
    wide_interval,
    read_the_errors,
    another_seed,
    another_model,
    score_again_later,
)


def _rows_of(table: JsonObject, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name] for name in names), strict=True))
