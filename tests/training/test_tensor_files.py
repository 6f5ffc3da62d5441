import hashlib

import pytest
import torch

from tunesmith.errors import RunError
from tunesmith.training import tensor_files
from tunesmith.training.tensor_files import load_tensors, save_tensors

TENSORS = {
    "bf16": torch.randn(5).bfloat16(),
    "scalar": torch.tensor(2),
    "empty": torch.zeros(0, 3),
    "nan": torch.tensor([torch.nan]),
    "bool": torch.tensor([True]),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "large": torch.randn(300, 300),
}


def test_tensors_of_every_kind_are_read_back_and_loaded(tmp_path):
    file = tmp_path / "a.safetensors"
    assert save_tensors(file, TENSORS) == hashlib.sha256(file.read_bytes()).hexdigest()
    loaded = load_tensors(file)
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(TENSORS[name], loaded[name]) for name in TENSORS if name != "nan")
    assert save_tensors(file, {}) == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("damage", ["first", "brace", "shape", "middle", "last", "cut", "more", "empty"])
def test_a_file_that_is_not_what_was_written_is_refused(tmp_path, monkeypatch, damage):
    def damaging(path):
        data = bytearray(path.read_bytes())
        if damage in ("cut", "more", "empty", "shape"):
            reshaped = data.replace(b"[300,300]", b"[200,450]")
            data = {"cut": data[:-1], "more": data + b"x", "empty": b"", "shape": reshaped}[damage]
        else:
            data[{"first": 0, "brace": 8, "middle": len(data) // 2, "last": -1}[damage]] ^= 1
        path.write_bytes(data)

    monkeypatch.setattr(tensor_files, "sync", damaging)
    with pytest.raises(RunError, match=r"read back as it was written, and `a\.safetensors` was not"):
        save_tensors(tmp_path / "a.safetensors", TENSORS)
