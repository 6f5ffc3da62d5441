import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tunesmith.errors import ModelError
from tunesmith.models import heads
from tunesmith.models.loading import load_for_training, load_trained
from tunesmith.models.positions import position_limit
from tunesmith.models.resolve import resolve_model
from tunesmith.models.saving import save_model
from tunesmith.models.tokenizer import load_tokenizer
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_tiny_model

TASK = TASKS.get("text-classification")
TARGETS = {"labels": ["a", "b", "c"]}


def load(folder, **how):
    return load_for_training(
        resolve_model(str(folder)), TASK, TARGETS, **{"pooling": "auto", "seed": 1, **how}
    )


def test_the_body_is_the_base_models_and_the_head_is_new(tiny_model):
    loaded = load(tiny_model)
    before = load_file(tiny_model / "model.safetensors")
    after = loaded.model.bert.state_dict()
    assert all(torch.equal(t, after[n]) for n, t in before.items() if not n.startswith("pooler"))
    assert loaded.head_is_new
    assert loaded.model.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_the_new_head_is_a_function_of_the_seed_alone(tiny_model):
    torch.manual_seed(5)
    one = load(tiny_model).model.classifier.weight
    torch.manual_seed(6)
    assert torch.equal(one, load(tiny_model).model.classifier.weight)
    assert not torch.equal(one, load(tiny_model, seed=2).model.classifier.weight)


def test_saved_and_loaded_again(tiny_model, tmp_path):
    loaded = load(tiny_model)
    save_model(loaded.model, loaded.tokenizer, tmp_path / "model", max_length=40)
    again = load_trained(resolve_model(str(tmp_path / "model")), TASK)
    assert again.tokenizer.model_max_length == 40
    assert TASK.label_schema_of(again.model.config) == TARGETS
    after = again.model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in loaded.model.state_dict().items())
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_head_for_the_same_labels_is_kept_and_another_is_drawn_anew(tiny_model, tmp_path):
    loaded = load(tiny_model)
    save_model(loaded.model, loaded.tokenizer, tmp_path / "model", max_length=40)
    same = load(tmp_path / "model")
    assert not same.head_is_new
    assert torch.equal(same.model.classifier.weight, loaded.model.classifier.weight)
    assert same.model.config.num_hidden_layers == loaded.model.config.num_hidden_layers
    files = resolve_model(str(tmp_path / "model"))
    for labels in (["c", "b", "a"], ["a", "b"]):
        other = load_for_training(files, TASK, {"labels": labels}, pooling="auto", seed=3)
        assert other.head_is_new
        assert other.model.config.num_hidden_layers == loaded.model.config.num_hidden_layers


def test_pooling_is_never_ignored(tiny_model, tmp_path):
    pooled = load(tiny_model)
    save_model(pooled.model, pooled.tokenizer, tmp_path / "mean", max_length=40)
    with pytest.raises(ModelError, match=r"train\.pooling is `first`"):
        load(tmp_path / "mean", pooling="first")
    first = load(tiny_model, pooling="first")
    save_model(first.model, first.tokenizer, tmp_path / "first", max_length=40)
    assert not load(tmp_path / "first").head_is_new
    assert load(tmp_path / "first", pooling="mean").head_is_new


def test_a_damaged_tokenizer_and_config(tiny_model, tmp_path):
    for name in ("tokenizer.json", "config.json"):
        folder = shutil.copytree(tiny_model, tmp_path / name.split(".")[0])
        text = '{"model_type": "no-such"}' if name == "config.json" else '{"version": 1}'
        (folder / name).write_text(text)
        with pytest.raises(ModelError, match="cannot be loaded"):
            load(folder)


def test_a_body_with_holes_is_refused(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "holes")
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.0.attention.self.query.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors of its body \(`bert\.encoder\.layer\.0"):
        load(folder)


def test_a_damaged_file_is_an_error_without_a_traceback(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "damaged")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=r"cannot be what `model\.safetensors` says"):
        load(folder)


def test_an_untrained_model_does_not_predict(tiny_model):
    with pytest.raises(ModelError, match="is not trained for text-classification"):
        load_trained(resolve_model(str(tiny_model)), TASK)


def test_a_folder_without_tokenizer(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "silent")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(resolve_model(str(folder)))


def test_mean_pooling_needs_the_family(tiny_model, shared):
    with pytest.raises(ModelError, match="mean pooling needs a model of the BERT family"):
        load(shared / "models" / "stories260K", pooling="mean")


def test_a_decoder_gets_a_head_and_a_pad_token(shared):
    loaded = load(shared / "models" / "stories260K")
    assert heads.find_head(loaded.model, 3).in_features == loaded.model.config.hidden_size
    assert loaded.tokenizer.pad_token_id is not None
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id


def test_position_limit(tiny_model, tmp_path):
    loaded = load(tiny_model)
    assert position_limit(loaded.model, loaded.tokenizer) == 64
    roberta = load(write_tiny_model(tmp_path / "r", family="roberta"))
    assert position_limit(roberta.model, roberta.tokenizer) == 63
