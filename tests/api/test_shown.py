import json

import pytest

from tunesmith.api.shown import Metrics

FOUND = {
    "task": "text-regression",
    "primary": {
        "name": "pearson",
        "split": "test",
        "value": 0.5,
        "low": 0.4,
        "high": 0.61,
        "n": 20,
        "confidence": 0.9,
    },
    "splits": {
        "test": {
            "pearson": {"value": 0.5, "low": 0.4, "high": 0.61},
            "f1": {"value": 0.5, "low": 0.0, "high": 1.0},
        }
    },
    "baselines": {"mean": {"pearson": 0.0}, "<b>": {"f1": 0.1}},
}


@pytest.fixture
def metrics():
    return Metrics(FOUND)


def test_it_is_the_mapping_of_the_file(metrics):
    assert metrics == FOUND
    assert json.loads(json.dumps(metrics)) == FOUND


def test_it_shows_itself_as_a_table(metrics):
    lines = repr(metrics).splitlines()
    assert lines[0].split("  ")[-1].strip() == "90 % interval"
    assert "0.500" in lines[1]
    assert "0.400 to 0.610" in lines[1]
    assert "50.0 %" in lines[2], "a share"
    assert lines[3].endswith("of baselines on test: always the mean 0.000")
    assert "<td>0.500</td>" in metrics._repr_html_()


def test_a_verdict_is_its_last_line():
    metrics = Metrics({**FOUND, "verdict": {"text": "better than <the mean>", "outcome": "better"}})
    assert repr(metrics).splitlines()[-1] == "better than <the mean>"
    assert "better than &lt;the mean&gt;" in metrics._repr_html_()
