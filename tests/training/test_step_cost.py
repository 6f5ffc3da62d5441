"""The time of steps, by the code of the loop."""

import numpy as np
import torch

from tunesmith.encoded import Encoded
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS, EncodeOptions
from tunesmith.testing.tiny import tiny_rows
from tunesmith.training.job import Job
from tunesmith.training.plan import BatchSize, Plan
from tunesmith.training.settings import Settings
from tunesmith.training.step_cost import time_steps


def job_of(folder) -> Job:
    task, rows = TASKS.get("text-classification"), tiny_rows(64)
    columns = {name: [row[name] for row in rows] for name in ("text", "label")}
    schema = task.learn_label_schema(columns)
    loaded = load_for_training(resolve_model(str(folder)), task, schema, pooling="auto", seed=0)
    encoded: Encoded = task.encode(columns, loaded.tokenizer, EncodeOptions(None), schema)
    settings = Settings(
        seed=0, learning_rate=1e-3, lr_scheduler_type="linear", warmup_steps=0, weight_decay=0.01,
        max_grad_norm=1.0, gradient_accumulation_steps=1, bf16=False, eval_steps=1, save_steps=1,
        logging_steps=1, early_stopping_patience=None,
    )  # fmt: skip
    plan = Plan(encoded.lengths, BatchSize(rows=16), epochs=1, max_steps=None, seed=0)
    return Job(loaded.model, task, encoded, dict, plan, settings, loaded.tokenizer, str, schema)


def test_more_rows_take_longer_and_no_weight_changes(tiny_model):
    job = job_of(tiny_model)
    before = [p.detach().clone() for p in job.model.parameters()]
    times = time_steps(job, [np.arange(2), np.tile(np.arange(64), 20)])
    assert len(times.gradients_s) == 2
    assert times.gradients_s[1] > times.gradients_s[0] > 0
    assert times.update_s > 0
    assert all(torch.equal(a, b) for a, b in zip(before, job.model.parameters(), strict=True))
