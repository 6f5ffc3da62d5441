"""What frozen layers make of a split: the same as without keeping it, computed once."""

import numpy as np
import pytest
import torch

from tunesmith.acceleration import accelerate
from tunesmith.acceleration.frozen_cache import CHECKED_SEQUENCES, FrozenCache, in_words, reason_against
from tunesmith.encoded import Encoded
from tunesmith.inference.forward import forward
from tunesmith.models import heads
from tunesmith.models.adapters import LoraSettings, add_lora
from tunesmith.models.freezing import freeze_bottom
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_tiny_model

pytestmark = pytest.mark.usefixtures("lean")

TASK, TARGETS = TASKS.get("text-classification"), {"labels": ["a", "b", "c"]}


def classifier(folder, family="bert", pooling="auto", layers=3, frozen=2):
    path = write_tiny_model(folder / f"{family}-{layers}", family=family, layers=layers)
    model = load_for_training(resolve_model(str(path)), TASK, TARGETS, pooling=pooling, seed=1).model.eval()
    freeze_bottom(model, frozen)
    return model


def sequences(n=23, seed=0, most=30):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, most, n)
    rows = [rng.integers(5, 25, length).tolist() for length in lengths]
    return Encoded.of({"input_ids": rows}, {"labels": rng.integers(0, 3, n)})


def prefix_of(model, folder, *, task=TASK, bf16=False, told=None):
    tell = print if told is None else told.append
    return FrozenCache(task, model, folder=folder / "frozen", pad_token_id=0, bf16=bf16, tell=tell)


def outputs(model, encoded, task=TASK, **how):
    return forward(task, model, encoded, pad_token_id=0, **how)


class Counted:
    """Texts that pass through the embeddings of models of this class."""

    def __init__(self, monkeypatch, module):
        self.rows = 0
        stock = type(module).forward

        def counting(this, input_ids=None, *others, **named):
            self.rows += len(input_ids)
            return stock(this, input_ids, *others, **named)

        monkeypatch.setattr(type(module), "forward", counting)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize(("family", "frozen"), [("bert", 1), ("bert", 3), ("roberta", 2)])
def test_the_output_is_the_same_and_the_layers_below_are_computed_once(
    tmp_path, monkeypatch, family, frozen, pooling, fast
):
    model, encoded = classifier(tmp_path, family, pooling, frozen=frozen), sequences()
    if fast:
        accelerate(model)
    expected = outputs(model, encoded)
    prefix = prefix_of(model, tmp_path)
    assert prefix.problem(encoded) == ""
    counted = Counted(monkeypatch, heads.embeddings(model)[0])
    for _ in range(3):
        with prefix.reading("train", encoded, model) as placed:
            assert np.allclose(outputs(model, placed), expected, atol=1e-6)
    assert counted.rows == len(encoded)
    assert np.array_equal(outputs(model, encoded), expected)


def assert_read_alike(model, encoded, task, folder):
    """The frozen layers' states are kept, and read they give what the whole model gives."""
    expected = outputs(model, encoded, task)
    prefix = prefix_of(model, folder, task=task)
    assert prefix.problem(encoded) == ""
    with prefix.reading("train", encoded, model) as placed:
        assert np.allclose(outputs(model, placed, task), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["text-generation", "chat"])
@pytest.mark.parametrize("n_texts", [1, 3])
def test_texts_that_share_a_sequence_stay_apart(tmp_path, name, n_texts):
    from tunesmith.data.packing import pack

    path = write_tiny_model(tmp_path / "llama", family="llama", layers=3)
    task = TASKS.get(name)
    model = load_for_training(resolve_model(str(path)), task, {}, pooling="auto", seed=1).model.eval()
    freeze_bottom(model, 2)
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, 90, 12).tolist() for _ in range(9)]
    encoded = pack(Encoded.of({"input_ids": rows, "labels": rows}), 12 * n_texts)
    assert_read_alike(model, encoded, task, tmp_path)


def test_pairs_have_places_of_their_own(tmp_path):
    path, task = write_tiny_model(tmp_path / "llama", family="llama", layers=3), TASKS.get("preference")
    model = load_for_training(resolve_model(str(path)), task, {}, pooling="auto", seed=1).model.eval()
    freeze_bottom(model, 1)
    rng = np.random.default_rng(0)
    one, other = ([rng.integers(5, 90, rng.integers(4, 20)).tolist() for _ in range(9)] for _ in range(2))
    encoded = Encoded.of(
        {"input_ids": one, "labels": one, "rejected_input_ids": other, "rejected_labels": other}
    )
    assert_read_alike(model, encoded, task, tmp_path)


def test_a_label_for_every_token(tmp_path):
    path, task = write_tiny_model(tmp_path / "bert", layers=3), TASKS.get("token-classification")
    label_schema = {"labels": ["O", "B-a", "I-a"]}
    model = load_for_training(
        resolve_model(str(path)), task, label_schema, pooling="auto", seed=1
    ).model.eval()
    freeze_bottom(model, 3)
    encoded = sequences()
    expected = outputs(model, encoded, task)
    prefix = prefix_of(model, tmp_path, task=task)
    assert prefix.problem(encoded) == ""
    with prefix.reading("train", encoded, model) as placed:
        assert np.allclose(outputs(model, placed, task).values, expected.values, atol=1e-6)


