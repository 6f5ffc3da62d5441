import json

import pytest
import transformers

from tunesmith.errors import ModelError
from tunesmith.models.in_memory import is_model, save_in_memory_model
from tunesmith.models.resolve import resolve_model


@pytest.fixture(scope="module")
def held(tiny_model):
    model = transformers.AutoModel.from_pretrained(tiny_model)
    return model, transformers.AutoTokenizer.from_pretrained(tiny_model)


def test_the_same_weights_are_saved_once(held, tmp_path):
    model, tokenizer = held
    folder = save_in_memory_model(model, tokenizer, tmp_path)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert save_in_memory_model(model, tokenizer, tmp_path) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    files = resolve_model(str(folder))
    assert files.kind == "memory"
    assert "a model from memory" in files.origin


def test_other_weights_have_another_folder(tiny_model, held, tmp_path):
    model = transformers.AutoModel.from_pretrained(tiny_model)
    first = save_in_memory_model(model, held[1], tmp_path)
    model.get_input_embeddings().weight.data[5] += 1
    assert save_in_memory_model(model, held[1], tmp_path) != first


def test_what_is_no_model_is_refused(held, tmp_path):
    model, tokenizer = held
    with pytest.raises(ModelError, match="must come with its tokenizer, got NoneType"):
        save_in_memory_model(model, None, tmp_path)
    with pytest.raises(ModelError, match="must be a `PreTrainedModel`"):
        save_in_memory_model(tokenizer, tokenizer, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_is_not_a_model(held, tmp_path):
    import peft

    adapted = peft.get_peft_model(
        transformers.AutoModel.from_config(held[0].config), peft.LoraConfig(target_modules=["query"])
    )
    assert is_model(adapted)
    with pytest.raises(ModelError, match="merge_and_unload"):
        save_in_memory_model(adapted, held[1], tmp_path)


def test_code_of_its_own_is_refused_as_in_a_folder(held, tmp_path):
    folder = save_in_memory_model(*held, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(ModelError, match="auto_map"):
        resolve_model(str(folder))
