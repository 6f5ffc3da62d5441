import inspect

import pytest

import tunesmith
from tunesmith.api.keywords import suggesting

pytestmark = pytest.mark.usefixtures("lean")


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("epoch", "Did you mean `epochs`?"),
        ("lr", "Write `learning_rate=…`."),
        ("num_train_epochs", "Write `epochs=…`."),
        ("warmup_steps", 'Write `overrides={"train.warmup_steps": …}`.'),
        ("lora_rank", 'Write `overrides={"train.lora_r": …}`.'),
        ("valdation", "Did you mean `validation`?"),
    ],
)
def test_an_unknown_keyword_suggests_the_nearest(name, suggested):
    with pytest.raises(TypeError) as error:
        tunesmith.train("a.csv", **{name: 1})
    assert str(error.value) == f"train() has no keyword `{name}`. {suggested}"


@pytest.mark.parametrize("verb", ["evaluate", "export", "load", "predict", "train"])
def test_the_signature_is_explicit_and_typed(verb):
    """So that completion and `help()` show every keyword."""
    parameters = inspect.signature(getattr(tunesmith, verb)).parameters.values()
    assert not [p for p in parameters if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    assert all(p.annotation is not p.empty for p in parameters)


def test_a_function_without_overrides_suggests_its_own_keywords():
    @suggesting
    def shout(*, loud: bool) -> bool:
        return loud

    assert shout(loud=True)
    with pytest.raises(TypeError, match=r"shout\(\) has no keyword `lod`. Did you mean `loud`\?"):
        shout(lod=True)