def test_gradients_are_the_same(tmp_path):
    model, encoded = classifier(tmp_path), sequences()
    prefix = prefix_of(model, tmp_path)

    def gradients(given):
        from tunesmith.data.batches import collate
        from tunesmith.models.freezing import keep_frozen_parts_still

        model.zero_grad()
        model.train()
        keep_frozen_parts_still(model)
        torch.manual_seed(3)
        batch = collate(given, pad_token_id=0)
        TASK.forward(model, batch).square().sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}

    expected = gradients(encoded)
    with prefix.reading("train", encoded, model) as placed:
        found = gradients(placed)
    assert expected.keys() == found.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in found)


@pytest.mark.parametrize("fast", [False, True])
def test_bf16_rounds_the_training_split_and_no_other(tmp_path, fast):
    model, encoded = classifier(tmp_path), sequences()
    if fast:
        accelerate(model)
    prefix = prefix_of(model, tmp_path, bf16=True)
    expected = outputs(model, encoded)
    with prefix.reading("validation", encoded, model) as placed:
        assert np.allclose(outputs(model, placed), expected, atol=1e-6)
    expected = outputs(model, encoded, bf16=True)
    with prefix.reading("train", encoded, model) as placed:
        found = outputs(model, placed, bf16=True)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    # A smaller file, and what is in it depends on the arithmetic: an entry of its own.
    sizes = sorted(file.stat().st_size for file in (tmp_path / "frozen").glob("*/states.npy"))
    assert sizes[0] - 128 == (sizes[1] - 128) / 2


def test_states_are_found_again_by_content(tmp_path, monkeypatch):
    model, encoded, told = classifier(tmp_path), sequences(), []
    with prefix_of(model, tmp_path, told=told).reading("train", encoded, model) as placed:
        first = outputs(model, placed)
    (entry,) = (tmp_path / "frozen").iterdir()
    (said,) = told
    assert f"for {sum(encoded.lengths)} train tokens in {entry.parent}" in said
    with torch.no_grad():  # what lies above may change
        heads.encoder_layers(model)[2].output.dense.weight.add_(0.1)
    counted = Counted(monkeypatch, heads.embeddings(model)[0])
    again = prefix_of(model, tmp_path)
    assert again.make_room({"train": encoded}) == 0
    with again.reading("train", encoded, model) as placed:
        assert not np.array_equal(outputs(model, placed), first)
    assert counted.rows == 0
    assert again.make_room({"train": sequences(seed=1)}) > 0
    with torch.no_grad():
        heads.encoder_layers(model)[0].output.dense.weight[0, 0] += 1e-3
    assert prefix_of(model, tmp_path).make_room({"train": encoded}) > 0
    assert list((tmp_path / "frozen").iterdir()) == [entry]


def test_a_damaged_entry_is_computed_again(tmp_path):
    model, encoded = classifier(tmp_path), sequences()
    expected = outputs(model, encoded)
    for _ in range(2):
        with prefix_of(model, tmp_path).reading("train", encoded, model) as placed:
            assert np.allclose(outputs(model, placed), expected, atol=1e-6)
        (file,) = (tmp_path / "frozen").glob("*/states.npy")
        data = bytearray(file.read_bytes())
        data[-3] ^= 64
        file.write_bytes(data)


def test_another_model_reads_them_if_its_lowest_layers_are_the_same(tmp_path, monkeypatch):
    model, encoded = classifier(tmp_path), sequences()
    prefix = prefix_of(model, tmp_path)
    other = classifier(tmp_path)
    with torch.no_grad():
        heads.encoder_layers(other)[2].output.dense.weight.add_(0.1)
    expected = outputs(other, encoded)
    with prefix.reading("test", encoded, other) as given:
        assert given is encoded, "nothing is computed for another model's sake"
    with prefix.reading("test", encoded, model):
        pass
    counted = Counted(monkeypatch, heads.embeddings(model)[0])
    with prefix.reading("test", encoded, other) as given:
        assert np.allclose(outputs(other, given), expected, atol=1e-6)
    assert counted.rows == 0
    with torch.no_grad():
        heads.encoder_layers(other)[0].output.dense.weight.add_(0.1)
    with prefix.reading("test", encoded, other) as given:
        assert given is encoded


def test_one_split_may_be_read_within_another_if_it_is_open(tmp_path):
    model, encoded, others = classifier(tmp_path), sequences(), sequences(seed=1)
    prefix, expected = prefix_of(model, tmp_path), outputs(model, others)
    with prefix.reading("train", encoded, model), pytest.raises(RuntimeError, match="must be opened before"):
        prefix.open("validation", others)
    prefix.open("validation", others)
    with prefix.reading("train", encoded, model), prefix.reading("validation", others, model) as placed:
        assert np.allclose(outputs(model, placed), expected, atol=1e-6)


