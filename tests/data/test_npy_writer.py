import numpy as np
import pytest

from tunesmith.data.npy_writer import GrowingArray


@pytest.mark.parametrize("shape", [(), (2,), (3, 2)])
def test_parts_are_one_array_afterwards(tmp_path, shape):
    parts = [
        np.random.default_rng(n).integers(0, 99, (n, *shape)).astype(np.int32) for n in (3, 0, 1, 12_345)
    ]
    with GrowingArray(tmp_path / "a.npy", parts[0]) as array:
        for part in parts:
            array.append(part)
        assert len(array) == 12_349
    loaded = np.load(tmp_path / "a.npy", mmap_mode="r", allow_pickle=False)
    assert loaded.dtype == np.int32
    assert np.array_equal(loaded, np.concatenate(parts))


def test_an_array_without_rows(tmp_path):
    with GrowingArray(tmp_path / "a.npy", np.zeros((0, 2))):
        pass
    assert np.load(tmp_path / "a.npy").shape == (0, 2)


def test_rows_of_another_shape_or_kind_are_refused(tmp_path):
    with GrowingArray(tmp_path / "a.npy", np.zeros((1, 2), np.int32)) as array:
        with pytest.raises(TypeError, match="cannot follow"):
            array.append(np.zeros((1, 3), np.int32))
        with pytest.raises(TypeError, match="Cannot cast"):
            array.append(np.full((1, 2), 0.5))
        array.append(np.empty((0, 2)))  # nothing has no kind
        array.append(np.ones((1, 2), np.int16))
    assert np.load(tmp_path / "a.npy").tolist() == [[1, 1]]
