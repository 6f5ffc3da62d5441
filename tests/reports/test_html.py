import html
import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tunesmith import pipeline, reports
from tunesmith.evaluation.analyses import analyse
from tunesmith.evaluation.neighbours import TrainingVectors
from tunesmith.metrics import percent
from tunesmith.recipe import Recipe
from tunesmith.reports import write_card, write_report
from tunesmith.reports.filters import duration
from tunesmith.reports.sections import SECTIONS, Source
from tunesmith.run import Run, write_json
from tunesmith.tasks import TASKS, displays
from tunesmith.testing.answered import answered, classified, random_texts
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model


@pytest.fixture(scope="module")
def report(finished_run):
    return finished_run.report_file.read_text()


def test_one_file_that_loads_nothing(report):
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", report)
    assert "@import" not in report
    assert "url(" not in report.replace("url(#", "")
    assert "<script" not in report


def test_it_shows_what_counts(report, finished_run):
    metrics = finished_run.metrics
    assert percent(metrics["primary"]["value"]) in report
    for words in ("Was fine-tuning worth it?", "How it learned", "TF-IDF", "The data", "Recipe and machine"):
        assert words in report
    assert report.count("<svg") == 4  # loss, validation metric, reliability, coverage


NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?: %)?")
"""A number as a page writes it; a percentage with its sign, so that a count is no percentage."""


