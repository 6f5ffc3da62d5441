"""The chat template: the model's own, or one of four named templates.

The four are one text, `named.jinja`, with different values filled in. It marks the text that the assistant writes
with `{% generation %}`, so that other tools can train on conversations with the saved tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from tunesmith.errors import ModelError, RecipeError, did_you_mean

if TYPE_CHECKING:
    from tunesmith.types import Tokenizer


@dataclass(frozen=True)
class _Named:
    """The values of one named template.

    Args:
        header: Jinja code for the header of a turn; `role` is the turn's role. It must not end in a space, since
            tokenizers join a space to the following word: the prompt would have other tokens than the training
                text.
        end: Jinja expression for the end of an assistant's turn.
        closes_all: whether the other turns also end with it.
        gap: text between turns.
        tokens: special tokens that the template needs.
    """

    header: str
    end: str = "eos_token"
    closes_all: bool = True
    gap: str = r"\n"
    tokens: tuple[str, ...] = ()


_NAMED = {
    "plain": _Named(r"{{ role | capitalize + ':\n' }}", closes_all=False),
    "zephyr": _Named(r"{{ '<|' + role + '|>\n' }}"),
    "chatml": _Named(
        r"{{ '<|im_start|>' + role + '\n' }}", end="'<|im_end|>'", tokens=("<|im_start|>", "<|im_end|>")
    ),
    "llama3": _Named(
        r"{{ '<|start_header_id|>' + role + '<|end_header_id|>\n\n' }}",
        end="'<|eot_id|>'",
        gap="",
        tokens=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
}

NAMES = tuple(sorted(_NAMED))
"""The names of the templates that do not come from a model."""


def choose_template(tokenizer: Tokenizer, asked: str) -> list[str]:
    """Gives the tokenizer the requested chat template, and the special tokens that it needs.

    Args:
        tokenizer: a fast tokenizer; its `chat_template` is set.
        asked: `auto` (the model's own, else `plain`), or one of NAMES.

    Returns:
        The tokens that were added: the model's embeddings must grow by their number.

    Raises:
        RecipeError: the template is unknown.
        ModelError: the template does not work with this tokenizer.
    """
    if asked != "auto" and asked not in _NAMED:
        raise RecipeError(
            f"a chat template must be `auto` or a known name, got `{asked}`.",
            remedy=did_you_mean(asked, ("auto", *NAMES)),
            location="data.chat_template",
        )
    _refuse_slow(tokenizer)
    if asked == "auto" and tokenizer.chat_template:
        _refuse_ambiguous(tokenizer.chat_template)
        return []
    return _give(tokenizer, "plain" if asked == "auto" else asked)


def hint_for_tools(tokenizer: Tokenizer) -> str:
    """A remedy where the model's own template does not write tools: a named one whose tokens the model knows.

    Args:
        tokenizer: tokenizer of the model.
    """
    known = tokenizer.get_vocab()
    fits = (name for name, named in _NAMED.items() if named.tokens and set(named.tokens) <= known.keys())
    return f"`data.chat_template={next(fits, 'plain')}` writes tools and their calls."


def _give(tokenizer: Tokenizer, name: str) -> list[str]:
    named = _NAMED[name]
    if named.end == "eos_token" and not tokenizer.eos_token:
        raise ModelError(
            f"the chat template `{name}` ends a turn with the end-of-text token, and the tokenizer has none.",
            remedy="Use a template with its own token: `data.chat_template=chatml`.",
        )
    known = tokenizer.get_vocab()
    new = [token for token in named.tokens if token not in known]
    if named.tokens:
        tokenizer.add_special_tokens(
            {"extra_special_tokens": list(named.tokens)}, replace_extra_special_tokens=False
        )
    tokenizer.chat_template = _source(named, with_bos=_writes_bos(tokenizer))
    return new


def _source(named: _Named, *, with_bos: bool) -> str:
    skeleton = Template(Path(__file__).with_name("named.jinja").read_text(encoding="utf-8"))
    close = named.end if named.closes_all else "''"
    text = skeleton.substitute(header=named.header, end=named.end, close=close, gap=named.gap)
    return "{{- bos_token }}\n" + text if with_bos else text


def _writes_bos(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer puts a begin-of-text token before every text, so the template must write it too."""
    ids = tokenizer("a", verbose=False)["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def _refuse_slow(tokenizer: Tokenizer) -> None:
    if not tokenizer.is_fast:
        raise ModelError(
            "a chat needs a fast tokenizer, which gives the offsets of tokens, and this one is "
            f"{type(tokenizer).__name__}.",
            remedy="Save the model with a `tokenizer.json`.",
        )


def _refuse_ambiguous(template: object) -> None:
    if isinstance(template, dict) and "default" not in template:
        names = ", ".join(f"`{name}`" for name in sorted(template))
        raise RecipeError(
            f"the model has several chat templates ({names}), and none is its default.",
            remedy="Name one of these: " + ", ".join(f"`{name}`" for name in NAMES) + ".",
            location="data.chat_template",
        )
