"""A sample of `make fuzz`: made-up recipes, data files and model folders end well, or with a message of ours."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzz import SEEN, Bench, laws


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("kind", ["recipe", "data", "model"])
def test_what_hypothesis_makes_is_read_or_refused(bench, kind):
    laws(bench, 60)[kind]()
    assert any(what.startswith(kind) for what in SEEN)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"hidden_size": None}),
        ("config.json", {"auto_map": {"AutoModel": "x.Y"}}),
        ("config.json", b"[]"),
        ("tokenizer_config.json", {"model_max_length": []}),
        ("model.safetensors", None),
    ],
)
def test_what_was_found_is_refused_now(bench, file, change):
    before = SEEN["model: exit 2"]
    bench.folder(file, change)
    assert SEEN["model: exit 2"] == before + 1


def test_a_file_beside_the_folder_is_seen(bench):
    with pytest.raises(AssertionError, match="written outside"), bench.example() as work:
        (work.parent / "stray").touch()
    (bench.base / "stray").unlink()


def test_an_exit_code_of_no_error_of_ours_is_seen(bench):
    with pytest.raises(AssertionError, match="exit 1"):
        bench.judge("recipe", 1, "error: something")
    with pytest.raises(AssertionError, match="Traceback"):
        bench.judge("recipe", 2, "error: Traceback (most recent call last)")