def numbers_in(value):
    """Every number of a document as a report may write it, and every number within its texts."""
    if isinstance(value, dict):
        return set().union(*map(numbers_in, value), *map(numbers_in, value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*map(numbers_in, value))
    if isinstance(value, str):
        return set(NUMBER.findall(value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        size = abs(value)
        forms = {f"{size:.3f}", f"{size:.2f}", f"{size:,}", str(size), f"{round(size):,}", f"{size:.3g}"}
        # A difference of shares is written in points.
        points = f"{100 * size:.1f} points"
        return set().union(*map(numbers_in, {*forms, percent(size), points, duration(value)}))
    return set()


def visible(page, *, charts=False):
    """What is read of a page; with `charts` also what these say to those who do not see them."""
    said = " ".join(re.findall('aria-label="([^"]*)"', page)) if charts else ""
    for hidden in ("<style.*?</style>", "<svg.*?</svg>", '(?:id|href)="[^"]*"', 'style="[^"]*"', "<[^>]+>"):
        page = re.sub(hidden, " ", page, flags=re.DOTALL)
    return html.unescape(f"{page} {said}")


def files_of(run):
    """What the documents of a run are made from."""
    lines = (run.predictions / "test.jsonl").read_text().splitlines()
    known = [
        run.manifest(),
        run.metrics,
        json.loads((run.data / "supervision.json").read_text()),
        str(run.path),
    ]
    if (run.data / "check.json").is_file():
        known.append(json.loads((run.data / "check.json").read_text()))
    return [*known, [json.loads(line) for line in lines], [e for e in run.events() if e["kind"] != "log"]]


def unknown_numbers(page, run):
    """The numbers of a page that no file of the run has."""
    # Of the text of the page itself: ends of the scale, and how many rows are folded away.
    own = {"0", "100", "100 %", "95", "95 %", "1"} | set(re.findall(r"\+(\d+) more", page))
    return set(NUMBER.findall(visible(page, charts=True))) - numbers_in(files_of(run)) - own


@pytest.fixture(scope="module")
def findings_run(finished_run, tmp_path_factory):
    """A finished run, and what the analyses find in rows with a weak slice and wrong labels."""
    copy = Run(shutil.copytree(finished_run.path, tmp_path_factory.mktemp("findings") / "copy"))
    rng = np.random.default_rng(0)
    true, is_weak = rng.integers(3, size=600), np.arange(600) < 100
    vectors = (6 * np.eye(32)[true] + rng.normal(size=(600, 32))).astype(np.float32)
    given = np.where(rng.random(600) < np.where(is_weak, 0.2, 0.02), (true - 1) % 3, true)
    texts = [
        f"{text} refund" if weak else text for text, weak in zip(random_texts(600, rng), is_weak, strict=True)
    ]
    final = classified(texts, given, given == true, margins=6.0)
    train = classified(random_texts(600, rng), true, np.ones(600, bool), file="train.csv")
    training = TrainingVectors.of(vectors, train.examples, train.gold)
    found = analyse(
        answered(
            final,
            run=copy,
            scored={"train": train}.get,
            features={"final": vectors}.get,
            training=lambda: training,
        )
    )
    write_json(copy.metrics_file, {**copy.metrics, **found})
    write_report(copy)
    assert found["weak_slices"]["found"]
    assert found["errors"]["suspected"]["rows"]
    return copy


RUNS = ["finished_run", "entities_run", "findings_run"]


@pytest.mark.parametrize("which", RUNS)
def test_every_number_is_in_the_files_of_the_run(which, request):
    run = request.getfixturevalue(which)
    page = run.report_file.read_text()
    assert len(set(NUMBER.findall(visible(page)))) > 40
    assert unknown_numbers(page, run) == set()


@pytest.mark.parametrize("which", RUNS)
def test_a_number_that_is_in_no_file_would_be_seen(which, request):
    run = request.getfixturevalue(which)
    page, value = run.report_file.read_text(), run.metrics["primary"]["value"]
    known = numbers_in(files_of(run))
    other = next(shown for k in range(1000) if (shown := percent(k / 1000)) not in known)
    assert unknown_numbers(page.replace(percent(value), other), run) == {other}
    assert unknown_numbers(page.replace("</main>", "<p>31,337 rows</p></main>"), run) == {"31,337"}


def test_what_was_found_is_shown(findings_run):
    page, metrics = " ".join(visible(findings_run.report_file.read_text()).split()), findings_run.metrics
    worst = metrics["weak_slices"]["found"][0]
    assert f"Weakest on the {worst['n']} rows" in page.split("Contents")[0].split("Was fine-tuning")[0]
    assert "Suspected wrong labels" in page
    assert "at most" in page
    assert metrics["overfitting"]["text"][1:] in page


def test_headings_stand_in_order_and_no_id_occurs_twice(findings_run):
    """One first heading, no level left out, every chart with a text, as a screen reader needs it."""
    page = findings_run.report_file.read_text()
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = re.findall(r'<(?:section|article|div|h\d)[^>]*\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert len(re.findall(r'<svg role="img" aria-label="[^"]{20,}"', page)) == page.count("<svg")
    assert "<table" in page
    assert all(
        "<th" in table for table in re.findall(r"<table.*?</table>", page.split('id="recipe"')[0], re.DOTALL)
    )


def test_colours_of_text_have_contrast():
    """WCAG 2.2, 1.4.3: at least 4.5 to 1, by day and in the dark."""
    css = (Path(reports.__file__).parent / "report.css").read_text()
    themes = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", theme))
        on_paper = [("ink", "paper"), ("ink", "wash"), ("soft", "paper"), ("soft", "wash"), ("blue", "paper")]
        on_colour = [
            ("on-blue", "blue"),
            ("soft-on-blue", "blue"),
            *(("ink", c) for c in ("right", "missed", "wrong")),
        ]
        ratios = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in on_paper + on_colour}
        assert min(ratios.values()) >= 4.5, ratios


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture(scope="module")
def entities_run(tmp_path_factory):
    """A run with entities, learned for a few steps, so that there are errors of every kind."""
    folder = tmp_path_factory.mktemp("entities")
    files = {
        split: [
            str(write_rows(folder / f"{split}.jsonl", tiny_task_rows("token-classification", n, seed=seed)))
        ]
        for seed, (split, n) in enumerate({"train": 64, "validation": 16, "test": 40}.items())
    }
    return pipeline.train(
        Recipe.model_validate(
            {
                "task": "token-classification",
                "model": str(write_tiny_model(folder / "model")),
                "output_dir": str(folder / "run"),
                "data": files,
                "train": {"max_steps": 6, "learning_rate": 2e-3, "per_device_train_batch_size": 8},
                "evaluate": {"bootstrap_samples": 100},
            }
        )
    )


def test_entities_are_counted_as_entities_with_their_kinds_of_error(entities_run):
    details, page = entities_run.metrics["details"], entities_run.report_file.read_text()
    assert details["per_class"]["counts"] == "entities"
    assert set(details["entity_errors"]) == {"boundary", "type", "missed", "spurious"}
    assert sum(details["entity_errors"].values()) > 0
    assert "Errors of entities by kind" in page
    assert '<th class="number">entities</th>' in page
    assert sum(details["per_class"]["train"]) > sum(details["per_class"]["support"]) > 0


def test_the_first_screen_has_score_verdict_and_training(report, finished_run):
    first = visible(report.split("<nav")[0].split("<body>")[1])
    metrics = finished_run.metrics
    assert percent(metrics["primary"]["value"]) in first
    assert metrics["verdict"]["text"][1:] in first
    assert "trained on 160 rows of train.csv" in " ".join(first.split())
    assert "the share of answers that are right" in first


def test_contents_lead_to_every_section(report):
    linked = re.findall(r'<li><a href="#([\w-]+)"', report)
    assert linked == re.findall(r'<section id="([\w-]+)"', report)
    assert linked[-1] == "next-steps"
    assert report.count("<strong>") >= 3


def test_shares_have_one_unit(report, finished_run):
    value = finished_run.metrics["primary"]["value"]
    # p-values are probabilities, and log loss and Brier score losses: no shares.
    others = r'id="(?:paired-tests|calibration)".+?</section>'
    text = visible(re.sub(others, "", report.split('id="recipe"')[0], flags=re.DOTALL))
    assert percent(value) in text
    assert not re.findall(r"\b0\.\d{3,}\b", text), "0.811 beside 81.1 %"


def test_long_lists_are_folded_and_nothing_scrolls(report):
    style = report.split("<style>")[1].split("</style>")[0]
    assert "overflow: auto" not in style
    assert "overflow-x" not in style
    assert not re.findall(r"overflow: (?:auto|scroll)", style)


def test_of_many_errors_some_are_shown_and_the_rest_is_one_click_away(finished_run, tmp_path):
    copy = Run(shutil.copytree(finished_run.path, tmp_path / "copy"))
    wrong = {"text": "x", "gold": "animal", "correct": False, "prediction": {"label": "colour", "score": 0.9}}
    lines = [json.dumps({"row": f"test.csv:{i}", **wrong}) for i in range(30)]
    (copy.predictions / "test.jsonl").write_text("\n".join(lines))
    write_report(copy)
    page = copy.report_file.read_text()
    assert page.count('<article class="example">') == 20
    assert page.split("<details>")[0].count('<article class="example">') == 6
    assert "<summary>+14 more</summary>" in page


def test_a_label_without_rows_has_no_score_and_comes_last():
    table = {"labels": ["a", "b", "c"], "precision": [1.0, None, 0.5], "recall": [1.0, None, 0.5]}
    table |= {"f1": [1.0, None, 0.4], "support": [3, 0, 2]}
    found = SECTIONS.get("labels").facts(Source(None, {}, {"details": {"per_class": table}}))
    assert [row["label"] for row in found["rows"]] == ["c", "a", "b"]
    assert percent(found["rows"][-1]["f1"]) == "–"


def test_rows_that_were_trained_on_stand_at_the_headline(finished_run, tmp_path):
    copy = Run(shutil.copytree(finished_run.path, tmp_path / "copy"))
    metrics = copy.metrics
    with_them = {name: {**score, "value": 0.5} for name, score in metrics["splits"]["test"].items()}
    seen = {"rows": 15, "exact": 15, "of": 60, "with": with_them}
    write_json(copy.metrics_file, {**metrics, "seen_in_training": seen})
    write_report(copy)
    first = visible(copy.report_file.read_text().split("<nav")[0])
    assert (
        "15 of 60 test rows are also in training, or nearly, and left out of the scores; "
        "with them accuracy = 50.0 %" in first
    )


def without_numbers(value):
    """A part of metrics.json in which nothing is determined."""
    if isinstance(value, dict):
        return {name: without_numbers(entry) for name, entry in value.items()}
    return None if isinstance(value, float) else value


def test_where_a_number_is_null_the_documents_show_a_dash(finished_run, tmp_path):
    copy = Run(shutil.copytree(finished_run.path, tmp_path / "copy"))
    metrics = copy.metrics
    shop = {
        "values": {"north": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}},
        "gap": 0.5,
        "values_not_shown": 0,
    }
    metrics["slices"] = {"shop": shop}
    for part in ("primary", "splits", "slices", "baselines"):
        metrics[part] = without_numbers(metrics[part])
    metrics["primary"]["confidence"] = 0.95
    write_json(copy.metrics_file, metrics)
    write_report(copy)
    write_card(copy)
    page, card = visible(copy.report_file.read_text()), (copy.model / "README.md").read_text()
    assert page.count("– to –") >= 4
    assert "None" not in page.split("Recipe and machine")[0]
    assert "| test | accuracy | – | – to – |" in card


def test_texts_are_escaped(finished_run, tmp_path):
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


def test_two_texts_stand_on_lines_of_their_own_with_their_names():
    line = {"text": "one", "text_pair": "  two\n    three", "gold": "a", "prediction": {"label": "b"},
            "correct": False}  # fmt: skip
    (read, *_) = displays.ONE_LABEL.cells(line, ("text", "text_pair"))
    assert read == [("text", "name", ""), ("one\n", "", ""), ("text_pair", "name", ""),
                    ("  two\n    three\n", "", "")]  # fmt: skip


def test_of_several_labels_the_missed_are_marked_and_the_worst_come_first():
    task = TASKS.get("multi-label-classification")
    line = {"text": "t", "gold": ["a", "b"], "prediction": {"labels": [{"label": "b", "score": 0.9},
            {"label": "c", "score": 0.61}]}, "correct": False}  # fmt: skip
    _, gold, given = displays.SEVERAL_LABELS.cells(line, ("text",))
    assert gold == [("a", "missed", ""), ("b", "label", "")]
    assert given == [("b", "label", "90.0 %"), ("c", "wrong", "61.0 %")]
    assert task.error_of(line["prediction"], line["gold"]) == 2.0
    assert task.error_of({"labels": []}, ["a"]) == 1.0
    none = displays.SEVERAL_LABELS.cells({**line, "prediction": {"labels": []}}, ("text",))[2]
    assert none == [("none", "soft", "")]


def test_of_entities_the_kind_of_error_is_noted():
    def entity(start, end, label):
        return {"start": start, "end": end, "entity_group": label}

    line = {"text": "Anna sees Bob Ray", "gold": [entity(0, 4, "PER"), entity(10, 17, "PER")],
            "prediction": {"entities": [entity(5, 9, "PER"), entity(10, 13, "PER")]}}  # fmt: skip
    gold, found = displays.ENTITIES.cells(line, ("text",))
    assert [piece for piece in gold if piece[1]] == [
        ("Anna", "missed", "PER, missed"), ("Bob Ray", "missed", "PER, boundary")]  # fmt: skip
    assert [piece for piece in found if piece[1]] == [
        ("sees", "wrong", "PER, spurious"), ("Bob", "wrong", "PER, boundary")]  # fmt: skip


@pytest.mark.parametrize(
    ("task", "column", "value", "prompt"),
    [
        ("chat", "messages", [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "SECRET"}],
         "user: why?"),
        ("text-generation", "text", "once upon a time there was a SECRET end", "once upon a time"),
    ],
)  # fmt: skip
def test_what_was_given_is_shown_and_not_the_reply_within_it(task, column, value, prompt):
    display = TASKS.get(task).display
    line = {
        column: value,
        "gold": "SECRET",
        "prediction": {"message": "so", "bits_per_byte": 1.0},
        "correct": None,
    }
    shown, reference, written = display.cells(line, (column,))
    assert shown == [(prompt, "", "")]
    assert reference[0][0] == "SECRET"
    assert written[0][0] == "so"


