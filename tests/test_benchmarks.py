"""The benchmarks: what is computed from measurements, who takes part, and one stretch of each program for real."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import _ablation_page
import _child_ablation
import _child_answers
import _child_whole
import _children
import _flops
import _inference
import _page
import _plan
import _quality
import _replay
import _training
import ablation
import quality
from _stretch import Limits, Sizes, Stretch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


class Ticks:
    """A clock that goes on a second whenever it is asked."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def run_stretch(limits, clock):
    stretch = Stretch(limits, clock=clock)
    steps = 0
    while True:
        stretch.begin_step()
        steps += 1
        if stretch.end_step(Sizes(rows=2, real=10, padded=16)):
            return stretch, steps


def test_a_stretch_times_the_steps_after_the_warm_up():
    limits = Limits(warm_steps=3, warm_s=1000, steps=5, timed_s=1000, counted_steps=0)
    stretch, steps = run_stretch(limits, Ticks())
    assert (stretch.warm_steps, stretch.timed_steps, steps) == (3, 5, 8)
    assert stretch.timed == Sizes(10, 50, 80)
    found = stretch.result(matrix_parameters=1)
    assert found["tokens_per_s"] == pytest.approx(50 / stretch.seconds)
    assert found["padding"] == pytest.approx(1 - 50 / 80)


def test_a_slow_stretch_is_short_but_never_empty():
    limits = Limits(warm_steps=100, warm_s=0.0, steps=100, timed_s=0.0, least_steps=3, counted_steps=0)
    stretch, _ = run_stretch(limits, Ticks())
    assert (stretch.warm_steps, stretch.timed_steps) == (1, 3)


@pytest.mark.parametrize(("computed", "share"), [(10, 0.0), (16, 1 - 10 / 16)])
def test_products_tell_whether_padding_is_computed(computed, share):
    import torch

    weight = torch.nn.Parameter(torch.randn(8, 4))
    stretch = Stretch(Limits(warm_steps=2, warm_s=1000, steps=1, least_steps=1, counted_steps=2))
    over = False
    while not over:
        stretch.begin_step()
        # Forward, and backward to the input and to the weight: 6 operations a token and parameter.
        (torch.randn(computed, 8, requires_grad=True) @ weight).sum().backward()
        over = stretch.end_step(Sizes(2, 10, 16))
    found = stretch.result(matrix_parameters=32)
    assert found["tokens_counted"] == 2 * computed
    assert found["padding_computed"] == pytest.approx(share)


def test_operations_of_a_token_are_those_of_palm():
    # Appendix B: 6 N + 12 L H Q T, here with H·Q = 384.
    assert _flops.flops_per_token(10_616_832, 6, 384, 20) == 6 * 10_616_832 + 12 * 6 * 384 * 20
    assert _flops.mean_context([1, 3]) == pytest.approx((1 * 1 + 3 * 3) / 4)


def test_only_matrices_that_every_token_meets_count(tiny_model):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=3)
    width, layers = model.config.hidden_size, model.config.num_hidden_layers
    assert _flops.matrix_parameters(model) == layers * (4 * width**2 + 2 * width * 2 * width)


def test_cells_of_a_round():
    contenders, absent = _plan.taking_part(_plan.CONTENDERS, [])
    found = list(_plan.cells(["banking77"], [32, 8], contenders))
    by_name = {}
    for cell in found:
        by_name.setdefault(cell.contender.name, []).append(cell.batch)
    assert by_name["trainer"] == by_name["ours-same"] == [8, 32]
    assert by_name["trainer-max-length"] == [8]
    assert by_name["ours"] == [0]
    assert "trainer-compile" not in by_name
    assert all("not installed" in why for why in absent)


def test_a_contender_without_its_package_is_left_out_with_the_reason():
    lacking = _plan.Contender("setfit", "SetFit", "setfit", needs="no_such_package_anywhere")
    assert _plan.taking_part([lacking], []) == ([], ["setfit: no_such_package_anywhere is not installed"])
    assert _plan.taking_part([lacking], ["another"]) == ([], [])


def test_samples_share_no_row_and_are_the_same_every_time():
    train, validation = _plan.sample_rows(range(100), 1000, 20)
    assert sorted(train + validation) == list(range(100))
    assert len(validation) == 20
    assert _plan.sample_rows(range(100), 1000, 20) == (train, validation)


def a_run(tokens_per_s):
    return {
        "tokens_per_s": tokens_per_s,
        "padding": 0.1,
        "padding_computed": 0.0,
        "rows_per_step": 16.0,
        "peak_bytes": 2**30,
    }


