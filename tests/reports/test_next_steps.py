"""Each rule with a run that it is for, and the same run without what it looks for."""

import copy

import pytest

from tunesmith.reports import next_steps as rules
from tunesmith.reports.next_steps import RULES, choose_next_steps
from tunesmith.reports.run_facts import Facts

MANIFEST = {
    "used": {
        "model": "tiny",
        "seed": 42,
        "data": {"max_length": 64},
        "train": {
            "max_steps": None,
            "num_train_epochs": 3,
            "early_stopping_patience": None,
            "method": "full",
        },
    },
    "requested": {"data": {"max_length": 64}},
    "model": {"parameters": 22_000_000},
    "label_schema": {"labels": ["a", "b"]},
}
SCORE = {"value": 0.8, "low": 0.78, "high": 0.82}
METRICS = {
    "task": "text-classification",
    "primary": {"name": "accuracy", "split": "test", "n": 900, **SCORE},
    "seen_in_training": {"rows": 0, "exact": 0, "of": 900, "with": {}},
    "splits": {"test": {"accuracy": SCORE}},
    "slices": {},
    "details": {},
    "wrong_rows": 0,
    "verdict": {"outcome": "better", "text": "+12.0 points over the probe", "against": "probe"},
    "train": {
        "steps": 30,
        "best_step": 20,
        "history": [{"step": s, "accuracy": v} for s, v in ((10, 0.7), (20, 0.8), (30, 0.8))],
    },
}
TRAIN = {"rows": 1000, "rows_cut": 0, "rows_windowed": 0, "rows_without": 0, "max_length": 64, "lost": {}}


def facts(**changed):
    """Facts in which no rule applies but those that always do; `changed` by dotted name."""
    files = copy.deepcopy({"manifest": MANIFEST, "metrics": METRICS, "truncation": {"train": TRAIN}})
    for name, value in changed.items():
        *path, last = name.split("__")
        part = files
        for key in path:
            part = part[key]
        part[last] = value
    return Facts(**files)


def history(*values):
    return [{"step": 10 * i, "accuracy": value} for i, value in enumerate(values, 1)]


