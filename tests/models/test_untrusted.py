"""Model folders that were made to do harm, or are damaged: refused before memory is taken."""

import json
import resource
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from tunesmith.errors import ModelError
from tunesmith.models import untrusted
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.models.untrusted import tensor_shapes
from tunesmith.tasks import TASKS


@pytest.fixture
def folder(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def with_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return str(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", 2**40), ("vocab_size", 10**12), ("intermediate_size", 10**9), ("num_hidden_layers", 10**9),
        ("max_position_embeddings", 10**12), ("num_attention_heads", 10**9), ("head_dim", 10**9),
    ],
)  # fmt: skip
def test_a_config_that_asks_for_more_than_the_weights_have_is_refused_before_memory_is_taken(
    folder, key, value
):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=rf"cannot be what `config\.json` says: `{key}` is {value:,}"):
        resolve_model(with_config(folder, **{key: value}))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_sizes_in_a_part_of_the_config_count_too(folder):
    with pytest.raises(ModelError, match="`vocab_size`"):
        resolve_model(with_config(folder, text_config={"vocab_size": 10**12}))


@pytest.mark.parametrize("damage", ["cut", "longer", "header", "no json", "no shapes"])
def test_weights_that_are_no_whole_safetensors_file_are_refused(folder, damage):
    file = folder / "model.safetensors"
    data = file.read_bytes()
    made = {
        "cut": data[:-5], "longer": data + b"more", "header": (2**62).to_bytes(8, "little") + data[8:],
        "no json": (10).to_bytes(8, "little") + b"x" * 10, "no shapes": (8).to_bytes(8, "little") + b'{"a": 1}',
    }  # fmt: skip
    file.write_bytes(made[damage])
    with pytest.raises(ModelError, match=r"cannot be what `model\.safetensors` says"):
        resolve_model(str(folder))


def test_sizes_that_are_possible_and_products_that_are_not_are_refused(folder, monkeypatch):
    weights = tensor_shapes(folder / "model.safetensors")
    widest = max(max(shape) for shape in weights.values())
    name = with_config(
        folder, hidden_size=4 * widest, intermediate_size=4 * widest, num_hidden_layers=len(weights)
    )
    monkeypatch.setattr(untrusted, "_MOST_NEW", 0)
    with pytest.raises(ModelError, match=r"it asks for [\d,]+ parameters, and the weights are [\d,]+"):
        load_for_training(
            resolve_model(name),
            TASKS.get("text-classification"),
            {"labels": ["a", "b"]},
            pooling="auto",
            seed=1,
        )


def test_a_shard_that_the_index_names_elsewhere_is_refused(folder, tmp_path):
    shutil.copyfile(folder / "model.safetensors", tmp_path / "model.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"`\.\./model\.safetensors` is not a file of the folder"):
        resolve_model(str(folder))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"r": 10**9}, "`r` is 1,000,000,000"),
        ({"rank_pattern": {"query": 10**9}}, "`query` is 1,000,000,000"),
        ({"layer_replication": [[0, 10**6]]}, "`layer_replication` makes layers"),
    ],
)
def test_an_adapter_that_asks_for_more_than_its_weights_have_is_refused(tmp_path, change, said):
    config = {"base_model_name_or_path": "x", "r": 8, "peft_type": "LORA", **change}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text("{}")
    save_file({"lora_A": np.zeros((8, 16), np.float32)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=said):
        resolve_model(str(tmp_path))


def test_shapes_are_those_of_the_library(tiny_model):
    from safetensors import safe_open

    with safe_open(tiny_model / "model.safetensors", framework="np") as file:
        expected = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    assert tensor_shapes(tiny_model / "model.safetensors") == expected


def test_links_out_of_the_folder_are_refused_and_those_of_the_hub_cache_are_not(folder, tmp_path):
    outside = tmp_path / "secret.json"
    outside.write_text("{}")
    (folder / "vocab.json").symlink_to(outside)
    with pytest.raises(ModelError, match=r"`vocab\.json` is a link to"):
        resolve_model(str(folder))
    (folder / "vocab.json").unlink()
    cache = tmp_path / "models--a--b"
    (cache / "blobs").mkdir(parents=True)
    snapshot = cache / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        shutil.copyfile(file, cache / "blobs" / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    assert resolve_model(str(snapshot)).path == snapshot


def test_a_pattern_that_takes_too_long_ends_with_an_error_about_the_tokenizer(
    folder, tiny_files, tmp_path, tunesmith
):
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": "(\\p{Greek}+)+$"}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    file.write_text(json.dumps(content))
    data = tmp_path / "rows.csv"
    data.write_text("text,label\n" + "".join(f"{'α' * 40}b{n},{'xy'[n % 2]}\n" for n in range(40)))
    done = tunesmith("train", data, "--model", folder, "-o", tmp_path / "run")
    assert done.code == 2, done.err
    assert "retry-limit-in-match" in done.err
    assert "use another copy" in done.err
    assert "Traceback" not in done.err
