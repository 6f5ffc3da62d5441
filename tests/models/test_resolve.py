import json
import shutil

import pytest

from tunesmith.errors import ModelError
from tunesmith.models import resolve
from tunesmith.models.packaged import PACKAGED, PackagedModel, installed_packages, packaged_folder
from tunesmith.models.resolve import cached_models, resolve_model
from tunesmith.process import is_offline

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def copy(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "copy")


def edit(path, **entries):
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_a_folder_and_a_run_are_found(tiny_model, finished_run):
    assert resolve_model(str(tiny_model)).path == tiny_model
    found = resolve_model(str(finished_run.path))
    assert found.path == finished_run.model
    assert "the run" in found.origin


def test_the_packaged_default_is_found_without_a_network():
    found = resolve_model(DEFAULT)
    assert "packaged copy" in found.origin
    assert found.config()["hidden_size"] == 384


def test_a_packaged_copy_with_another_checksum_is_not_used(monkeypatch):
    changed = PackagedModel(**{**vars(PACKAGED[DEFAULT]), "sha256": "0" * 64})
    monkeypatch.setitem(PACKAGED, DEFAULT, changed)
    assert packaged_folder(DEFAULT, print)[0] is None
    with pytest.raises(ModelError, match="its SHA-256 differs"):
        resolve_model(DEFAULT)


def test_how_a_package_that_is_not_installed_is_installed_is_told(monkeypatch):
    monkeypatch.setitem(
        PACKAGED, "x/y", PackagedModel("no_such_module", "a.safetensors", "pip install x", "")
    )
    assert packaged_folder("x/y", print)[1] == "not installed (`pip install x`)"
    with pytest.raises(ModelError) as error:
        resolve_model("x/y")
    assert error.value.remedy.startswith("Install its packaged copy: `pip install x`.")


def test_a_packaged_copy_that_is_damaged_is_not_to_be_installed_again(monkeypatch):
    changed = PackagedModel(**{**vars(PACKAGED[DEFAULT]), "sha256": "0" * 64})
    monkeypatch.setitem(PACKAGED, DEFAULT, changed)
    with pytest.raises(ModelError) as error:
        resolve_model(DEFAULT)
    assert "pip install" not in error.value.remedy


def test_the_hub_cache_comes_before_the_package(tiny_model, tmp_path, monkeypatch):
    snapshot = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots" / "abc"
    shutil.copytree(tiny_model, snapshot)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    import huggingface_hub

    real = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *a, **k: real(*a, cache_dir=tmp_path / "hub", **k)
    )
    assert resolve_model(DEFAULT).path == snapshot


def test_the_hub_is_not_asked_without_a_download(monkeypatch):
    monkeypatch.setattr(resolve, "_from_hub", lambda name: pytest.fail("the Hub was asked"))
    with pytest.raises(ModelError, match="is not found") as error:
        resolve_model("no/such-model", download=False)
    assert "the Hub:" not in error.value.rule
    assert resolve_model(DEFAULT, download=False).kind == "package"


def test_models_of_the_cache_and_of_packages_are_listed(tiny_model, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert cached_models() == []
    shutil.copytree(tiny_model, tmp_path / "models--a--tiny-bert" / "snapshots" / "0")
    (tmp_path / "models--b--pickled" / "snapshots" / "0").mkdir(parents=True)
    (tmp_path / "models--b--pickled" / "snapshots" / "0" / "pytorch_model.bin").write_bytes(b"")
    assert cached_models() == ["a/tiny-bert"]
    assert DEFAULT in installed_packages()
    monkeypatch.setitem(PACKAGED, "c/absent", PackagedModel("no_such_module", "w", "pip", "0"))
    assert "c/absent" not in installed_packages()


def test_a_model_that_is_not_found_says_what_was_tried():
    with pytest.raises(ModelError) as caught:
        resolve_model("nobody/nothing")
    message = str(caught.value)
    for location in (
        "the folder nobody/nothing",
        "the local Hub cache",
        "the Hub: switched off",
        "packaged copies",
    ):
        assert location in message
    assert is_offline()


def test_a_directory_without_a_model(tmp_path):
    with pytest.raises(ModelError, match=r"must have a config\.json"):
        resolve_model(str(tmp_path))


def test_pickled_weights_are_refused_with_the_reason(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(
        ModelError, match=r"pickled \(`pytorch_model\.bin`\); reading a pickle can run any code"
    ):
        resolve_model(str(copy))


def test_no_weights_at_all(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="must have weights in safetensors"):
        resolve_model(str(copy))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_remote_code_is_refused_with_the_reason(copy, name):
    edit(copy / name, auto_map={"AutoModel": "modeling.Evil"})
    with pytest.raises(ModelError, match=r"contains Python code \(`auto_map`\)"):
        resolve_model(str(copy))
