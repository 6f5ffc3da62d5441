"""Which template a conversation is written with: the model's own, or one of four that need no model.

The four are one text, `named.jinja`, filled in with what sets them apart. It marks what the assistant
writes with `{% generation %}`, so that other tools can learn from conversations with the saved tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from tunesmith.errors import ModelError, RecipeError, did_you_mean


@dataclass(frozen=True)
class _Named:
    """What sets one named template apart from the others.

    Args:
        header: Jinja that writes a turn's opening; `role` is the turn's role. It must not end in a space,
            which tokenizers join to the word that follows: the prompt would be cut into other tokens than
            the text that was learned.
        end: Jinja expression of what ends an assistant's turn.
        closes_all: whether it ends the other turns too.
        gap: what stands between turns.
        tokens: special tokens it needs.
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
"""The templates that need no model to bring them."""


def choose_template(tokenizer: Any, asked: str) -> list[str]:
    """Gives the tokenizer the chat template asked for, and the special tokens it needs.

    Args:
        tokenizer: a fast tokenizer; its `chat_template` is set.
        asked: `auto` (the model's own, else `plain`), or one of NAMES.

    Returns:
        The tokens that were added: the model's embeddings must grow by as many.

    Raises:
        RecipeError: there is no such template.
        ModelError: the tokenizer cannot be used with it.
    """
    if asked != "auto" and asked not in _NAMED:
        raise RecipeError(
            f"a chat template is `auto` or one of those named here, and `{asked}` is not.",
            remedy=did_you_mean(asked, ("auto", *NAMES)),
            location="data.chat_template",
        )
    _refuse_slow(tokenizer)
    if asked == "auto" and tokenizer.chat_template:
        _refuse_ambiguous(tokenizer.chat_template)
        return []
    return _give(tokenizer, "plain" if asked == "auto" else asked)


def _give(tokenizer: Any, name: str) -> list[str]:
    named = _NAMED[name]
    if named.end == "eos_token" and not tokenizer.eos_token:
        raise ModelError(
            f"the chat template `{name}` ends a turn with the end-of-text token, and the tokenizer has none.",
            remedy="Take one that brings its own: `data.chat_template=chatml`.",
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


def _writes_bos(tokenizer: Any) -> bool:
    """Whether the model saw its begin-of-text token before every text, so that it must see it here."""
    ids = tokenizer("a", verbose=False)["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def _refuse_slow(tokenizer: Any) -> None:
    if not tokenizer.is_fast:
        raise ModelError(
            "a chat needs a fast tokenizer, which says where in the text each token stands, and this one is "
            f"{type(tokenizer).__name__}.",
            remedy="Save the model with a `tokenizer.json`.",
        )


def _refuse_ambiguous(template: Any) -> None:
    if isinstance(template, dict) and "default" not in template:
        names = ", ".join(f"`{name}`" for name in sorted(template))
        raise RecipeError(
            f"the model has several chat templates ({names}), and none is its default.",
            remedy="Name one of ours: " + ", ".join(f"`{name}`" for name in NAMES) + ".",
            location="data.chat_template",
        )