def test_numbers_as_people_read_them():
    assert percent(0.9344) == "93.4 %"
    assert [duration(s) for s in (3.21, 61, 3700)] == ["3.2 s", "1 min 1 s", "1 h 1 min"]


def test_every_baseline_is_tested_and_the_figures_are_those_of_the_metrics(report, finished_run):
    found = finished_run.metrics["paired_tests"]
    table = visible(report.split('id="paired-tests"')[1].split("</section>")[0])
    assert set(found["against"]) == set(finished_run.metrics["baselines"])
    for one in found["against"].values():
        assert f"{100 * one['difference']:+.1f}" in table
        assert f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f}" in table
        assert str(one["only_this_right"]) in table
    verdict = finished_run.metrics["verdict"]
    assert found["against"][verdict["against"]]["outcome"] == verdict["outcome"]


def test_parts_that_a_program_replaced_are_named(finished_run, tmp_path):
    copy = Run(shutil.copytree(finished_run.path, tmp_path / "copy"))
    soup = {"kept": True, "reason": "a soup of 2 models: better", "members": ["the chosen model", "fine 3"]}
    copy.update_manifest(hooks={"loss": {"name": "mine.focal"}}, soup=soup)
    write_report(copy)
    section = copy.report_file.read_text().split('id="recipe"')[1]
    assert "loss=mine.focal" in section
    assert "Its weights are a soup of 2 models: better." in section
    assert "the chosen model; fine 3." in section
    assert "A program replaced" not in finished_run.report_file.read_text()
