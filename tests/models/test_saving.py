import pytest

from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.models.saving import save_model
from tunesmith.tasks import TASKS


@pytest.fixture
def loaded(tiny_model):
    task = TASKS.get("text-classification")
    return load_for_training(
        resolve_model(str(tiny_model)), task, {"labels": ["a", "b"]}, pooling="mean", seed=1
    )


def test_an_older_folder_is_replaced_whole(loaded, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pytorch_model.bin").write_text("old")
    save_model(loaded.model, loaded.tokenizer, tmp_path / "model", max_length=32)
    names = {p.name for p in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert "pytorch_model.bin" not in names


def test_others_may_read_it(loaded, tmp_path):
    save_model(loaded.model, loaded.tokenizer, tmp_path / "model", max_length=32)
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()} == {0o644}


def test_a_save_that_fails_leaves_the_older_folder(loaded, tmp_path, monkeypatch):
    save_model(loaded.model, loaded.tokenizer, tmp_path / "model", max_length=32)
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    monkeypatch.setattr(
        loaded.tokenizer, "save_pretrained", lambda *_: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        save_model(loaded.model, loaded.tokenizer, tmp_path / "model", max_length=32)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_nothing_is_printed(loaded, tmp_path, capfd):
    save_model(loaded.model, loaded.tokenizer, tmp_path / "model", max_length=32)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
