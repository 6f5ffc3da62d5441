"""The list of models: its facts hold together, and every count follows from the dimensions."""

import re

import pytest

from tunesmith.errors import UnknownNameError
from tunesmith.models.catalogue import (
    DECODER,
    ENCODER,
    ENCODER_DECODER,
    catalogue,
    describe_files,
    find_known,
    kind_of,
    refuse_unknown_model,
)
from tunesmith.models.from_config import build, config_for
from tunesmith.models.packaged import PACKAGED
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_tiny_model

CLASSES = {ENCODER: "AutoModel", DECODER: "AutoModelForCausalLM", ENCODER_DECODER: "AutoModelForSeq2SeqLM"}
MODELS = {model.id: model for model in catalogue()}


class Body:
    """What `build` asks of a task, for a model without a head."""

    pooling = vectors = None

    def __init__(self, auto_class: str) -> None:
        self.auto_class = auto_class


def counted(model) -> int:
    task = Body(CLASSES[model.kind])
    whole = build(config_for(model.config, {}), task, without_weights=True)
    output = whole.get_output_embeddings()
    if output is not None and model.config.get("tie_word_embeddings") is False:
        assert output.weight is not whole.get_input_embeddings().weight, model.id
    return whole.num_parameters()


def test_the_weights_follow_from_the_dimensions():
    off = {model.id: counted(model) / model.parameters - 1 for model in catalogue()}
    assert {name: share for name, share in off.items() if abs(share) > 0.01} == {}


def test_the_list_is_long_and_of_every_kind():
    assert len(MODELS) == len(catalogue()) >= 40
    kinds = [model.kind for model in catalogue()]
    assert min(kinds.count(kind) for kind in CLASSES) >= 10
    assert sum(len(model.languages) > 1 for model in catalogue()) >= 10
    assert set(PACKAGED) <= set(MODELS)
    suggested = {TASKS.get(name).suggested_model for name in TASKS.built_in()}
    assert suggested <= set(MODELS)


@pytest.mark.parametrize("model", catalogue(), ids=lambda model: model.id)
def test_every_fact_is_there_with_its_source(model):
    assert model.kind == kind_of(model.family)
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", model.id)
    assert model.languages
    assert all(re.fullmatch(r"[a-z]{2,3}", code) for code in model.languages)
    assert len(set(model.languages)) == len(model.languages)
    assert 256 <= model.context <= 131_072
    assert model.weights in ("safetensors", "pickle", "unknown")
    facts = ("family", "parameters", "context", "licence", "languages", "gated", "weights", "config")
    assert all(model.sources[name].startswith("https://") for name in facts)


def test_a_name_is_found_whatever_its_capitals_and_a_near_one_is_suggested():
    assert find_known("google-bert/BERT-base-uncased") is MODELS["google-bert/bert-base-uncased"]
    assert find_known("nothing/like-it") is None
    error = refuse_unknown_model("bert-base-uncase")
    assert isinstance(error, UnknownNameError)
    assert "`google-bert/bert-base-uncased`" in error.remedy


@pytest.mark.parametrize(
    ("family", "kind"), [("bert", ENCODER), ("llama", DECODER), ("bart", ENCODER_DECODER)]
)
def test_a_folder_is_described_by_its_files(tmp_path, family, kind):
    folder = write_tiny_model(tmp_path / "model", family=family)
    (folder / "README.md").write_text("---\nlicense: mit\nlanguage: [en, de]\n---\nA card.\n")
    found = describe_files(resolve_model(str(folder)))
    assert (found.kind, found.family, found.licence, found.languages) == (kind, family, "mit", ("en", "de"))
    whole = build(config_for(found.config, {}), Body(CLASSES[kind]), without_weights=True)
    assert found.parameters == pytest.approx(whole.num_parameters(), rel=0.01)
    assert found.context == whole.config.max_position_embeddings


def test_the_packaged_model_has_the_facts_of_the_list():
    files = resolve_model("sentence-transformers/all-MiniLM-L6-v2", download=False)
    found = describe_files(files)
    config = files.config()
    assert found is MODELS["sentence-transformers/all-MiniLM-L6-v2"]
    assert {key: config[key] for key in found.config} == found.config
