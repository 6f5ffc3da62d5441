"""What a run computes once belongs to it: another run's file is refused, and a damaged one is made again."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from tunesmith import pipeline
from tunesmith.errors import RunError
from tunesmith.run import Run
from tunesmith.testing.listeners import at_step, raising
from tunesmith.training.run_tensors import lend_to_run, load_of_run, save_of_run


class StopError(Exception):
    """Stands for anything that ends a training."""


TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1.5])}


def test_a_file_belongs_to_its_run(tmp_path):
    file = tmp_path / "x.safetensors"
    save_of_run(file, TENSORS, "one")
    found = load_of_run(file, "one")
    assert {name: (t.dtype, t.tolist()) for name, t in found.items()} == {
        name: (t.dtype, t.tolist()) for name, t in TENSORS.items()
    }
    with pytest.raises(RunError, match=r"a file must be of the run `two`, and .* is of the run `one`"):
        load_of_run(file, "two")
    lend_to_run(file, tmp_path / "y.safetensors", "two")
    assert load_of_run(tmp_path / "y.safetensors", "two")["a"].tolist() == TENSORS["a"].tolist()


def test_another_id_alone_is_damage(tmp_path):
    file = tmp_path / "x.safetensors"
    save_of_run(file, TENSORS, "one")
    file.write_bytes(file.read_bytes().replace(b'"one ', b'"two '))
    assert load_of_run(file, "two") is None
    save_file(TENSORS, file)  # as an earlier version wrote it
    assert load_of_run(file, "one") is None


def test_the_probe_of_another_run_is_refused(tiny_recipe, lean):
    with pytest.raises(StopError):
        pipeline.train(tiny_recipe, listeners=[at_step(1, raising(StopError))])
    file = Run(tiny_recipe.output_dir).checkpoints / "probe.safetensors"
    lend_to_run(file, file, "another")
    with pytest.raises(RunError, match=r"probe\.safetensors` is of the run `another`") as refused:
        pipeline.train(tiny_recipe)
    assert "remove it: it is made again" in refused.value.remedy
