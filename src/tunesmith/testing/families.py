"""A tiny random model of every architecture that transformers knows for one of our tasks.

A config is made small by the names of its entries: widths, heads, layers, experts, states, ranks. A short table
holds the exceptions of single families. The weights are those of the class that pretrains the family. So a task
finds the same as in a model from the Hub: a body, and another task's head or none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.models.auto_classes import AUTO_CLASSES
from tunesmith.testing.family_tokenizers import write_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunesmith.types import Config, JsonObject, Model, Tokenizer

TRIED_WITH = {
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForQuestionAnswering": "question-answering",
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForSeq2SeqLM": "text2text-generation",
    "AutoModelForMaskedLM": "fill-mask",
}
"""The task with which the families of an auto class are tried."""

_PRETRAINING = ("AutoModelForSeq2SeqLM", "AutoModelForMaskedLM", "AutoModelForCausalLM")
_IMAGES = "reads images"
_AUDIO = "reads sound"
_DRAFTS = "drafts tokens for another model"
LEFT_OUT = {
    "audioflamingo3": _AUDIO, "glmasr": _AUDIO, "granite_speech": _AUDIO, "granite_speech_plus": _AUDIO,
    "moshi": _AUDIO, "moss_transcribe_diarize": _AUDIO, "musicflamingo": _AUDIO, "musicgen": _AUDIO,
    "musicgen_melody": _AUDIO, "nemo_speechlm": _AUDIO, "qwen2_audio": _AUDIO, "qwen3_asr": _AUDIO,
    "seamless_m4t": _AUDIO, "seamless_m4t_v2": _AUDIO, "vibevoice_asr": _AUDIO, "voxtral": _AUDIO,
    "voxtral_realtime": _AUDIO, "whisper": _AUDIO,
    "dots3_note": _IMAGES, "emu3": _IMAGES, "fuyu": _IMAGES, "git": _IMAGES, "got_ocr2": _IMAGES,
    "layoutlmv2": _IMAGES, "layoutlmv3": _IMAGES, "lxmert": _IMAGES, "mllama": _IMAGES, "modernvbert": _IMAGES,
    "neomme": _IMAGES, "phi4_multimodal": _IMAGES, "trocr": _IMAGES, "ultravbert": _IMAGES,
    "qwen4_exp": "reads images too; its text part is `qwen4_exp_text`",
    "gemma3n": "needs the package timm; its text part is `gemma3n_text`",
    "gemma4_assistant": _DRAFTS, "gemma4_unified_assistant": _DRAFTS,
    "encoder-decoder": "two models of other families in one",
    "tapas": "reads tables", "perceiver": "reads bytes through a tokenizer of its own",
}  # fmt: skip
"""Families that are not tried, mostly since they read something else than text, each with the reason."""

POSITIONS = 160
"""Number of positions of the tiny models: above 128, since longer texts use other code for attention."""

_SIZES = {
    64: (
        "hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size", "word_embed_proj_dim", "lru_width",
        "pooler_hidden_size", "input_embedding_size", "output_embedding_size", "prediction_head_size", "d_latents",
        "dim_model_base", "attention_hidden_size", "cross_attention_hidden_size", "backbone_hidden_size",
        "embedding_dim", "ple_embed_dim", "true_hidden_size", "hidden_size_per_layer_input",
        "intermediate_size", "d_ff", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_hidden_size",
        "n_inner", "d_inner", "hidden_dim", "dff", "dim_ff", "feed_forward_size", "intermediate_size_mlp",
        "moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size", "rotary_emb_base",
        "expert_ffn_hidden_size", "dense_intermediate_size", "moe_shared_expert_intermediate_size",
        "shared_experts_intermediate_size", "kv_proj_dim", "q_proj_dim", "linear_d_model",
    ),
    32: ("intra_bottleneck_size", "embedding_rank", "entity_emb_size", "xpath_unit_hidden_size", "index_head_dim",
         "mamba_d_head", "mamba_head_dim", "mamba_headdim", "linear_head_dim", "router_hidden_size",
         "dim_bbox_sinusoid_emb_2d", "pronunciation_embed_dim", "shape_embed_dim", "prompt_mid_dim"),
    16: ("head_dim", "d_kv", "d_head", "dim_head", "kv_channels", "attention_head_size", "global_head_dim",
         "q_lora_rank", "kv_lora_rank", "v_head_dim", "qk_head_dim", "o_lora_rank", "adapter_rank", "hc_lowrank",
         "linear_key_head_dim", "linear_value_head_dim", "swa_head_dim", "attention_head_dim",
         "swa_v_head_dim", "chunk_size", "mamba_chunk_size", "sliding_window", "attention_window",
         "sliding_window_size", "local_attention", "window_size", "attention_window_size", "attention_chunk_size",
         "state_size", "ssm_state_size", "mamba_d_state", "laurel_rank", "rotary_dim",
         "lsh_attn_chunk_length", "local_attn_chunk_length", "local_radius", "d_rel", "gated_norm_rank",
         "segment_means_seq_len", "num_landmarks", "index_block_size",
         "num_hash_buckets", "ngram_vocab_size_base", "entity_vocab_size", "rel_extent", "global_block_size"),
    8: ("qk_rope_head_dim", "qk_nope_head_dim", "time_step_rank", "mamba_dt_rank", "n_mamba_heads",
        "mamba_n_heads",
        "mamba_num_heads", "num_hash", "block_size", "prompt_length", "num_global_tokens",
        "mem_len", "local_transformer_stride"),
    4: ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads", "attention_heads",
        "decoder_attention_heads", "num_encoder_attention_heads", "num_decoder_attention_heads",
        "linear_num_value_heads", "linear_num_heads", "swa_num_attention_heads", "num_self_attention_heads",
        "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "index_n_heads",
        "num_cross_attention_heads"),
    2: ("num_key_value_heads", "num_kv_heads", "num_hidden_layers", "n_layer", "n_layers", "num_layers",
        "encoder_layers", "decoder_layers", "num_encoder_layers", "num_decoder_layers", "num_experts_per_tok",
        "num_query_groups",
        "num_experts_per_token", "moe_topk", "moe_k", "linear_num_key_heads", "swa_num_key_value_heads",
        "num_feedforward_networks", "num_blocks", "num_layers_per_stack"),
    3: ("conv_kernel_size",),
    1: ("n_group", "topk_group", "n_groups", "n_shared_experts", "num_shared_experts", "num_expert_group",
        "moe_num_shared_experts", "first_k_dense_replace", "num_dense_layers", "num_nextn_predict_layers",
        "decoder_sparse_step", "encoder_sparse_step", "moe_layer_start_index",
        "moe_layer_end_index",
        "o_groups", "zero_expert_num"),
    POSITIONS: ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len",
                "max_encoder_position_embeddings",
                "max_decoder_position_embeddings", "context_length", "tpu_short_seq_length", "model_max_length"),
}  # fmt: skip
_SIZE_OF = {name: size for size, names in _SIZES.items() for name in names}
# Entries that are None in some default configs.
_UNSTATED = {"head_dim": 16, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2}
_LISTS = (
    "layer_types",
    "mlp_layer_types",
    "layers_block_type",
    "block_types",
    "attn_layers",
    "indexer_types",
)
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")

OVERRIDES: dict[str, JsonObject] = {
    "bamba": {"mamba_d_head": 16, "attn_layer_indices": [1]},
    "granitemoehybrid": {"mamba_d_head": 16, "layer_types": ["linear_attention", "full_attention"]},
    "mistral4": {"head_dim": 16},
    "mobilebert": {"true_hidden_size": 32},
    "xlstm": {"qk_dim_factor": 1.0},
    "xmod": {"default_language": "en_XX"},
    "lilt": {"hidden_size": 96},
    "hrm_text": {"num_hidden_layers": 16},
    "jamba": {"attn_layer_offset": 1, "attn_layer_period": 2, "expert_layer_offset": 1},
    "falcon_h1": {"mamba_d_head": 16, "mamba_d_ssm": 128},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "blt": {"encoder_hash_byte_group_vocab": 64},
    "esmc": {"num_key_value_heads": 4},
    "dots3_note_text": {"num_key_value_heads": 4},
    "cohere_compass_text": {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
            for kind in ("sliding_attention", "full_attention")
        }
    },
    "dots1": {"num_local_experts": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp_text": {
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 512,
        "indexer_compress_ratio": 4,
    },
    "zamba2": {"mamba_headdim": 16, "attention_hidden_size": 128, "attention_head_dim": 32},
    "zamba": {
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "num_hidden_layers": 3,
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 64, "hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "activation_sparsity_pattern": [0.95, 0.0, 0.0, 0.0],
        "intermediate_size": [64] * 4,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "reformer:AutoModelForCausalLM": {"is_decoder": True},
    "reformer": {"axial_pos_embds_dim": [16, 48], "axial_pos_shape": [16, 10]},
}
"""Entries that cannot be derived from their names, by family."""


def families() -> dict[str, tuple[str, ...]]:
    """Every family of text models, with the auto classes that support it."""
    from transformers.models.auto import modeling_auto

    found: dict[str, list[str]] = {}
    for auto_class, known in AUTO_CLASSES.items():
        for family in getattr(modeling_auto, f"{known.table}_MAPPING_NAMES"):
            if family not in LEFT_OUT:
                found.setdefault(family, []).append(auto_class)
    return {family: tuple(found[family]) for family in sorted(found)}


def write_family(folder: Path, family: str, *, auto_class: str = "", seed: int = 0) -> Path:
    """Writes a tiny model of a family with random weights, and a tokenizer of its kind.

    Args:
        folder: folder to write to.
        family: family, as `model_type` in config.json.
        auto_class: auto class that will load the model; if it adds a head, the files do not have this head.
        seed: random seed of the weights.
    """
    import torch

    tokenizer = write_tokenizer(folder, family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make_model(tiny_config(family, tokenizer, auto_class), auto_class)
        _spread(model)
    model.save_pretrained(folder)
    return folder


def make_model(config: Config, auto_class: str = "") -> Model:
    """A model with random weights, of the class that pretrains its family, preferably `auto_class`."""
    import transformers
    from transformers.models.auto import modeling_auto

    for name in sorted(_PRETRAINING, key=lambda name: name != auto_class):
        table = getattr(modeling_auto, f"{AUTO_CLASSES[name].table}_MAPPING_NAMES")
        if config.model_type in table:
            return getattr(transformers, name).from_config(config)
    return transformers.AutoModel.from_config(config)


def tiny_config(family: str, tokenizer: Tokenizer, auto_class: str = "") -> Config:
    """The small config of a family, with the special tokens of the tokenizer."""
    from transformers import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[family]
    override = OVERRIDES.get(family, {}) | OVERRIDES.get(f"{family}:{auto_class}", {})
    made = _shrunk(config_class, len(tokenizer), override)
    for name, value in _special_tokens(config_class(), tokenizer).items():
        made[name] = value
    return config_class(**{**made, **override})


def _shrunk(config_class: type[Config], vocab_size: int, override: JsonObject) -> JsonObject:
    default = config_class()
    given = default.to_dict()
    kinds = _layer_kinds(given)
    n_layers = max(2, len(kinds))
    small: JsonObject = {}
    for name, value in given.items():
        if name in override:
            continue
        changed = _small_value(name, value, vocab_size, kinds, n_layers)
        if changed is not None:
            small[name] = changed
    if (
        "kv_lora_rank" in given and "num_key_value_heads" in given
    ):  # one compressed key-value head for all heads
        small |= {
            "num_key_value_heads": small.get("num_attention_heads", 4),
            "head_dim": _SIZE_OF["qk_rope_head_dim"],
        }
    for name in getattr(default, "sub_configs", {}):
        part = getattr(default, name, None)
        if part is not None and name not in override:
            small[name] = _shrunk(type(part), vocab_size, {}) | {"model_type": type(part).model_type}
    return small


def _small_value(
    name: str, value: object, vocab_size: int, kinds: list[int], n_layers: int
) -> int | list[object] | None:
    if value is None:
        return {**_UNSTATED, "vocab_size": vocab_size}.get(name)
    if isinstance(value, bool) or name == "type_vocab_size":
        return None
    if name not in _SIZE_OF and (name.endswith("vocab_size") or name == "vocab_size_per_layer_input"):
        return vocab_size
    if name in _LISTS and isinstance(value, (list, tuple)):
        return [value[i] for i in _padded(kinds, n_layers, len(value))]
    if name in _LAYERS and isinstance(value, int):
        return n_layers
    if name in _SIZE_OF and isinstance(value, (int, float)):
        return min(_SIZE_OF[name], int(value)) if name != "num_hidden_layers" else n_layers
    if name in _SIZE_OF and isinstance(value, (list, tuple)) and value and isinstance(value[0], int):
        return [_SIZE_OF[name]] * n_layers
    return None


def _layer_kinds(given: JsonObject) -> list[int]:
    """The first layer of each kind, if the config lists the kinds of its layers."""
    lists = [given[name] for name in _LISTS if isinstance(given.get(name), (list, tuple)) and given[name]]
    if not lists:
        return []
    length = min(map(len, lists))
    seen: dict[tuple[str, ...], int] = {}
    for i in range(length):
        seen.setdefault(tuple(str(one[i]) for one in lists), i)
    return sorted(seen.values())


def _padded(kinds: list[int], n_layers: int, length: int) -> list[int]:
    return [*kinds, *[kinds[-1]] * (n_layers - len(kinds))] if kinds else list(range(min(n_layers, length)))


_ROLES = ("pad", "bos", "eos", "cls", "sep", "mask", "unk")


def _special_tokens(default: Config, tokenizer: Tokenizer) -> JsonObject:
    """The special token ids of the tokenizer, for the config's entries."""
    given = default.to_dict()
    of_role = {role: getattr(tokenizer, f"{role}_token_id", None) for role in _ROLES}
    made: JsonObject = {}
    for name, value in given.items():
        if not name.endswith(("_token_id", "_token_index", "_index")) or isinstance(value, bool):
            continue
        role = name.removesuffix("_token_id").removesuffix("_index")
        if role in of_role:
            made[name] = of_role["eos" if of_role[role] is None and value is not None else role]
        elif name == "decoder_start_token_id":
            made[name] = _same_role(value, given, of_role)
        elif isinstance(value, int) and value >= len(tokenizer):
            made[name] = len(tokenizer) - 1
    if given.get("is_encoder_decoder") and "decoder_start_token_id" not in made:
        made["decoder_start_token_id"] = of_role["pad"]
    for name in ("forced_eos_token_id", "forced_bos_token_id"):
        if given.get(name) is not None:
            made[name] = of_role["eos" if "eos" in name else "bos"]
    if isinstance(given.get("eos_token_id"), list):
        made["eos_token_id"] = [of_role["eos"]]
    return made


def _same_role(value: object, given: JsonObject, of_role: Mapping[str, int | None]) -> int | None:
    """The tokenizer's token with the role of the default config's decoder start token."""
    for role in ("pad", "bos", "eos"):
        if value is not None and given.get(f"{role}_token_id") == value and of_role[role] is not None:
            return of_role[role]
    return of_role["pad"] if of_role["pad"] is not None else of_role["eos"]


def _spread(model: Model) -> None:
    """Makes the weights large enough that the outputs differ from text to text."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            is_even = parameter.dim() < 2 or not parameter.is_floating_point() or bool((parameter == 1).all())
            if not is_even and float(parameter.std()) < 0.08:
                parameter.normal_(0.0, 0.08)


def read_config(folder: Path) -> JsonObject:
    """The content of config.json."""
    content: JsonObject = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return content
