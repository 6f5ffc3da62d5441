"""Models in GGUF files, the format of llama.cpp: read once, and kept in the cache as safetensors.

transformers computes float32 weights from those of the file, whatever number of bits these have. Weights that have
16 or 32 bits in the file keep their type; all others are kept as bfloat16, which is finer than 8 bits or fewer.
A model that was read from such a file refuses to be saved, so its weights are copied into a new model of the same
config.

Reading takes about half a minute for 135 million weights; opening the entry of the cache takes as long as its
checksum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.cache import cache_folder, new_entry, open_entry, remove_old
from tunesmith.errors import ModelError, first_line
from tunesmith.extras import refuse_without
from tunesmith.models import gguf_tokenizer
from tunesmith.models.quiet import quiet
from tunesmith.models.untrusted import refuse_impossible_numbers
from tunesmith.run import sha256_of

if TYPE_CHECKING:
    from tunesmith.types import JsonObject, Model, Tokenizer

_FORMAT = 2
_MAGIC = b"GGUF"
_WHOLE = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Types of weights that a file and torch have in common."""
_DIGITS = 24
_CARD = {
    "license": "general.license",
    "license_name": "general.license.name",
    "license_link": "general.license.link",
    "language": "general.languages",
}
"""Keys of a model card, and the fields of a GGUF file that hold them."""
_PARTS = "split.count"
_ARCHITECTURE = "general.architecture"


@dataclass(frozen=True)
class Converted:
    """The model of a GGUF file in the cache.

    Args:
        folder: folder of the entry, in the Hugging Face format.
        stored: the type that most weights have in the file: `Q4_1`.
        note: what a user should know of it, as the end of a sentence; may be empty.
    """

    folder: Path
    stored: str
    note: str


