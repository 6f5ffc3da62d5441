import numpy as np
import pytest

from tunesmith.encoded import Encoded
from tunesmith.training.reference import load_reference, save_reference, with_reference

RUN = "c0ffee"
REFERENCE = np.random.default_rng(0).normal(-20, 5, (40, 2)).astype(np.float32)


@pytest.mark.parametrize("array", [REFERENCE, np.asfortranarray(REFERENCE), REFERENCE[::-1]])
def test_what_is_saved_is_loaded_bit_for_bit(tmp_path, array):
    file = tmp_path / "checkpoints" / "reference-train.safetensors"
    save_reference(file, array, RUN)
    assert np.array_equal(load_reference(file, RUN), array)
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("at", [2, 20, 60, -200, -3])
def test_a_flipped_bit_anywhere_is_found(tmp_path, at):
    file = tmp_path / "reference.safetensors"
    save_reference(file, REFERENCE, RUN)
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    assert load_reference(file, RUN) is None


@pytest.mark.parametrize("content", [b"", b"half", None])
def test_what_is_no_such_file_is_none(tmp_path, content):
    file = tmp_path / "reference.safetensors"
    if content is not None:
        file.write_bytes(content)
    assert load_reference(file, RUN) is None


def test_a_cut_file_and_another_tensor_are_none(tmp_path):
    from safetensors.numpy import save_file

    file = tmp_path / "reference.safetensors"
    save_reference(file, REFERENCE, RUN)
    file.write_bytes(file.read_bytes()[:-4])
    assert load_reference(file, RUN) is None
    save_file({"other": REFERENCE}, file)
    assert load_reference(file, RUN) is None
    save_file({"reference": REFERENCE}, file)
    assert load_reference(file, RUN) is None


def test_it_stands_beside_the_sequences_and_goes_with_them():
    encoded = Encoded.of({"input_ids": [[1], [2, 3], [4]]}, {"weight": [1, 2, 3]})
    both = with_reference(encoded, REFERENCE[:3])
    assert "reference" not in encoded.dense
    taken = both.take(np.array([2, 0]))
    assert taken.dense["reference"].tolist() == REFERENCE[[2, 0]].tolist()
    assert taken.dense["weight"].tolist() == [3, 1]
