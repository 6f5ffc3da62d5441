"""GGUF files of tiny models for tests, as llama.cpp's converter would write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tunesmith.types import Array, Config

_CONTROL, _NORMAL = 3, 1
_SPLITTING = "gpt-2"


def write_gguf(
    file: Path, folder: Path, *, stored: str = "F32", splitting: str = _SPLITTING, **metadata: object
) -> Path:
    """Writes a model of the Llama or Qwen family, with a BPE tokenizer on bytes, as a GGUF file.

    Args:
        file: file to write.
        folder: folder of the model in the Hugging Face format.
        stored: type of the matrices: `F32`, `F16`, `BF16`, `Q8_0`, `Q4_1`, …; vectors are always `F32`.
        splitting: name of the way in which the tokenizer splits texts.
        metadata: more fields; a dot in a name is written as two underscores, and None leaves a field out.
    """
    import gguf
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    writer = gguf.GGUFWriter(file, config.model_type)
    fields = {**_architecture(config), **_tokenizer(folder, splitting)}
    fields |= {name.replace("__", "."): value for name, value in metadata.items()}
    for name, value in fields.items():
        if value is not None:
            _add(writer, name, value)
    for name, tensor in _tensors(folder, config).items():
        kind = gguf.GGMLQuantizationType[stored if tensor.ndim > 1 else "F32"]
        writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _architecture(config: Config) -> dict[str, object]:
    kind = config.model_type
    return {
        "general.name": "tiny",
        f"{kind}.block_count": config.num_hidden_layers,
        f"{kind}.context_length": config.max_position_embeddings,
        f"{kind}.embedding_length": config.hidden_size,
        f"{kind}.feed_forward_length": config.intermediate_size,
        f"{kind}.attention.head_count": config.num_attention_heads,
        f"{kind}.attention.head_count_kv": config.num_key_value_heads,
        f"{kind}.attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        f"{kind}.rope.freq_base": float(config.rope_parameters["rope_theta"]),
        f"{kind}.vocab_size": config.vocab_size,
    }


def _tokenizer(folder: Path, splitting: str) -> dict[str, object]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    special = set(tokenizer.all_special_tokens)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": splitting,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [_CONTROL if token in special else _NORMAL for token in tokens],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
        "tokenizer.ggml.bos_token_id": tokenizer.bos_token_id,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_token_id,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": tokenizer.chat_template,
    }


def _add(writer: Any, name: str, value: object) -> None:
    if isinstance(value, bool):
        writer.add_bool(name, value)
    elif isinstance(value, int):
        writer.add_uint32(name, value)
    elif isinstance(value, float):
        writer.add_float32(name, value)
    elif isinstance(value, str):
        writer.add_string(name, value)
    else:
        writer.add_array(name, value)


def _tensors(folder: Path, config: Config) -> dict[str, Array]:
    """Every weight under the name that llama.cpp gives it; Llama's queries and keys in its order."""
    import gguf
    from safetensors.numpy import load_file

    kind = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[config.model_type]
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    found = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        n_heads = heads.get(name.split(".")[-2], 0)
        if config.model_type == "llama" and n_heads:
            weight = _as_pairs(weight, n_heads)
        found[names.get_name(name, try_suffixes=(".weight", ".bias"))] = np.ascontiguousarray(weight)
    return found


def _as_pairs(weight: Array, n_heads: int) -> Array:
    """Rows in the order of llama.cpp, which rotates neighbours where transformers rotates halves."""
    halves = weight.reshape(n_heads, 2, len(weight) // n_heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)
