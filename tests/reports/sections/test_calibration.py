"""The section on scores: what it says for each kind of result, and that its numbers are those of metrics.json."""

import copy
import re

import pytest

from tunesmith.metrics import percent
from tunesmith.reports import write_report
from tunesmith.reports.sections import SECTIONS, Source
from tunesmith.run import write_json

SECTION = SECTIONS.get("calibration")


def described(ece, floor, *, score=0.9, right=0.8):
    measure = {"value": 0.5, "low": 0.4, "high": 0.6}
    bins = [
        {"n": 50, "score": score - 0.1, "value": right - 0.2, "low": 0.5, "high": 0.7},
        {"n": 50, "score": score, "value": right, "low": right - 0.05, "high": right + 0.05},
    ]
    return {
        "ece": {"value": ece, "low": 0.0, "high": ece + 0.02, "noise_floor": floor},
        "ece_plug_in": {"value": ece, "noise_floor": floor},
        "mean_score": score,
        "right": right,
        "bins": bins,
        "log_loss": measure,
        "brier": measure,
    }


def entry(method="temperature", **after):
    return {
        "method": method,
        "split": "test",
        "n": 100,
        "is_fitted_on_these_rows": False,
        "fitted": {"method": method, "temperature": 1.86, "reason": "nothing helps"},
        "before": described(0.108, 0.018),
        "after": described(**{"ece": 0.017, "floor": 0.027, **after}),
    }


def facts_of(run, found):
    return SECTION.facts(Source(run, run.manifest(), {**run.metrics, "calibration": found}))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            entry(),
            "by 1.7 points on average (before calibration, by 10.8 points), no more than chance explains",
        ),
        (entry(ece=0.06), "by 6.0 points on average (before calibration, by 10.8 points), more than chance"),
        (entry(ece=0.06), "mostly higher than the share that is right"),
        (entry(ece=0.06, score=0.7), "mostly lower than the share that is right"),
        (entry(ece=0.06, floor=0.15), "100 answers are too few to tell it from chance"),
        (entry("none"), "by 1.7 points on average, no more than chance"),
    ],
)
def test_the_sentence_for_the_summary(finished_run, found, said):
    (sentence,) = SECTION.sentences(facts_of(finished_run, found))
    assert said in sentence


def test_too_few_answers_say_nothing(finished_run):
    few = {"method": "none", "n": 0, "split": "test", "is_fitted_on_these_rows": False, "fitted": {}}
    assert SECTION.sentences(facts_of(finished_run, few)) == []
    assert SECTION.facts(Source(finished_run, finished_run.manifest(), {})) is None


@pytest.mark.parametrize("method", ["temperature", "none"])
def test_the_report_shows_numbers_of_metrics_json(finished_run, tmp_path, method):
    import shutil

    from tunesmith.run import Run

    run = Run(shutil.copytree(finished_run.path, tmp_path / "run"))
    found = copy.deepcopy(entry(method))
    found["is_fitted_on_these_rows"] = method == "temperature"
    write_json(run.metrics_file, {**run.metrics, "calibration": found})
    write_report(run)
    page = run.report_file.read_text(encoding="utf-8")
    section = re.search(r'<section id="calibration">.*?</section>', page, re.DOTALL).group(0)
    assert ("1.86" in section) == (method == "temperature")
    assert (percent(found["before"]["ece"]["value"]) in section) == (method == "temperature")
    assert percent(found["after"]["ece"]["noise_floor"]) in section
    assert ("somewhat too good" in section) == (method == "temperature")
    assert ("nothing helps" in section) == (method == "none")
    label = re.search(r'aria-label="([^"]+)"', section).group(1)
    assert "90.0 % score, 80.0 % right" in label


def test_the_summary_of_a_real_run_has_its_sentence(finished_run):
    page = finished_run.report_file.read_text(encoding="utf-8")
    assert 'id="calibration"' in page
    assert "differ from the share of right answers" in page.split("</nav>")[0]