def training_records():
    contenders = {c.name: c for c in _plan.CONTENDERS}
    names = ("trainer", "trainer-fast-eager", "trainer-fast-sdpa", "ours-same")
    todo = [_plan.Cell("sst2", 16, _plan.FACTS), *(_plan.Cell("sst2", 16, contenders[n]) for n in names)]
    todo.append(_plan.Cell("sst2", 0, contenders["ours"]))
    facts = {"matrix_parameters": 100, "layers": 1, "width": 5, "mean_tokens": 10.0, "context_tokens": 10.0}
    rounds = [[facts | {"rates": {"bf16": rate, "fp32": 1e6}}] for rate in (1e6, 2e6)]
    speeds = ((100, 90, 120), (300,), (400,), (800,), (1000,))
    runs = [[*rounds[0], *rounds[1]], *([a_run(s) for s in some] for some in speeds)]
    return _training.training_records(todo, runs)


def test_records_have_medians_spreads_and_the_share_of_the_best_rate():
    facts, trainer, *_ = training_records()
    assert facts["rates"]["bf16"] == 2e6
    assert trainer["tokens_per_s"] == {"median": 100, "low": 90, "high": 120}
    assert trainer["rows_per_s"]["median"] == pytest.approx(10)
    assert trainer["mfu"]["median"] == pytest.approx(100 * (6 * 100 + 12 * 1 * 5 * 10) / 2e6)


def test_the_table_shows_trainer_with_the_faster_attention_and_compares_with_it():
    records = training_records()
    about = {
        "date": "2026-01-01",
        "machine": {"processor": "P", "device": "cpu", "cores": 2, "threads": 2},
        "versions": {"torch": "1", "transformers": "2", "tunesmith": "3"},
    }
    written = _page.page(records, about)
    assert "fused AdamW (SDPA)" in written
    assert "fused AdamW (eager)" not in written
    ours, ours_default = (line for line in written.splitlines() if "| tunesmith" in line)
    assert "2.00×" in ours
    assert "2.50×" in ours_default
    assert "Time to quality" not in written


def test_newer_records_replace_older_ones_of_the_same_kind():
    old = [
        {"kind": "training", "data": "a", "batch": 8, "contender": "x", "v": 1},
        {"kind": "facts", "data": "a"},
    ]
    new = [
        {"kind": "training", "data": "a", "batch": 8, "contender": "x", "v": 2},
        {"kind": "facts", "data": "b"},
    ]
    merged = _page.merged(old, new)
    assert [record.get("v") for record in merged] == [2, None, None]


def test_the_clock_does_not_count_what_is_done_while_it_is_stopped():
    clock = _child_whole.Clock(ticks := Ticks())
    with clock.stopped():
        ticks.now += 100
    assert clock.seconds < 10


def test_time_to_quality_is_the_first_moment_at_the_target():
    points = [{"seconds": s, "accuracy": a} for s, a in ((5, 0.5), (9, 0.8), (12, 0.7), (15, 0.9))]
    runs = [
        [{"points": points[:3], "final": 0.7, "seconds": 12}],
        [{"points": points, "final": 0.9, "seconds": 15}],
    ]
    first, second = _quality.quality_records(_plan.TO_QUALITY[:2], runs)
    assert (first["target"], first["seconds_to"]["median"]) == (0.7, 9)
    assert second["seconds_to"]["median"] == 9
    assert _child_whole.seconds_to(points, 0.95) is None


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.99, 4), (0.25, 1), (1.0, 4)])
def test_percentiles_are_values_that_were_measured(share, value):
    assert _child_answers.percentile([4, 2, 1, 3], share) == value


def test_the_share_of_equal_labels_is_taken_against_the_pipeline():
    answered = {"texts_per_s": 1.0, "p50_ms": 1.0, "p99_ms": 1.0, "peak_bytes": 1}
    runs = [[answered | {"labels": ["a", "b", "c", "d"]}], [answered | {"labels": ["a", "b", "c", "x"]}]]
    contenders = [c for c in _plan.ANSWERING if c.name in ("pipeline", "ours")]
    records = _inference.inference_records(contenders, runs, 4)
    assert [record["same"] for record in records] == [1.0, 0.75]
    assert "labels" not in json.dumps(records)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "measure"), [("trainer", _children.measure), ("ours", _children.measure_preloaded)]
)
def test_a_stretch_of_each_program_runs(program, measure, tiny_model, tiny_files, tmp_path):
    """On a tiny model; this fails when the loop no longer makes its batches where they are counted."""
    spec = {
        "program": program,
        "model": str(tiny_model),
        "train": str(tiny_files["train"]),
        "validation": str(tiny_files["validation"]),
        "folder": str(tmp_path / "out"),
        "batch": 4,
        "options": {"fast": True, "attention": "eager"} if program == "trainer" else {},
        "limits": {"warm_steps": 3, "steps": 4, "timed_s": 100.0},
    }
    found = measure("_child_stretch.py", spec, cache=tmp_path / "cache")
    assert found["steps"] == 4
    assert found["rows_per_step"] == 4
    assert found["tokens_per_s"] > 0
    assert 0 <= found["padding"] < 0.6
    assert found["tokens_counted"] > 0


