"""The lines and the page of `monitor`."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tunesmith.encoded import Ragged
from tunesmith.monitoring.observed import Observed
from tunesmith.monitoring.reference import Reference
from tunesmith.monitoring.statistics.estimated_accuracy import CAVEAT
from tunesmith.monitoring.texts import Vocabulary
from tunesmith.monitoring.watching import watch
from tunesmith.reports import monitor_lines, monitor_page


def rows(n, rng, shift=0.0):
    answers = (rng.random(n) < 0.4 + shift).astype(int)
    numbers = {"score": rng.beta(8, 2, n), "tokens": rng.poisson(20 + 40 * shift, n).astype(float)}
    texts = [f"<b>a & text</b> {i}" for i in range(n)]
    return Observed(
        n, numbers, rng.standard_normal((n, 4)) + 3 * shift, answers=Ragged.of([[a] for a in answers]),
        texts=texts, names=[f"new.csv:{i}" for i in range(n)],
    )  # fmt: skip


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    held_out = rows(200, rng)
    held_out = replace(held_out, numbers={**held_out.numbers, "correct": np.ones(200)})
    reference = Reference(held_out, ("a", "b"), Vocabulary(), "text-classification", "test")
    result = watch(reference, [rows(100, rng), rows(100, rng, 0.5), rows(100, rng, 0.5)])
    return {
        "run": "runs/reviews", "task": "text-classification", "window": 100, "rows": 310, "waiting": 10,
        "reference": {"rows": 200, "split": "test"}, **result, "notes": ["10 rows wait until there are 100"],
    }  # fmt: skip


def test_lines_begin_with_the_verdict_and_end_with_the_promise(found):
    lines = monitor_lines(found)
    assert re.fullmatch(r"\d+ alarms in 3 windows of 100 rows, in window 2, 3", lines[0])
    assert lines[1].startswith("ALARM  window 2, ")
    assert any(line.startswith("not measured, Real accuracy:") for line in lines)
    assert lines[-1].startswith(
        "without drift, 30 windows have a false alarm with a probability of at most 5 %"
    )


def test_an_estimate_without_labels_comes_with_its_caveat(found):
    caveat = f"Estimated accuracy: the texts have drifted, and {CAVEAT}"
    assert caveat in monitor_lines(found)
    assert caveat in monitor_page(found)
    quiet = {**found, "windows": found["windows"][:1], "alarms": []}
    assert f"Estimated accuracy: {CAVEAT}" in monitor_lines(quiet)


def test_the_page_is_whole_and_shows_every_statistic(found):
    page = monitor_page(found)
    assert page.count("<svg") == len([n for n in found["titles"] if n in found["windows"][0]["statistics"]])
    assert "&lt;b&gt;a &amp; text" in page
    assert "<b>a & text" not in page
    assert "window 2 to 3, 2 alarms" in page
    assert not re.search(r"(src|href)=[\"']?https?:", page)
    assert "nan" not in page.lower().replace("finance", "")


def test_a_page_without_a_window_says_so(found):
    empty = {**found, "windows": [], "alarms": [], "ok": True, "not_measured": {}, "conclusions": {}}
    assert "nothing is measured" in monitor_lines(empty)[0]
    assert "Nothing is measured" in monitor_page(empty)
