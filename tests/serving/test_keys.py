"""Keys of a file: found, changed without a restart, limited, and refused."""

from __future__ import annotations

import hashlib
import os
import stat

import pytest

from tunesmith import UserError
from tunesmith.serving import keys as module
from tunesmith.serving.keys import Bucket, Keys, add_key, read_keys


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.txt"


def test_a_new_key_is_found_and_only_its_hash_is_kept(file):
    alice, bob = add_key(file, "alice"), add_key(file, "bob")
    assert alice != bob
    assert len(alice) > 40
    assert alice not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    keys = Keys(file)
    assert keys.find(alice).name == "alice"
    assert keys.find(bob).name == "bob"
    assert keys.find(alice[:-1]) is None
    assert keys.find("") is None


def test_keys_change_without_a_restart(file, monkeypatch):
    monkeypatch.setattr(module, "_CHECK_S", 0.0)
    alice = add_key(file, "alice")
    keys = Keys(file)
    kept = keys.find(alice)
    bob = add_key(file, "bob")
    assert keys.find(bob).name == "bob"
    assert keys.find(alice) is kept  # what it has left of its limits stays
    file.write_text("".join(line for line in file.read_text().splitlines(True) if "bob" in line))
    assert keys.find(alice) is None
    file.write_text("broken")
    assert keys.find(bob).name == "bob"
    os.remove(file)
    assert keys.find(bob).name == "bob"


def test_limits_fill_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    bucket = Bucket(60)
    bucket._filled = now[0]
    for _ in range(60):
        assert bucket.wait_s(1.0 - 1e-9) == 0
        bucket.take(1)
    assert bucket.wait_s(0.5) > 0
    now[0] += 2
    assert bucket.wait_s(1.5) == 0
    bucket.take(500)  # the tokens of a large answer
    assert bucket.wait_s() == pytest.approx(499, abs=1)
    assert Bucket(None).wait_s(9) == 0


def test_limits_are_read(file):
    digest = hashlib.sha256(b"x").hexdigest()
    file.write_text(f"# team\n\na sha256:{digest} requests_per_minute=60 tokens_per_minute=1e5\n")
    (key,) = read_keys(file)
    assert (key.requests.per_minute, key.tokens.per_minute) == (60, 1e5)


@pytest.mark.parametrize(
    "line",
    ["a", "a sha256:12", "a md5:" + "0" * 64, f"a sha256:{'0' * 64} per_day=3", f"a sha256:{'0' * 64} x"],
)
def test_a_wrong_line_is_named(file, line):
    file.write_text(f"# one\n{line}\n")
    with pytest.raises(UserError) as refused:
        read_keys(file)
    assert refused.value.location == f"{file}, line 2"


def test_names_are_checked(file):
    add_key(file, "alice")
    for name in ("alice", "two words", "", "#x"):
        with pytest.raises(UserError):
            add_key(file, name)


def test_no_file_and_no_key(file):
    with pytest.raises(UserError, match="cannot be read"):
        Keys(file)
    file.write_text("# none\n")
    with pytest.raises(UserError, match="has no key"):
        Keys(file)
