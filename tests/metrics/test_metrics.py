import pytest

from tunesmith.errors import UnknownNameError
from tunesmith.metrics import METRICS, SHARE, Metric, _MetricRegistry, percent, regression


def test_a_metric_says_direction_unit_and_label():
    accuracy = METRICS.get("accuracy")
    assert (accuracy.direction, accuracy.unit, accuracy.label) == ("maximize", SHARE, "accuracy")
    assert not METRICS.get("bits_per_byte").greater_is_better
    assert METRICS.get("mae") in regression.metrics


def test_every_metric_says_what_it_means_in_one_line():
    for metric in map(METRICS.get, METRICS.names()):
        assert 20 < len(metric.meaning) < 90, metric.name
        assert not metric.meaning.endswith("."), metric.name


def test_shares_are_read_as_percentages_and_the_rest_as_numbers():
    assert METRICS.get("f1").shown(0.9344) == percent(0.9344) == "93.4 %"
    assert METRICS.get("loss").shown(1.23456) == "1.235"


def test_an_unknown_name_teaches():
    with pytest.raises(UnknownNameError, match=r"not a metric.*\n.*Did you mean `accuracy`"):
        METRICS.get("acuracy")


def test_two_families_must_declare_a_shared_name_alike(monkeypatch):
    other = Metric("f1_macro", "minimize", SHARE, "F1")
    monkeypatch.setattr(regression, "metrics", (other,))
    with pytest.raises(ValueError, match="`f1_macro` is declared otherwise"):
        _MetricRegistry("tunesmith.metrics", "metric", Metric).names()
