"""A tokenizer.json that somebody else made, tried in a process of its own, with limits of time and memory.

    python -m tunesmith.models.tokenizer_trial FILE

A pattern can take hours for a short text, and a replacement can make gigabytes of it; both happen in a library
that cannot be stopped. So before such a tokenizer is used, a process that may be killed encodes texts that are
hard for patterns: long runs of one character, among them each character that a pattern names. Files without
patterns and replacements need no trial, and the result is kept by the file's SHA-256: a trial takes about half a
second.
What only certain texts of the data set off is not found here. Then the library gives up on a pattern by itself, or
the watch over a training that hangs stops it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.cache import cache_folder, new_entry, open_entry
from tunesmith.errors import ModelError, first_line
from tunesmith.run import sha256_of

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_FORMAT = 1
_DIGITS = 24
_MOST_FILE_BYTES = 500_000_000
_MOST_CPU_S = 20
_MOST_WALL_S = 300
_MOST_ADDRESSES = 4 * 2**30
_N_CHARACTERS = 2_000
_MOST_TOKENS_PER_BYTE = 20
_MOST_WORD = 1_000
_FREE_TOKENS = 1_000
_MOST_PLAIN = 10_000
"""Characters of a part of the file without vocabulary, that needs no trial."""
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_RISKY_KEYS = frozenset({"Regex", "replacement", "prepend"})
_RISKY_TYPES = frozenset({"Replace", "Prepend", "Precompiled", "Split"})


def refuse_costly_tokenizer(file: Path, name: str) -> None:
    """Raises ModelError for a tokenizer that takes minutes, or gigabytes, for a short text.

    Args:
        file: tokenizer.json.
        name: name of the model, for the message.
    """
    if file.stat().st_size > _MOST_FILE_BYTES:
        raise _refused(name, file, f"its file has {file.stat().st_size:,} bytes")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return  # the library says what is wrong
    if not isinstance(content, dict) or not _is_risky(content):
        return
    entry = cache_folder() / "tokenizers" / f"{sha256_of(file)[:_DIGITS]}-{_FORMAT}"
    if open_entry(entry) is None:
        _try_out(file, name)
        with new_entry(entry) as (_, facts):
            facts["file"] = file.name


def _is_risky(content: JsonObject) -> bool:
    parts = [content.get(part) for part in _PARTS]
    model = content.get("model")
    longest_word = model.get("max_input_chars_per_word") if isinstance(model, dict) else None
    return (
        any(map(_has_pattern, parts))
        or any(len(json.dumps(part)) > _MOST_PLAIN for part in parts)
        or (isinstance(longest_word, int) and longest_word > _MOST_WORD)
    )


def _has_pattern(part: object) -> bool:
    if isinstance(part, dict):
        if part.get("type") == "Metaspace":  # its replacement is one character
            return len(str(part.get("replacement"))) > 1
        is_risky = bool(_RISKY_KEYS & part.keys()) or part.get("type") in _RISKY_TYPES
        return is_risky or any(map(_has_pattern, part.values()))
    return isinstance(part, list) and any(map(_has_pattern, part))


def _try_out(file: Path, name: str) -> None:
    command = [sys.executable, "-m", __name__, str(file)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_MOST_WALL_S, errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise _refused(name, file, f"it takes more than {_MOST_WALL_S} seconds") from None
    if done.returncode == 0:
        return
    said = (done.stdout.strip() or (done.stderr.strip() if done.returncode > 0 else "")).splitlines()
    why = said[-1].rstrip(".") if said else f"it takes more than {_MOST_CPU_S} seconds, or too much memory"
    raise _refused(name, file, why)


def _refused(name: str, file: Path, why: str) -> ModelError:
    return ModelError(
        f"the tokenizer of `{name}` takes too much time or memory for short texts: {why}.",
        location=str(file),
        remedy="It was made to do harm, or is damaged: use another copy of the model.",
    )


def _texts(content: JsonObject) -> Iterator[str]:
    """Texts that are hard for patterns."""
    named = "".join(_patterns([content.get(part) for part in _PARTS]))
    letters = [
        c for c in dict.fromkeys("aA0 \n.,-'é漢" + named[:_N_CHARACTERS]) if c.isprintable() or c.isspace()
    ]
    for letter in letters[:100]:
        yield letter * 4  # shows what grows, before it grows large
        yield f"{letter * 40}!"
        yield letter * _N_CHARACTERS
    yield "The quick brown fox, 42 of 17.5 -- it's \t here.\n\n" * (_N_CHARACTERS // 50)
    yield "".join(letters) * (_N_CHARACTERS // len(letters) + 1)


def _patterns(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (part[key] for key in ("Regex", "String") if isinstance(part.get(key), str))
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _patterns(inner)


def _limit_this_process() -> None:
    """Limits time and memory, where the system can; elsewhere, only the time that the parent waits is limited."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in (
        (resource.RLIMIT_CPU, _MOST_CPU_S),
        (resource.RLIMIT_AS, _MOST_ADDRESSES),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit of addresses
            resource.setrlimit(kind, (most, most))


def main(path: str) -> int:
    """The exit code of a trial; what is wrong is printed."""
    _limit_this_process()
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(path)
    except Exception:  # loading it says what is wrong
        return 0
    tokenizer.no_padding()
    tokenizer.no_truncation()
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    for text in _texts(content):
        try:
            n_tokens = len(tokenizer.encode(text, add_special_tokens=False).ids)
        except BaseException as error:  # the library's panics are no Exception
            print(f"{first_line(error)[:200].rstrip('.')}")  # noqa: T201
            return 1
        n_bytes = len(text.encode())
        if n_tokens > _MOST_TOKENS_PER_BYTE * n_bytes + _FREE_TOKENS:
            print(f"a text of {n_bytes:,} bytes becomes {n_tokens:,} tokens")  # noqa: T201
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
