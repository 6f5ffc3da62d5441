import re

import pytest

from tunesmith.reports.html import duration, percent
from tunesmith.tasks import displays


@pytest.fixture(scope="module")
def report(finished_run):
    return finished_run.report_file.read_text()


def test_one_file_that_loads_nothing(report):
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", report)
    assert "@import" not in report
    assert "url(" not in report.replace("url(#", "")
    assert "<script" not in report


def test_it_shows_what_counts(report, finished_run):
    metrics = finished_run.metrics()
    assert percent(metrics["primary"]["value"]) in report
    for words in ("Was fine-tuning worth it?", "How it learned", "TF-IDF", "The data", "Recipe and machine"):
        assert words in report
    assert report.count("<svg") == 2


def test_texts_are_escaped(finished_run, tmp_path):
    import json
    import shutil

    from tunesmith.reports import write_report
    from tunesmith.run import Run

    copy = Run(shutil.copytree(finished_run.path, tmp_path / "copy"))
    line = {"row": "a:1", "text": "<script>alert(1)</script>", "gold": "<b>", "correct": False,
            "prediction": {"label": "x", "score": 0.9}}  # fmt: skip
    (copy.predictions / "test.jsonl").write_text(json.dumps(line))
    write_report(copy)
    text = copy.report_file.read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_of_a_long_conversation_the_end_is_shown_and_of_a_text_the_beginning():
    messages = [{"role": "user", "content": f"turn {i} " + "x" * 40} for i in range(40)]
    line = {"messages": messages, "gold": "yes", "prediction": {"message": "no"}, "correct": None}
    (((read, _, _),), *_) = displays.TEXTS.cells(line, ("messages",))
    assert read.startswith("… ")
    assert "turn 39" in read
    assert "turn 2 " not in read
    line = {
        "text": "first " + "x" * 900 + " last",
        "gold": "a",
        "prediction": {"label": "a"},
        "correct": True,
    }
    (((read, _, _),), *_) = displays.ONE_LABEL.cells(line, ("text",))
    assert read.startswith("first")
    assert read.endswith(" …")


def test_of_a_pair_both_replies_are_shown_and_what_they_gained():
    line = {"prompt": [{"role": "user", "content": "why?"}], "gold": {"chosen": "so", "rejected": "no"},
            "prediction": {"chosen_gain": -1.25, "rejected_gain": 3.0}, "correct": False}  # fmt: skip
    prompt, chosen, rejected = displays.PAIRS.cells(line, ("prompt",))
    assert len(displays.PAIRS.titles) == 3
    assert prompt[0][0] == "user: why?"
    assert [piece[0] for piece in chosen] == ["so", " -1.2"]
    assert [piece[0] for piece in rejected] == ["no", " +3.0"]


def test_numbers_as_people_read_them():
    assert percent(0.9344) == "93.4 %"
    assert [duration(s) for s in (3.21, 61, 3700)] == ["3.2 s", "1 min 1 s", "1 h 1 min"]
