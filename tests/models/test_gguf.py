"""GGUF files: the weights and the tokenizer are those of the file, and what is wrong with a file is said."""

import json
import multiprocessing

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tunesmith
from tunesmith import pipeline
from tunesmith.cache import cache_folder
from tunesmith.errors import ModelError, UserError
from tunesmith.models import gguf
from tunesmith.models.base_card import read_base_card
from tunesmith.models.identity import identify
from tunesmith.models.resolve import resolve_model
from tunesmith.recipe import Recipe
from tunesmith.reports.usage import with_transformers
from tunesmith.testing.families import write_family
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model
from tunesmith.testing.tiny_gguf import write_gguf

pytestmark = pytest.mark.usefixtures("lean")

TEXTS = ["<s>the old cat 12</s>\n\n1. é🙂", "  two  blanks\tand\r\n", "the red dog"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_tiny_model(
        tmp_path_factory.mktemp("models") / "llama", family="llama", width=64, dropout=0.0
    )


@pytest.fixture(scope="module")
def file(llama, tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("files") / "tiny.gguf", llama, **LICENSED)


LICENSED = {"general__license": "apache-2.0", "general__languages": ["en", "de"]}


def weights_of(folder):
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    assert not info["missing_keys"]
    return model.state_dict()


@pytest.mark.parametrize(
    ("stored", "dtype"), [("F32", torch.float32), ("F16", torch.float16), ("BF16", torch.bfloat16)]
)
def test_whole_numbers_of_bits_are_kept_exactly(llama, tmp_path, stored, dtype):
    found = resolve_model(str(write_gguf(tmp_path / "a.gguf", llama, stored=stored)))
    assert (found.kind, found.stored) == ("gguf", stored)
    assert "less exact" not in found.origin
    weights = weights_of(found.path)
    for name, weight in weights_of(llama).items():
        assert weights[name].dtype == dtype
        assert torch.equal(weights[name], weight.to(dtype)), name


@pytest.mark.parametrize(("stored", "bits"), [("Q8_0", 8), ("Q4_1", 4)])
def test_few_bits_are_read_within_their_step(llama, tmp_path, stored, bits):
    found = resolve_model(str(write_gguf(tmp_path / "a.gguf", llama, stored=stored)))
    assert f"stored as {stored}, with a few bits each: less exact" in found.origin
    weights = weights_of(found.path)
    for name, weight in weights_of(llama).items():
        if weight.ndim == 1:
            assert torch.equal(weights[name].float(), weight)
            continue
        blocks = weight.reshape(-1, 32)
        reach = 2 * blocks.abs().amax(1) if bits == 8 else blocks.amax(1) - blocks.amin(1)
        step = (reach / (2**bits - 1))[:, None]
        error = (weights[name].float() - weight).reshape(-1, 32).abs()
        rounding = blocks.abs() * 2**-8  # bfloat16, and the half-precision scale of a block
        assert bool((error <= step / 2 * 1.02 + rounding).all()), name


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_the_model_computes_the_same_as_the_one_that_was_written(family, llama, tmp_path):
    base = llama if family == "llama" else write_family(tmp_path / "base", family)
    found = resolve_model(str(write_gguf(tmp_path / "a.gguf", base)))
    ids = torch.tensor([[3, 14, 15, 9, 26]])
    theirs, ours = (AutoModelForCausalLM.from_pretrained(f).eval()(ids).logits for f in (base, found.path))
    assert torch.allclose(theirs, ours, atol=1e-6)


def test_the_tokenizer_gives_the_same_ids(llama, file):
    before, now = (AutoTokenizer.from_pretrained(f) for f in (llama, resolve_model(str(file)).path))
    assert before(TEXTS)["input_ids"] == now(TEXTS)["input_ids"]
    assert before.get_vocab() == now.get_vocab(), "transformers adds a token that the model does not know"
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(now, name) == getattr(before, name)


def test_digits_are_split_where_the_file_says_so(llama, tmp_path):
    """transformers splits as GPT-2 does: it reads the second line break with the first, where a digit follows."""
    plain, single = (
        AutoTokenizer.from_pretrained(
            resolve_model(str(write_gguf(tmp_path / f"{how}.gguf", llama, splitting=how))).path
        )
        for how in ("gpt-2", "smollm")
    )
    pieces = [t.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a\n\n1. b 23") for t in (plain, single)]
    assert [text for text, _ in pieces[0]] == ["a", "Ċ", "Ċ", "1", ".", "Ġb", "Ġ23"]
    assert [text for text, _ in pieces[1]] == ["a", "ĊĊ", "1", ".", "Ġb", "Ġ", "2", "3"]


def test_a_way_of_splitting_that_nobody_knows_is_told(llama, tmp_path):
    found = resolve_model(str(write_gguf(tmp_path / "a.gguf", llama, splitting="new-kind")))
    assert "splits texts in a way that is not known here (`new-kind`)" in found.origin


def test_licence_and_languages_are_those_of_the_file(file):
    found = resolve_model(str(file))
    assert read_base_card(found) == {"license": "apache-2.0", "language": ["en", "de"]}
    assert (identify(found)["found_in"], identify(found)["stored"]) == ("gguf", "F32")


# ---- the cache ----


def test_a_file_is_read_once_and_that_is_said_before(file, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    told = []
    first = resolve_model(str(file), told.append)
    assert len(told) == 1
    assert "tiny.gguf is read once" in told[0]
    monkeypatch.setattr(gguf, "_convert", None)  # a second reading would fail
    assert resolve_model(str(file), told.append) == first
    assert len(told) == 1


def test_a_damaged_entry_is_made_again(file, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    folder = resolve_model(str(file)).path
    before = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(before[:-8] + bytes(8))
    assert resolve_model(str(file)).path == folder
    assert (folder / "model.safetensors").read_bytes() == before


def test_two_processes_read_a_file_at_once(file, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    found, fork = [], multiprocessing.get_context("fork")
    with fork.Pool(2) as pool:
        found = [one.get(60) for one in [pool.apply_async(resolve_model, [str(file)]) for _ in range(2)]]
    assert found[0] == found[1] == resolve_model(str(file))
    assert len(list((tmp_path / "cache" / "gguf").iterdir())) == 1


def test_no_bar_is_drawn(file, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    resolve_model(str(file))
    assert capfd.readouterr() == ("", "")


# ---- what is wrong with a file ----


def refused(path):
    with pytest.raises(ModelError) as error:
        resolve_model(str(path))
    assert error.value.exit_code == 2
    assert error.value.remedy
    assert str(path) in error.value.location
    assert not list((cache_folder() / "gguf").glob(".new-*"))
    return error.value


@pytest.mark.parametrize("share", [0.001, 0.2, 0.5, 0.999])
def test_a_file_that_is_not_whole(file, tmp_path, share):
    content = file.read_bytes()
    (tmp_path / "half.gguf").write_bytes(content[: int(len(content) * share)])
    assert "get it again" in refused(tmp_path / "half.gguf").remedy


def test_a_file_of_another_kind_with_the_ending(tmp_path):
    (tmp_path / "no.gguf").write_bytes(b"PK\x03\x04" + bytes(500))
    assert "magic" in refused(tmp_path / "no.gguf").rule
    (tmp_path / "empty.gguf").write_bytes(b"")
    refused(tmp_path / "empty.gguf")


def test_damaged_headers_are_refused_or_read(file, tmp_path):
    """Whatever a byte of the header says, there is a model or an error with a remedy, and no crash."""
    content, rng = file.read_bytes(), np.random.default_rng(0)
    outcomes = set()
    for trial in range(16):
        damaged = bytearray(content)
        for position in rng.integers(4, 400, size=2):
            damaged[position] = int(rng.integers(256))
        path = tmp_path / f"{trial}.gguf"
        path.write_bytes(damaged)
        try:
            resolve_model(str(path))
            outcomes.add("read")
        except ModelError as error:
            assert error.remedy
            outcomes.add("refused")
    assert "refused" in outcomes


def test_an_architecture_that_transformers_does_not_read(llama, tmp_path):
    path = write_gguf(tmp_path / "a.gguf", llama, general__architecture="rwkv6")
    assert "its own is `rwkv6`" in refused(path).remedy


def test_weights_that_are_missing_are_no_random_numbers(llama, tmp_path):
    """The file says that it has more layers than it has."""
    path = write_gguf(tmp_path / "a.gguf", llama, llama__block_count=3)
    assert "no weights for `model.layers.2" in refused(path).rule


def test_a_part_of_a_model_is_refused_with_the_way_to_join_the_parts(llama, tmp_path):
    path = write_gguf(tmp_path / "a-00001-of-00002.gguf", llama, split__count=2)
    assert "one of 2 parts" in refused(path).rule
    assert "llama-gguf-split --merge" in refused(path).remedy


def test_without_the_package_the_command_is_told(file, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    real = gguf.refuse_without
    monkeypatch.setattr(gguf, "refuse_without", lambda _, *rest: real(("no_such_module",), *rest))
    with pytest.raises(UserError) as error:
        resolve_model(str(file))
    assert error.value.exit_code == 2
    assert "pip install 'tunesmith[gguf]'" in error.value.remedy


# ---- runs ----


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("data") / "chats.jsonl", tiny_task_rows("chat", 40))


@pytest.fixture(scope="module")
def adapted(llama, chats, tmp_path_factory):
    """A finished run of an adapter on a file with 8 bits a weight, and what was said during the training."""
    folder = tmp_path_factory.mktemp("runs")
    base = write_gguf(folder / "base.gguf", llama, stored="Q8_0", **LICENSED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.chdir(folder)
        said = []
        run = pipeline.train(recipe_of("base.gguf", chats, folder / "run", "lora"), listeners=[said.append])
    return run, [getattr(event, "text", "") for event in said], base


def recipe_of(model, data, folder, method):
    return Recipe.model_validate({
        "task": "chat", "model": str(model), "output_dir": str(folder),
        "data": {"train": [str(data)], "validation": 0.2, "test": 0.2},
        "train": {"method": method, "max_steps": 3, "per_device_train_batch_size": 4},
        "generate": {"max_new_tokens": 4},
        "evaluate": {"bootstrap_samples": 100, "samples": 2},
    })  # fmt: skip


def test_the_user_is_told_of_the_few_bits(adapted):
    _, said, _ = adapted
    assert any("is read once" in text for text in said)
    assert any("stored as Q8_0, with a few bits each" in text for text in said)


def test_an_adapter_on_a_file_predicts_from_any_folder(adapted, tmp_path, monkeypatch):
    run, _, base = adapted
    monkeypatch.chdir(tmp_path)
    config = json.loads((run.model / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)
    answer = tunesmith.predict(run.path, "where is the cat?")
    assert answer["message"]["role"] == "assistant"
    assert tunesmith.evaluate(run.path, str(run.recipe().data.train[0]))["primary"]["value"] > 0


def test_the_card_says_how_the_weights_were_stored(adapted):
    run, _, _ = adapted
    card = (run.model / "README.md").read_text()
    assert "`base.gguf`, a model of its author's own," in card
    assert "Its weights were stored as Q8_0" in card
    assert "license: apache-2.0" in card
    assert run.manifest()["model"]["stored"] == "Q8_0"


def test_the_code_of_the_card_reads_the_file(adapted):
    run, _, base = adapted
    code = with_transformers(run, str(run.model), base=str(base))
    names = {}
    exec(compile(code, "the card", "exec"), names)
    assert names["answer"]


def test_an_adapter_on_a_file_is_merged(adapted, tmp_path):
    run, _, _ = adapted
    out = tunesmith.export(run.path, to="merged", output_dir=tmp_path / "merged")
    stock, info = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not info["missing_keys"]
    ours = tunesmith.load(run.path).model
    ids = torch.tensor([[3, 14, 15, 9, 26]])
    assert torch.allclose(stock(ids).logits, ours(ids).logits, atol=1e-5)
    assert out


def test_a_whole_model_from_a_file_is_trained_and_saved(file, chats, tmp_path):
    run = pipeline.train(recipe_of(file, chats, tmp_path / "run", "full"))
    assert AutoModelForCausalLM.from_pretrained(run.model).num_parameters() > 0
    assert run.manifest()["model"]["found_in"] == "gguf"


@pytest.mark.parametrize(
    "name", ["embedding_length", "feed_forward_length", "block_count", "context_length", "vocab_size"]
)
def test_sizes_that_the_tensors_do_not_have_are_refused_before_memory_is_taken(llama, tmp_path, name):
    file = write_gguf(tmp_path / "a.gguf", llama, **{f"llama__{name}": 2**31})
    with pytest.raises(ModelError, match=rf"cannot be what `a\.gguf` says: `llama\.{name}` is 2,147,483,648"):
        resolve_model(str(file))
