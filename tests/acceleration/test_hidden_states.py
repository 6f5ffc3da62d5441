import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from tunesmith.acceleration import hidden_states
from tunesmith.acceleration.hidden_states import bytes_of, load_states, new_states
from tunesmith.cache import remove_old
from tunesmith.run.files import free_bytes

FIRST = 5
PLACES = FIRST + torch.arange(40)


def values(n=40, d=6):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def written(entry, given, *, bf16=False):
    with new_states(entry, *given.shape, first=FIRST, bf16=bf16) as new:
        order = torch.randperm(len(given), generator=torch.Generator().manual_seed(1))
        for part in order.split(7):
            new.put(FIRST + part, given[part])
    return new


@pytest.mark.parametrize("bf16", [False, True])
def test_what_was_put_is_read_again_at_its_place(tmp_path, bf16):
    given = values()
    written(tmp_path / "entry", given, bf16=bf16)
    found = load_states(tmp_path / "entry")
    expected = given.bfloat16().float() if bf16 else given
    assert torch.equal(found.at(PLACES), expected)
    some = torch.tensor([[3, 1], [0, 39]])
    assert torch.equal(found.at(FIRST + some), expected[some])
    assert found.at(PLACES).dtype == torch.float32
    assert found.places.tolist() == PLACES.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]


def test_padding_gets_states_that_are_finite(tmp_path):
    given = values()
    found = written(tmp_path / "entry", given)
    assert torch.equal(found.at(torch.tensor([0, FIRST - 1, FIRST])), given[[0, 0, 0]])


@pytest.mark.parametrize("bf16", [False, True])
def test_the_need_of_disk_is_what_the_entry_takes(tmp_path, bf16):
    written(tmp_path / "entry", values(4000, 48), bf16=bf16)
    taken = sum(file.stat().st_size for file in (tmp_path / "entry").iterdir())
    assert taken == pytest.approx(bytes_of(4000, 48, bf16=bf16), abs=500)
    assert free_bytes(tmp_path / "not" / "yet") == pytest.approx(free_bytes(tmp_path), rel=0.2)


def test_a_flipped_bit_a_cut_file_and_a_missing_one_are_found(tmp_path):
    entry = tmp_path / "entry"
    assert load_states(entry) is None
    written(entry, values())
    file = entry / "states.npy"
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    for damaged in (bytes(flipped), whole[:-8], b""):
        file.write_bytes(damaged)
        assert load_states(entry) is None
    written(entry, values())
    assert torch.equal(load_states(entry).at(PLACES), values())
    (entry / "facts.json").unlink()
    assert load_states(entry) is None


def test_an_entry_that_is_not_finished_is_none(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        new_states(tmp_path / "entry", 40, 6, first=FIRST, bf16=False) as new,
    ):
        new.put(PLACES[:3], values()[:3] / (1 // 0))
    assert list(tmp_path.iterdir()) == []


def test_the_fastest_of_two_wins_and_both_read_the_same(tmp_path):
    with new_states(tmp_path / "entry", 40, 6, first=FIRST, bf16=False) as slow:
        written(tmp_path / "entry", values())
        slow.put(PLACES, values())
    assert torch.equal(slow.at(PLACES), load_states(tmp_path / "entry").at(PLACES))
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve disk")
def test_a_disk_that_is_too_small_is_noticed_before_anything_is_written(tmp_path):
    too_many = 10 * free_bytes(tmp_path) // 4096
    with (
        pytest.raises(OSError, match=r"No space left|File too large"),
        new_states(tmp_path / "entry", 1, too_many * 1024, first=0, bf16=False),
    ):
        pytest.fail("there is no room for it")
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_used_for_the_longest_time_goes_first(tmp_path):
    for age, name in enumerate(("aa", "bb", "cc", "dd")):
        written(tmp_path / name, values(100, 64))
        used = time.time() - 1000 + age
        os.utime(tmp_path / name, (used, used))
    assert load_states(tmp_path / "aa") is not None, "and so it was used now"
    remove_old(tmp_path, 2 * 27_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aa", "dd"]
    remove_old(tmp_path, 0, kept=[tmp_path / "dd"])
    assert [path.name for path in tmp_path.iterdir()] == ["dd"]
    remove_old(tmp_path / "absent", 0)


def test_what_a_killed_process_left_half_written_goes_and_what_another_writes_stays(tmp_path):
    script = (
        "import os, signal; from pathlib import Path\n"
        "from tunesmith.acceleration.hidden_states import new_states\n"
        f"with new_states(Path({str(tmp_path / 'entry')!r}), 40, 6, first=0, bf16=False):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    with new_states(tmp_path / "bb", 40, 6, first=0, bf16=False) as new:
        remove_old(tmp_path, 10**9)
        assert not left.exists()
        new.put(torch.arange(40), values())
    assert torch.equal(load_states(tmp_path / "bb").at(torch.arange(40)), values())


def test_places_are_wide_enough():
    assert hidden_states._place_type(0, 2**31 - 1) == np.int32
    assert hidden_states._place_type(1, 2**31 - 1) == np.int64