def test_answers_are_measured(finished_run, tiny_files):
    from _child_stretch import read_rows

    texts, _ = read_rows(str(tiny_files["test"]))
    found = {name: _child_answers.PROGRAMS[name](str(finished_run.path)) for name in ("ours", "pipeline")}
    measured = {name: _child_answers.measure(answer, texts) for name, answer in found.items()}
    assert measured["ours"]["labels"] == measured["pipeline"]["labels"]
    assert measured["pipeline"]["batch"] in (1, 8, 32, 128)
    assert 0 < measured["ours"]["p50_ms"] <= measured["ours"]["p99_ms"]


def test_without_data_it_says_what_is_needed():
    command = [sys.executable, str(BENCHMARKS / "speed.py"), "--data", "/no/such/folder"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "/no/such/folder" in done.stderr
    assert "--data" in done.stderr


def test_the_gpu_benchmark_skips_without_a_device():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here: the benchmark would run")
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "speed_gpu.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "skipped" in done.stderr


@pytest.mark.slow
def test_a_measurement_is_forked_from_a_process_with_the_libraries(tiny_model, tiny_files, tmp_path):
    files = {"train": str(tiny_files["train"]), "validation": str(tiny_files["validation"])}
    spec = {"program": "facts", "model": str(tiny_model), "folder": str(tmp_path), **files}
    found = _children.measure_preloaded("_child_stretch.py", spec, cache=tmp_path / "cache")
    assert found["layers"] == 2
    with pytest.raises(_children.FailedError, match="no-such-program"):
        _children.measure_preloaded(
            "_child_stretch.py", spec | {"program": "no-such-program"}, cache=tmp_path / "cache"
        )


def test_folds_are_scored_together(tmp_path):
    rows = [{"n": n} for n in range(10)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    entry = quality.Entry("few", "rows.json", folds=4)
    parts = quality.write_folds(tmp_path / "rows.json", entry, tmp_path)
    tested = []
    for part in parts:
        train, test = (json.loads((tmp_path / name).read_text()) for name in (part.train, part.test))
        assert sorted(row["n"] for row in train + test) == list(range(10))
        tested += [row["n"] for row in test]
    assert sorted(tested) == list(range(10))
    runs, records = quality.runs_of(entry, tmp_path), []
    for fold, run in enumerate(runs):
        (run / "predictions").mkdir(parents=True)
        right = [True] * (8 - fold) + [False] * fold
        lines = [json.dumps({"correct": value}) for value in right]
        (run / "predictions" / "test.jsonl").write_text("\n".join(lines))
        primary = {"name": "accuracy", "value": 1 - fold / 8, "low": 0, "high": 1, "n": 8, "confidence": 0.95}
        scores = {"accuracy": {"value": 1 - fold / 8}, "loss": {"value": float(fold)}}
        records.append({"data": run.name, "options": [], "primary": primary, "scores": scores,
                        "baselines": {"majority": 0.5}, "train_s": 10.0})  # fmt: skip
    line = quality.pooled(records, runs)
    assert line["data"] == "few"
    assert line["primary"]["value"] == pytest.approx(26 / 32)
    assert line["primary"]["n"] == 32
    spread = 1.96 * (26 / 32 * 6 / 32 / 32) ** 0.5
    assert line["primary"]["high"] - line["primary"]["low"] == pytest.approx(2 * spread, rel=0.15)
    assert line["scores"]["loss"]["value"] == pytest.approx(1.5)
    assert line["train_s"] == 40.0


def test_writing_is_measured_with_packed_layers_and_without():
    import writing

    (record,) = writing.measure([256], [2], rounds=1)
    assert record["stock"][0] > 0
    assert record["packed"][0] > 0
    assert "| 256 | 2 |" in writing.table([record])
    model = writing.decoder(256)
    packed = [m for m in model.modules() if "forward" in m.__dict__]
    assert len(packed) > 8 * 6
    writing.use_stock_linear(model)
    assert not any("forward" in m.__dict__ for m in packed)


def test_every_trick_and_option_can_be_left_out_and_neighbours_leave_out_nothing():
    tried = ablation.variants()
    assert {v.left_out for v in tried} == {*ablation.TRICKS, *_child_ablation.PROCESS, "acceleration"}
    assert [v.left_out for v in ablation.variants(["dropout"])] == ["dropout"]
    for number in (0, 1):
        names = [(v.left_out, v.frozen) for v in ablation.order(tried, number)]
        assert names[:2] == [("", 0), ("", 4)]
        assert names[-2:] == [("", 4), ("", 0)]
        assert len(names) == len(tried) + 4


def test_the_ablation_compares_within_a_round_and_among_as_many_frozen_layers():
    def record(left_out, frozen, seconds):
        return {"left_out": left_out, "frozen": frozen, "step_s": seconds, "run_s": 1.0, "text_s": 1.0}

    slower = [record("", 0, 1.0), record("dropout", 0, 3.0), record("", 0, 2.0)]
    frozen = [record("", 4, 1.0), record("frozen_cache", 4, 5.0), record("", 0, 9.0), record("", 4, 1.0)]
    assert _ablation_page.ratios([slower])["dropout"]["step_s"] == [2.0]
    assert _ablation_page.ratios([frozen])["frozen_cache"]["step_s"] == [5.0]


def ablation_record(steps, *rounds):
    found = [
        [
            {"left_out": name, "frozen": 0, "step_s": step_s, "run_s": 1.0, "text_s": 1.0}
            for name, step_s in [("", 1.0), *one.items(), ("", 1.1)]
        ]
        for one in rounds
    ]
    return {
        "date": "2026-01-01", "machine": {"processor": "p", "threads": 2}, "steps": steps,
        "versions": {"torch": "t", "transformers": "f"}, "rounds": {"banking77": found},
    }  # fmt: skip


def test_the_page_of_the_ablation_is_made_from_records(tmp_path, capsys):
    records = [
        ablation_record(40, {"dropout": 2.1, "encoder": 1.0}, {"dropout": 4.2, "encoder": 1.3}),
        ablation_record(40, {"dropout": 2.1}),
    ]
    files = [ablation.write_record(record, tmp_path / "results") for record in records]
    assert [file.name for file in files] == ["ablation-2026-01-01.json", "ablation-2026-01-01-2.json"]
    ablation.write_page([json.loads(file.read_text()) for file in files], tmp_path)
    page = (tmp_path / "ablation.md").read_text()
    assert page == capsys.readouterr().out.removesuffix("\n")
    assert "| `dropout` | **2.00** (2.00–4.00) | 1.00 (1.00–1.00) | 1.00 (1.00–1.00) | 3 |" in page
    assert "| `encoder` | 1.10 (0.95–1.24) |" in page
    assert "differ by up to 10% (a step)" in page
    assert "`python benchmarks/ablation.py --steps 40 --rounds 1 --sets banking77 --only dropout`" in page
    assert list(_ablation_page.PURPOSES) == [v.left_out for v in ablation.variants()]
    with pytest.raises(SystemExit, match="differ in their steps"):
        ablation.write_page([records[0], ablation_record(80, {})], tmp_path)


def test_the_page_of_the_ablation_is_that_of_its_records():
    files = [BENCHMARKS / "results" / f"ablation-2026-11-27{more}.json" for more in ("", "-2")]
    assert _ablation_page.page([json.loads(file.read_text()) for file in files]) == (
        BENCHMARKS / "ablation.md"
    ).read_text(encoding="utf-8")


def test_one_training_of_the_ablation(tiny_model, tiny_files, tmp_path):
    from tunesmith.acceleration import is_on

    found = _child_ablation.measured({
        "model": str(tiny_model), "train": str(tiny_files["train"]), "test": str(tiny_files["test"]),
        "folder": str(tmp_path / "run"), "steps": 4, "batch": 16, "frozen": 1, "left_out": "encoder",
    })  # fmt: skip
    assert found.keys() == _ablation_page.MEASURES.keys()
    assert all(value > 0 for value in found.values())
    assert is_on("encoder")


def stored(whole, part):
    return _replay.Stored(tuple(whole), tuple(part))


def test_a_replay_reads_the_time_of_every_method_from_the_store():
    """Two good trials and two bad ones, whose first points say so: the order is good, bad, bad, best."""
    trials = [
        stored([(10, 0.7), (20, 0.8)], [(1, 0.6), (2, 0.7)]),
        stored([(10, 0.1), (20, 0.2)], [(1, 0.1), (2, 0.2)]),
        stored([(10, 0.1), (20, 0.3)], [(1, 0.1), (2, 0.3)]),
        stored([(10, 0.8), (20, 0.9)], [(1, 0.7), (2, 0.8)]),
    ]
    order = [0, 1, 2, 3]
    assert _replay.random_full(trials, order) == [(20, 0.8), (40, 0.8), (60, 0.8), (80, 0.9)]
    assert _replay.median_pruned(trials, order, startup=1) == [(20, 0.8), (30, 0.8), (40, 0.8), (60, 0.9)]
    # On a part: 2 s each for the good ones, 1 s each for the bad ones. Then the best is the first on all rows.
    assert _replay.coarse_to_fine(trials, order)[0] == (6 + 20, 0.9)
    found = _replay.replay(trials, orders=50)
    assert found["coarse to fine"]["median_s"] < found["random, full trainings"]["median_s"]
    assert all(figures["reached"] == 1 for figures in found.values())
