"""What a training takes, extrapolated from a few layers: compared with the whole model where no clock is needed.

Times are compared with whole trainings by benchmarks/model_costs.py.
"""

from dataclasses import replace

import numpy as np
import pytest

from tunesmith.api import build_recipe
from tunesmith.cache import cache_folder
from tunesmith.data.preparing import prepare
from tunesmith.models.catalogue import KnownModel, kind_of
from tunesmith.models.device import device_of
from tunesmith.pipeline.cost_points import FOLDER, Trial, measure_point
from tunesmith.pipeline.model_costs import CostMeter, _resolve, _used_ids, _Whole
from tunesmith.pipeline.reduced_models import Size
from tunesmith.pipeline.sample_rows import SampleRows
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import tiny_task_rows, write_rows

BERT = {"model_type": "bert", "hidden_size": 64, "num_hidden_layers": 7, "num_attention_heads": 2,
        "intermediate_size": 128, "vocab_size": 9000, "max_position_embeddings": 512}  # fmt: skip
MODERN = {
    **BERT,
    "model_type": "modernbert",
    "num_hidden_layers": 10,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
}
LLAMA = {**BERT, "model_type": "llama", "num_key_value_heads": 2, "tie_word_embeddings": True}
T5 = {"model_type": "t5", "d_model": 64, "d_kv": 32, "d_ff": 128, "num_layers": 5, "num_decoder_layers": 3,
      "num_heads": 2, "vocab_size": 9000, "n_positions": 512}  # fmt: skip
CASES = [
    ("text-classification", BERT),
    ("token-classification", MODERN),
    ("question-answering", BERT),
    ("chat", LLAMA),
    ("summarization", T5),
    ("fill-mask", BERT),
]


def meter_of(task, tmp_path, machine="this"):
    rows = write_rows(tmp_path / "rows.jsonl", tiny_task_rows(task, 60))
    recipe = build_recipe(task=task, data=str(rows), output_dir=str(tmp_path / "run"))
    sample = SampleRows(recipe, prepare(TASKS.get(task), recipe), {})
    return CostMeter(recipe, sample, device="cpu", bf16=False, machine={"name": machine})


def known_of(config) -> KnownModel:
    return KnownModel("a/model", kind_of(config["model_type"]), 0, "mit", ("en",), 512, config)


def trial_of(meter, models):
    base = models.build(models.first)
    found = meter.rows.sequences(models.known, models.task, models.tokenizer, models.config, base)
    _, plan, settings = _resolve(meter, models, base, found)
    return Trial(models.within(found.encoded), plan, settings, meter.machine), found


@pytest.mark.parametrize(("task", "config"), CASES, ids=[f"{task}-{c['model_type']}" for task, c in CASES])
def test_memory_is_that_of_the_whole_model(task, config, tmp_path):
    meter = meter_of(task, tmp_path)
    models = meter._reduced(known_of(config), TASKS.get(task))
    trial, found = trial_of(meter, models)
    axes = list(models.axes())
    points = [measure_point(models, size, trial) for size in (models.first, *(axis.size for axis in axes))]
    whole = _Whole(points, [axis.times for axis in axes])
    real = measure_point(models, Size(models.layers, models.config.vocab_size), trial)
    longest = trial.plan.longest
    ours = whole.memory(models.counts.weights, models.trained_bytes(_used_ids(models, found.encoded)), "cpu")
    for tokens, truth in ((real.tokens, real.large), (2 * real.tokens, real.twice)):
        assert ours.activations.of(tokens, longest) == pytest.approx(truth, rel=0.05)
    assert ours.gradients == pytest.approx(real.trainable, rel=0.02)
    assert whole.gradient_s >= points[0].gradient_s > 0


def test_a_measurement_is_taken_from_the_cache_on_the_same_machine_alone(tmp_path):
    known, task = known_of(BERT), TASKS.get("text-classification")
    first = meter_of("text-classification", tmp_path).cost(known, task)
    entries = {path.name for path in (cache_folder() / FOLDER).iterdir()}
    again = meter_of("text-classification", tmp_path).cost(known, task)
    assert again.epoch_s == first.epoch_s
    assert {path.name for path in (cache_folder() / FOLDER).iterdir()} == entries
    meter_of("text-classification", tmp_path, machine="another").cost(known, task)
    assert {path.name for path in (cache_folder() / FOLDER).iterdir()} > entries


def test_models_that_differ_in_untrained_rows_are_measured_once(tmp_path):
    meter, task = meter_of("text-classification", tmp_path), TASKS.get("text-classification")
    wide = {**BERT, "hidden_size": 256, "intermediate_size": 256, "vocab_size": 200_000}
    one = meter.cost(known_of(wide), task)
    other = meter.cost(known_of({**wide, "vocab_size": 300_000}), task)
    assert len(meter._known) == 1
    assert other.epoch_s == one.epoch_s
    assert other.memory - one.memory == other.weights - one.weights == 100_000 * 256 * 4


def test_what_does_not_fit_is_said(tmp_path, monkeypatch):
    from tunesmith.pipeline import model_costs

    monkeypatch.setattr(model_costs, "free_memory", lambda device: 60_000_000)
    cost = meter_of("text-classification", tmp_path).cost(known_of(BERT), TASKS.get("text-classification"))
    assert not cost.fits
    assert "are free" in cost.notes[0]


def test_an_estimate_grows_with_the_operations_and_with_what_is_trained(tmp_path):
    meter, task = meter_of("text-classification", tmp_path), TASKS.get("text-classification")
    cost = meter.cost(known_of(BERT), task)
    size = meter.size(known_of(BERT), task)
    four = cost.scaled(replace(size, operations=4 * cost.operations), source="a/model")
    assert four.epoch_s == pytest.approx(4 * cost.epoch_s)
    assert four.source == "a/model"
    assert cost.memory < four.memory < 2 * cost.memory
    # A large token table, of which few rows are trained, is weights alone.
    table = meter.size(known_of({**BERT, "vocab_size": 90_000}), task)
    more = cost.scaled(table, source="a/model").memory - cost.scaled(size, source="a/model").memory
    assert more == 81_000 * 64 * 4


def test_steps_stand_for_the_whole_epoch(tmp_path):
    meter = meter_of("text-classification", tmp_path)
    models = meter._reduced(known_of(BERT), TASKS.get("text-classification"))
    trial, found = trial_of(meter, models)
    steps = trial.steps()
    padded = [len(step) * trial.encoded.lengths[step].max() for step in steps]
    assert padded == sorted(padded)
    assert found.n_total == len(found.encoded) == 54
    assert np.concatenate(steps).max() < len(found.encoded)
    assert device_of(models.build(models.first)).type == "cpu"