PER_CLASS = {
    "labels": ["a", "b", "c"],
    "f1": [0.9, 0.31, None],
    "support": [10, 9, 0],
    "train": [90, 9, 1],
}
CONFUSION = {"labels": ["a", "b"], "counts": [[28, 12], [1, 40]]}
SLICES = {
    "shop": {
        "values": {
            "north": {"value": 0.6, "low": 0.5, "high": 0.7, "n": 80},
            "south": {"value": 0.78, "low": 0.7, "high": 0.85, "n": 80},
        }
    }
}
ERRORS = {
    "wrong": 30,
    "of": 900,
    "suspected": None,
    "fixes": [
        {"kind": "suspected_labels", "text": "check", "errors": 9, "evidence": "x"},
        {
            "kind": "merge_labels",
            "text": "make one label of `a` and `b`",
            "errors": 8,
            "evidence": "8 rows are confused",
        },
    ],
}
WEAK = {
    "metric": "accuracy",
    "found": [{"name": "with the word `refund`", "value": 0.6, "rest": 0.9, "n": 80}],
}
SHARE = {"value": 0.6, "low": 0.5, "high": 0.7}
REPEATS = {"n": 100, "model": {"ends_by_itself": SHARE, "length_ratio": SHARE, "repetition": {"value": 0.3}}}
WRITING = {"n": 100, "model": {"ends_by_itself": SHARE, "length_ratio": SHARE}}
FORGETTING = {"outcome": "worse", "increase": {"value": 0.04, "low": 0.03, "high": 0.05}}
CASES = [
    ("texts_do_not_end", {"metrics__writing": WRITING, "manifest__used__generate": {"max_new_tokens": 64}},
     "40.0 % of 100 texts stop at 64 tokens", "generate.max_new_tokens=128"),
    ("texts_do_not_end", {"metrics__writing": REPEATS, "manifest__used__generate": {"max_new_tokens": 64}},
     "30.0 % of all words were said before", "generate.repetition_penalty=1.1"),
    ("forgot", {"metrics__forgetting": FORGETTING}, "4.0 % more bits", "train.method=lora"),
    ("forgot", {"metrics__forgetting": FORGETTING, "manifest__used__train__method": "lora"}, "4.0 % more bits",
     "train.num_train_epochs=1"),
    ("trained_on_scored_rows", {"metrics__seen_in_training": {"rows": 15, "of": 900,
      "exact": 15, "with": {"accuracy": SCORE}}}, "15 of 900 test rows are also in training", ""),
    ("no_test_rows", {"metrics__primary__split": "validation"}, "the 900 validation rows chose", "data.test=FILE"),
    ("too_few_rows", {"metrics__verdict": {"outcome": "too_few_rows", "text": "12 rows are too few"}},
     "12 rows are too few", ""),
    ("validation_and_test_differ", {"metrics__validation_gap": {"text": "accuracy is 90 % and 80 %"}},
     "90 % and 80 %", ""),
    ("not_worth_it", {"metrics__verdict": {"outcome": "not_shown", "text": "+0.1 points", "against": "probe"}},
     "+0.1 points", "train.method=probe"),
    ("not_worth_it", {"metrics__verdict": {"outcome": "worse", "text": "-3 points", "against": "majority"}},
     "-3 points", ""),
    ("answers_were_lost", {"truncation__train__lost": {"answers": [30, 1000], "tokens": [200, 1000]}},
     "30 of 1,000 answers of the training rows are lost", ""),
    ("texts_were_cut", {"truncation__train__rows_cut": 312}, "312 of 1,000 training texts were cut at 64 tokens",
     "data.max_length=auto"),
    ("texts_were_cut", {"truncation__train__rows_cut": 312, "manifest__requested": {"data": {}}},
     "312 of 1,000 training texts", ""),
    ("still_improving", {"metrics__train__best_step": 30, "metrics__train__history": history(0.7, 0.78, 0.81)},
     "still improving at the last step: 78.0 % at step 20, 81.0 % at step 30", "train.num_train_epochs=6"),
    ("still_improving", {"metrics__train__best_step": 30, "metrics__train__history": history(0.7, 0.78, 0.81),
      "manifest__used__train__max_steps": 30}, "81.0 %", "train.max_steps=60"),
    ("stopped_improving_early", {"metrics__train__best_step": 10,
      "metrics__train__history": history(0.9, 0.8, 0.7)}, "90.0 % at step 10, and the last one 70.0 % at step 30",
     "train.early_stopping_patience=2"),
    ("weak_label", {"metrics__details__per_class": PER_CLASS}, "`b` has 9 training rows and an F1 of 31.0 %", ""),
    ("confused_labels", {"metrics__details__confusion": CONFUSION}, "12 of 40 test rows of `a` were answered `b`",
     ""),
    ("entity_errors", {"metrics__details__entity_errors": {"boundary": 7, "type": 1, "missed": 2, "spurious": 0}},
     "7 boundary, 1 type, 2 missed, 0 spurious", ""),
    ("weak_slice", {"metrics__slices": SLICES}, "60.0 % on the 80 rows of `north`, and 80.0 % on all", ""),
    ("weak_slice", {"metrics__weak_slices": WEAK}, "60.0 % on these 80 rows, and 90.0 % on the others", ""),
    ("suspected_labels", {"metrics__errors": {**ERRORS, "suspected": {"n": 7}}}, "for 7 of 900 test rows", ""),
    ("largest_fix", {"metrics__errors": ERRORS}, "8 rows are confused: at most 8 of 30 wrong rows", ""),
    ("wide_interval", {"metrics__primary__low": 0.7, "metrics__primary__high": 0.87}, "from 70.0 % to 87.0 %", ""),
    ("read_the_errors", {"metrics__wrong_rows": 180}, "180 of 900 test rows are answered wrong", ""),
]  # fmt: skip
ALWAYS = ["another_seed", "another_model", "score_again_later"]


@pytest.mark.parametrize(("name", "changed", "evidence", "setting"), CASES)
def test_a_rule_applies_where_it_should_and_nowhere_else(name, changed, evidence, setting):
    rule = getattr(rules, name)
    assert rule(facts()) is None
    step = rule(facts(**changed))
    assert evidence in step.evidence
    assert step.setting == setting
    assert step.action[0].isupper()
    assert not step.action.endswith(".")


def test_every_rule_has_a_case():
    named = {rule.__name__ for rule in RULES}
    assert named == {name for name, *_ in CASES} | set(ALWAYS)


def test_there_are_three_steps_even_when_all_is_well():
    calm = facts()
    steps = choose_next_steps(calm.manifest, calm.metrics, calm.truncation)
    assert [step["setting"] for step in steps] == [
        "seed=43",
        "model=NAME",
        "tunesmith evaluate RUN --data FILE",
    ]
    assert "22,000,000 parameters" in steps[1]["evidence"]


def test_what_makes_the_scores_wrong_comes_first():
    bad = facts(metrics__wrong_rows=3, metrics__primary__split="validation", truncation__train__rows_cut=400)
    steps = choose_next_steps(bad.manifest, bad.metrics, bad.truncation)
    assert [step["setting"] for step in steps] == ["data.test=FILE", "data.max_length=auto", ""]


def test_a_metric_without_a_value_at_every_validation_is_no_problem():
    assert rules.still_improving(facts(metrics__train__history=[])) is None
    assert rules.stopped_improving_early(facts(metrics__train__history=[{"step": 1, "loss": 2.0}])) is None


def test_labels_that_are_confused_are_named_once():
    both = facts(metrics__errors=ERRORS, metrics__details__confusion=CONFUSION)
    assert rules.confused_labels(both) is None
    few = {**ERRORS, "fixes": [{**ERRORS["fixes"][1], "errors": 2}]}
    assert rules.largest_fix(facts(metrics__errors=few)) is None
