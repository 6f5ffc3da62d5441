"""Models in GGUF files, the format of llama.cpp: read once, and kept in the cache as safetensors.

transformers reads the weights as float32 numbers, whatever number of bits the file stores them with. They are kept
as bfloat16, which is finer than the numbers of a file with 8 bits or less. A model that was read from such a file
refuses to be saved, so the weights are copied into a new model of the same config.

Reading takes about half a minute for 135 million weights; opening the entry of the cache takes as long as its
checksum.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.cache import cache_folder, new_entry, open_entry, remove_old
from tunesmith.errors import ModelError, first_line
from tunesmith.extras import refuse_without
from tunesmith.models.quiet import quiet
from tunesmith.run import sha256_of

if TYPE_CHECKING:
    from tunesmith.types import JsonObject, Model, Tokenizer

_FORMAT = 1
_MAGIC = b"GGUF"
_FULL_PRECISION = ("F32", "F16", "BF16")
_DIGITS = 24
_CARD = {"license": "general.license", "language": "general.languages"}
"""Keys of a model card, and the fields of a GGUF file that hold them."""


def is_gguf(path: Path) -> bool:
    """Whether a path is a file that begins as GGUF files do, or has their ending."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".gguf":
        return True
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def converted(file: Path) -> tuple[Path, str]:
    """The folder of a GGUF file's model in the cache, and how the file stores most weights (`Q4_1`).

    Raises:
        ModelError: the file is damaged, or transformers cannot read its architecture.
        UserError: the package that reads the format is not installed.
    """
    home = cache_folder() / "gguf"
    entry = home / f"{sha256_of(file)[:_DIGITS]}-{_FORMAT}"
    facts = open_entry(entry)
    if facts is None:
        with new_entry(entry) as (folder, facts):
            facts.update(_convert(file, folder))
        remove_old(home, kept=[entry])
    return entry, str(facts["stored"])


def precision_note(stored: str) -> str:
    """What a user should know of weights that a file stores so; empty for full precision."""
    return "" if stored in _FULL_PRECISION else f", whose weights were stored as {stored} (a few bits each)"


def _convert(file: Path, folder: Path) -> JsonObject:
    refuse_without(("gguf",), "gguf", "reading a GGUF file")
    stored, card = _described(file)
    (folder / "README.md").write_text(card, encoding="utf-8")
    try:
        with quiet():
            model, tokenizer = _read(file)
            _unquantized(model).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except Exception as error:  # the reader raises what the file makes numpy, gguf or transformers raise
        raise ModelError(
            f"the GGUF file cannot be read: {first_line(error)}",
            location=str(file),
            remedy="It must be whole, and of an architecture that transformers reads from GGUF (Llama, Qwen, "
            "Gemma, Phi, …).",
        ) from None
    return {"file": file.name, "stored": stored}


def _read(file: Path) -> tuple[Model, Tokenizer]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    how = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **how)
    return model, AutoTokenizer.from_pretrained(file.parent, **how)


def _unquantized(model: Model) -> Model:
    """A new model with the same weights in bfloat16, which can be saved."""
    import torch
    from transformers import AutoModelForCausalLM

    config = type(model.config).from_dict({
        name: value for name, value in model.config.to_dict().items() if name != "quantization_config"
    })  # fmt: skip
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, trust_remote_code=False)
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    return fresh


def _described(file: Path) -> tuple[str, str]:
    """The type of most weights in a file, `Q4_1`, and a model card of what it says of licence and languages.

    Raises:
        ModelError: the file is damaged.
    """
    import yaml
    from gguf import GGUFReader

    counts: dict[str, int] = {}
    try:
        reader = GGUFReader(file)
        for tensor in reader.tensors:
            name = tensor.tensor_type.name
            counts[name] = counts.get(name, 0) + int(tensor.n_elements)
        said = {
            key: reader.fields[field].contents() for key, field in _CARD.items() if field in reader.fields
        }
    except (ValueError, KeyError, IndexError, OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"the GGUF file cannot be read: {first_line(error)}", location=str(file), remedy="Get it again."
        ) from None
    front = yaml.safe_dump(said, allow_unicode=True)
    return max(counts, key=lambda name: counts[name], default="F32"), f"---\n{front}---\n"
