import re

import pytest

from tunesmith.metrics import METRICS
from tunesmith.reports.charts import learning_curves, scatter, smoothed

EVENTS = [{"kind": "step", "step": i, "loss": 1 / i} for i in range(1, 9)] + [
    {"kind": "validation", "step": 4, "accuracy": 0.8, "loss": 0.5},
    {"kind": "validation", "step": 8, "accuracy": 0.9, "loss": 0.4},
]


def test_without_steps_there_is_no_chart():
    assert learning_curves([], METRICS.get("accuracy"), 0) == []
    assert len(learning_curves(EVENTS[:8], METRICS.get("accuracy"), 0)) == 1


def test_curves_say_what_was_saved_in_the_unit_of_the_page():
    charts = learning_curves(EVENTS, METRICS.get("accuracy"), 8)
    again = learning_curves(EVENTS, METRICS.get("accuracy"), 8)
    assert [chart.svg for chart in charts] == [chart.svg for chart in again]
    assert charts[1].title == "Validation accuracy; saved: 90.0 %"
    assert re.search(r">8\d(\.\d)? %<", charts[1].svg), "the axis is in percent, too"
    _, loss = learning_curves(EVENTS, METRICS.get("loss"), 8)
    assert loss.title == "Validation loss; lower is better; saved: 0.400"


def test_a_chart_has_a_sentence_and_the_colours_of_the_page():
    for chart in (*learning_curves(EVENTS, METRICS.get("accuracy"), 8), scatter([1.0, 2.0], [1.5, 2.5])):
        assert re.match(r'<svg role="img" aria-label="[^"]{20,}"', chart.svg)
        assert "var(--ink)" in chart.svg
        assert not re.findall(r"(?:fill|stroke): #(?!000000|ffffff)\w{6}", chart.svg)


def test_all_labels_lie_within_the_figure():
    curves = learning_curves(EVENTS, METRICS.get("accuracy"), 8)
    for chart in (*curves, scatter([1.0, 2e6], [1.5, 2.5e6])):
        outside = chart.figure.get_tightbbox()
        assert chart.svg
        box, size = chart.figure.get_tightbbox(), chart.figure.get_size_inches()
        assert (outside.extents != box.extents).any(), "else this shows nothing"
        assert (box.min > 0).all()
        assert (box.max < size).all()


def test_a_chart_is_drawn_once_and_only_where_it_is_shown(monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    draw = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda *given, **named: drawn.append(1) or draw(*given, **named))
    chart = scatter([1.0, 2.0], [1.5, 2.5])
    assert not drawn
    assert chart.svg is chart.svg
    assert len(drawn) == 1


def test_smoothing_keeps_a_constant():
    assert smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
