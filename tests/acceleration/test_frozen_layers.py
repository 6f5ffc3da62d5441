import pytest
import torch

from tunesmith.acceleration import frozen_layers
from tunesmith.models import heads
from tunesmith.models.freezing import freeze_bottom, freeze_embeddings, freeze_named

IDS = torch.tensor([[2, 9, 11, 3], [2, 12, 3, 0]])
MASK = (IDS != 0).long()


def bert(**options):
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        **options,
    )
    torch.manual_seed(0)
    return BertForSequenceClassification(config)


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config)


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=30, n_positions=16, n_embd=16, n_layer=3, n_head=2)
    torch.manual_seed(0)
    return GPT2LMHeadModel(config)


FAMILIES = [bert, llama, gpt2]


def logits(model, ids):
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=MASK).logits


def test_what_is_frozen_together_with_the_embeddings_counts():
    model = bert()
    assert frozen_layers.frozen_layers(model) == 0
    freeze_embeddings(model)
    assert frozen_layers.frozen_layers(model) == 0
    freeze_named(model, ["*.layer.1.*"])
    assert frozen_layers.frozen_layers(model) == 0
    freeze_named(model, ["*.layer.0.*"])
    assert frozen_layers.frozen_layers(model) == 2
    other = bert()
    freeze_named(other, ["*.layer.0.*"])
    assert frozen_layers.frozen_layers(other) == 0, "the embeddings learn"


@pytest.mark.parametrize("make", FAMILIES)
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_the_layers_above_begin_where_the_frozen_ones_end(make, n_layers):
    model = make()
    freeze_bottom(model, n_layers)
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    expected = logits(model, IDS)
    given, states = frozen_layers.states_below(model, n_layers, lambda ids: ids, lambda: logits(model, IDS))
    assert torch.equal(given, IDS)
    table = states.reshape(8, -1)
    with frozen_layers.begin_above(model, n_layers, lambda places: table[places]):
        layers = heads.encoder_layers(model)
        passed = [frozen_layers.is_passed_through(layer) for layer in layers]
        assert passed == [number < n_layers for number in range(3)]
        assert torch.equal(logits(model, torch.arange(8).view(2, 4)), expected)
        elsewhere = logits(model, torch.arange(8).flip(0).view(2, 4))
    assert not torch.allclose(elsewhere, expected, atol=1e-3), "nothing was read"
    assert torch.equal(logits(model, IDS), expected)
    assert {name: set(vars(module)) for name, module in model.named_modules()} == attributes


def test_nothing_above_the_frozen_layers_is_computed():
    model = bert()
    freeze_bottom(model, 2)
    computed = []
    for number, layer in enumerate(heads.encoder_layers(model)):
        layer.register_forward_hook(lambda *_, number=number: computed.append(number))
    frozen_layers.states_below(model, 2, lambda ids: ids, lambda: logits(model, IDS))
    assert computed == [0, 1]


def test_within_it_another_reader_may_take_over_and_give_back():
    model = bert()
    freeze_bottom(model, 1)
    one, other = torch.rand(2, 4, 16), torch.rand(2, 4, 16)
    with frozen_layers.begin_above(model, 1, lambda _: one):
        first = logits(model, IDS)
        with frozen_layers.begin_above(model, 1, lambda _: other):
            assert not torch.allclose(logits(model, IDS), first, atol=1e-3)
        assert torch.equal(logits(model, IDS), first)


def test_a_reader_that_fails_leaves_the_model_as_it_was():
    model = bert()
    freeze_bottom(model, 1)
    expected = logits(model, IDS)
    with pytest.raises(ZeroDivisionError), frozen_layers.begin_above(model, 1, lambda _: 1 / 0):
        logits(model, IDS)
    assert torch.equal(logits(model, IDS), expected)


def test_the_fingerprint_is_that_of_the_frozen_weights_alone():
    def sum_of(model):
        return frozen_layers.fingerprint(frozen_layers.frozen_tensors(model, 1))

    model, before = bert(), sum_of(bert())
    with torch.no_grad():
        model.classifier.weight.add_(1)
        heads.encoder_layers(model)[1].output.dense.weight.add_(1)
    assert sum_of(model) == before
    with torch.no_grad():
        heads.encoder_layers(model)[0].output.dense.bias[3] += 1e-6
    assert sum_of(model) != before


def test_the_body_is_everything_but_the_head():
    def sum_of(model):
        return frozen_layers.fingerprint(frozen_layers.body_tensors(model, model.classifier))

    model, before = bert(), sum_of(bert())
    with torch.no_grad():
        model.classifier.weight.add_(1)
    assert sum_of(model) == before
    with torch.no_grad():
        model.bert.pooler.dense.bias[3] += 1e-6
    assert sum_of(model) != before