def is_gguf(path: Path) -> bool:
    """Whether a path is a file that begins as GGUF files do, or has their ending."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".gguf":
        return True
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def converted(file: Path, tell: Callable[[str], None]) -> Converted:
    """The model of a GGUF file, from the cache, or read now.

    Args:
        file: the file.
        tell: called with a sentence when the file must be read, which takes a while.

    Raises:
        ModelError: the file is damaged, or transformers cannot read its architecture.
        UserError: the package that reads the format is not installed.
    """
    home = cache_folder() / "gguf"
    entry = home / f"{sha256_of(file)[:_DIGITS]}-{_FORMAT}"
    facts = open_entry(entry)
    if facts is None:
        refuse_without(("gguf",), "gguf", "reading a GGUF file")
        tell(f"{file.name} is read once, and kept in {home}; that takes about half a minute for 100 MB")
        with new_entry(entry) as (folder, facts):
            facts.update(_convert(file, folder))
        remove_old(home, kept=[entry])
    return Converted(
        entry, str(facts["stored"]), _note(str(facts["stored"]), str(facts["unknown_splitting"]))
    )


def is_whole(stored: str) -> bool:
    """Whether a type of a GGUF file keeps 16 or 32 bits of a weight."""
    return stored in _WHOLE


def _note(stored: str, unknown_splitting: str) -> str:
    notes = []
    if not is_whole(stored):
        notes.append(
            f", whose weights were stored as {stored}, with a few bits each: less exact than the original's"
        )
    if unknown_splitting:
        notes.append(
            f", whose tokenizer splits texts in a way that is not known here (`{unknown_splitting}`): numbers and "
            "white space may become other tokens than in its pretraining"
        )
    return "".join(notes)


def _convert(file: Path, folder: Path) -> JsonObject:
    """Writes the model of a file into a folder, and returns the facts of the entry."""
    described = _described(file)
    (folder / "README.md").write_text(described.card, encoding="utf-8")
    try:
        with quiet(), _without_bar():
            model, tokenizer = _read(file)
            gguf_tokenizer.remove_foreign_tokens(tokenizer, described.n_tokens)
            unknown = gguf_tokenizer.set_splitting(tokenizer, described.tokenizer, described.splitting)
            dtype = _WHOLE.get(described.stored, "bfloat16")
            _unquantized(model, dtype).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except Exception as error:  # the reader raises what the file makes numpy, gguf or transformers raise
        raise ModelError(
            f"the GGUF file cannot be read: {first_line(error)}",
            location=str(file),
            remedy="It must be whole, and of an architecture that transformers reads from GGUF (Llama, Qwen, "
            f"Gemma, Phi, …); its own is `{described.architecture}`.",
        ) from None
    return {"file": file.name, "stored": described.stored, "unknown_splitting": unknown}


def _read(file: Path) -> tuple[Model, Tokenizer]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    how = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    model, info = AutoModelForCausalLM.from_pretrained(
        file.parent, dtype=torch.float32, output_loading_info=True, **how
    )
    missing = sorted({*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])})
    if missing:
        raise ValueError(f"it has no weights for `{missing[0]}`, or of another shape")
    return model, AutoTokenizer.from_pretrained(file.parent, **how)


def _unquantized(model: Model, dtype: str) -> Model:
    """A new model with the same weights in a type of torch, which can be saved."""
    import torch
    from transformers import AutoModelForCausalLM

    config = type(model.config).from_dict({
        name: value for name, value in model.config.to_dict().items() if name != "quantization_config"
    })  # fmt: skip
    fresh = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype), trust_remote_code=False)
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    return fresh


@contextmanager
def _without_bar() -> Iterator[None]:
    """A context without the bar that transformers draws over the tensors, in any log."""
    from transformers import modeling_gguf_pytorch_utils as reader

    before = getattr(reader, "tqdm", None)
    reader.tqdm = lambda tensors, **_: tensors
    try:
        yield
    finally:
        reader.tqdm = before


@dataclass(frozen=True)
class _Described:
    """What a file says of itself.

    Args:
        architecture: name of the architecture.
        stored: the type of most weights.
        card: a model card with licence and languages.
        tokenizer: kind of the tokenizer: `gpt2` for one on bytes.
        splitting: name of the way in which the tokenizer splits a text before it merges.
        n_tokens: number of tokens of the tokenizer.
    """

    architecture: str
    stored: str
    card: str
    tokenizer: str
    splitting: str
    n_tokens: int


def _described(file: Path) -> _Described:
    """What a file says of itself.

    Raises:
        ModelError: the file is damaged, or is one of several parts.
    """
    import yaml
    from gguf import GGUFReader

    counts: dict[str, int] = {}
    try:
        reader = GGUFReader(file)
        for tensor in reader.tensors:
            name = tensor.tensor_type.name
            counts[name] = counts.get(name, 0) + int(tensor.n_elements)
        fields = _Fields(reader.fields)
        refuse_impossible_numbers(
            fields.numbers(), [[int(n) for n in it.shape] for it in reader.tensors], file
        )
        said = {key: value for key, field in _CARD.items() if (value := fields.get(field))}
        described = _Described(
            str(fields.get(_ARCHITECTURE)),
            max(counts, key=lambda name: counts[name], default="F32"),
            f"---\n{yaml.safe_dump(said, allow_unicode=True)}---\n",
            str(fields.get("tokenizer.ggml.model") or ""),
            str(fields.get("tokenizer.ggml.pre") or ""),
            len(reader.fields["tokenizer.ggml.tokens"].data),
        )
        parts = int(fields.get(_PARTS) or 1)
    except ModelError:
        raise
    except (
        Exception
    ) as error:  # numpy, gguf and Python raise what the bytes of a damaged file make them raise
        raise ModelError(
            f"the GGUF file cannot be read: {first_line(error)}",
            location=str(file),
            remedy="It is damaged or not whole: get it again.",
        ) from None
    if parts > 1:
        raise ModelError(
            f"the GGUF file is one of {parts} parts, and a model is read from one file.",
            location=str(file),
            remedy="Join them: `llama-gguf-split --merge FIRST_PART WHOLE.gguf`.",
        )
    return described


class _Fields:
    """The metadata of a file, by name; None for what it does not say."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields

    def get(self, name: str) -> Any:
        """The content of a field."""
        return self.fields[name].contents() if name in self.fields else None

    def numbers(self) -> Iterator[tuple[str, int]]:
        """Every field that is a whole number, with its name."""
        for name, field in self.fields.items():
            if (
                len(field.data) == 1
                and isinstance(value := field.contents(), int)
                and not name.startswith("GGUF.")
            ):
                yield name, value