def test_an_adapter_with_frozen_layers(tmp_path):
    path, task = write_tiny_model(tmp_path / "llama", family="llama", layers=3), TASKS.get("text-generation")
    model = load_for_training(resolve_model(str(path)), task, {}, pooling="auto", seed=1).model
    add_lora(model, task.auto_class, LoraSettings(4, 8, 0.1, "auto", False, False), base=str(path), seed=1)
    freeze_bottom(model, 2)
    encoded = sequences(most=20)
    prefix = prefix_of(model, tmp_path, task=task)
    assert prefix.n_layers == 2
    assert prefix.problem(encoded) == ""


def custom(name, **options):
    import transformers

    config = getattr(transformers, f"{name}Config")(
        vocab_size=200, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, num_labels=3, pad_token_id=0,
        **options,
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForSequenceClassification")(config).eval()
    freeze_bottom(model, 2)
    return model


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("ModernBert", {"intermediate_size": 32}, ""),
        ("DistilBert", {"dim": 16, "hidden_dim": 32, "n_heads": 2, "n_layers": 3}, ""),
        ("Electra", {"intermediate_size": 32, "embedding_size": 16}, ""),
        ("Llama", {"intermediate_size": 32}, ""),
        ("Qwen2", {"intermediate_size": 32, "num_key_value_heads": 1}, ""),
        ("GPT2", {"embd_pdrop": 0.1}, ""),
        # What comes between the embeddings and the layers:
        ("GPTNeoX", {"intermediate_size": 32, "hidden_dropout": 0.1}, "dropout"),
        ("Electra", {"intermediate_size": 32, "embedding_size": 8}, "trained"),
        # Positions that all layers share:
        (
            "DebertaV2",
            {"intermediate_size": 32, "relative_attention": True, "pos_att_type": ["c2p"]},
            "trained",
        ),
        ("MPNet", {"intermediate_size": 32}, "trained"),
    ],
)
def test_a_family_is_tried_before_it_is_relied_on(tmp_path, name, options, problem):
    model, encoded = custom(name, **options), sequences(most=12)
    expected = outputs(model, encoded)
    prefix = prefix_of(model, tmp_path)
    found = prefix.problem(encoded)
    assert problem in found
    assert bool(problem) == bool(found)
    assert not model.training
    assert np.array_equal(outputs(model, encoded), expected), "trying changes nothing"
    if not problem:
        with prefix.reading("train", encoded, model) as placed:
            assert np.allclose(outputs(model, placed), expected, atol=1e-5)


def test_a_model_of_parts_that_are_not_known_is_refused(tmp_path):
    model = classifier(tmp_path)
    prefix = prefix_of(model, tmp_path)
    layer = heads.encoder_layers(model)[0]
    # A layer that gives more than hidden states: its place cannot be taken by passing them through.
    stock = layer.forward
    model.bert.encoder.forward = lambda hidden, **named: _walk(model.bert.encoder, hidden)
    layer.forward = lambda hidden, *others, **named: (stock(hidden), None)
    assert prefix.problem(sequences())


def _walk(encoder, hidden):
    from transformers.modeling_outputs import BaseModelOutput

    for layer in encoder.layer:
        found = layer(hidden)
        hidden = found[0] if layer is encoder.layer[0] else found
    return BaseModelOutput(last_hidden_state=hidden)


def test_trying_takes_a_few_texts(tmp_path, monkeypatch):
    model, encoded = classifier(tmp_path), sequences()
    counted = Counted(monkeypatch, heads.embeddings(model)[0])
    prefix_of(model, tmp_path).problem(encoded)
    assert counted.rows == 2 * CHECKED_SEQUENCES


def test_random_numbers_go_on_where_they_were(tmp_path):
    model = classifier(tmp_path)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    prefix_of(model, tmp_path).problem(sequences())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("task", "changes", "reason"),
    [
        ("text-classification", {}, ""),
        ("text-classification", {"frozen": 0}, "no layer is frozen"),
        ("text-classification", {"noise": 5.0}, "neftune_noise_alpha"),
        ("text-classification", {"passes": 1.0}, "only once"),
        ("fill-mask", {}, "`fill-mask` changes its texts each time"),
        ("summarization", {"encoder_decoder": True}, "an encoder and a decoder"),
    ],
)
def test_where_nothing_is_gained_or_it_would_not_be_the_same(tmp_path, task, changes, reason):
    model = classifier(tmp_path, frozen=changes.get("frozen", 2))
    model.config.is_encoder_decoder = changes.get("encoder_decoder", False)
    how = {"noise": changes.get("noise", 0.0), "passes": changes.get("passes", 3.0)}
    found = reason_against(TASKS.get(task), model, **how)
    assert reason in found
    assert bool(reason) == bool(found)


def test_sizes_in_words():
    assert [in_words(n) for n in (0, 999, 1500, 2.5e6, 1.26e9, 4e13)] == [
        "0 bytes", "999 bytes", "1.5 kB", "2.5 MB", "1.3 GB", "40,000.0 GB",
    ]  # fmt: skip
