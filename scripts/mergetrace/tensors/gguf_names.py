"""Hugging Face's names of the tensors of a GGUF file.

Written from the list of names in llama.cpp's documentation of the format; `blk.3.attn_q`
is a layer's q. What has no counterpart there keeps its own name and meets none.
"""

import re
from collections.abc import Collection

_LAYER = re.compile(r"^blk\.(\d{1,6})\.(.+)\.(weight|bias)$")
GGUF_QK = re.compile(r"^blk\.\d{1,6}\.attn_[qk]\.(?:weight|bias)$")
GGUF_NORM = re.compile(r"^(?:blk\.\d{1,6}\.\w*norm|output_norm)\.weight$")

OUTER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
TAILS = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_sinks": "self_attn.sinks",
    "attn_q_a": "self_attn.q_a_proj",
    "attn_q_b": "self_attn.q_b_proj",
    "attn_q_a_norm": "self_attn.q_a_layernorm",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_kv_b": "self_attn.kv_b_proj",
    "attn_kv_a_norm": "self_attn.kv_a_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.gate_proj",
    "ffn_up_exps": "mlp.experts.up_proj",
    "ffn_down_exps": "mlp.experts.down_proj",
}
SHARED_EXPERT = {
    "ffn_gate_shexp": "gate_proj",
    "ffn_up_shexp": "up_proj",
    "ffn_down_shexp": "down_proj",
}
ROUTER_OF_SHARED = "ffn_gate_inp_shexp"
FOUR_NORMS = ".post_ffw_norm."  # with it `ffn_norm` is the norm before the MLP

# Architectures whose rows of q and k the converter interleaves, as Mistral's own files
# have them: half rotations become neighbours.
INTERLEAVED = (
    "llama",
    "deci",
    "arcee",
    "baichuan",
    "granite",
    "granitemoe",
    "internlm2",
    "minicpm",
    "olmo",
    "smollm3",
    "xverse",
)
# Architectures of whose norms the converter stores one more.
PLUS_ONE = ("gemma", "gemma2", "gemma3", "nemotron")


def is_gguf(names: Collection[str]) -> bool:
    """Whether a model's tensors are called as in GGUF files."""
    return "token_embd.weight" in names or any(map(_LAYER.match, names))


def from_gguf(names: Collection[str]) -> dict[str, str]:
    """Hugging Face's names by the model's own, which are GGUF's."""
    four_norms = any(FOUR_NORMS in name for name in names)
    one_shared = any(f".{ROUTER_OF_SHARED}." in name for name in names)
    tails = dict(TAILS)
    if four_norms:
        tails["ffn_norm"] = "pre_feedforward_layernorm"
    module = "mlp.shared_expert" if one_shared else "mlp.shared_experts"
    tails |= {name: f"{module}.{part}" for name, part in SHARED_EXPERT.items()}
    tails[ROUTER_OF_SHARED] = "mlp.shared_expert_gate"
    return {name: _translated(name, tails) for name in names}


def _translated(name: str, tails: dict[str, str]) -> str:
    layer = _LAYER.match(name)
    if layer is None:
        stem, _, ending = name.rpartition(".")
        return f"{OUTER[stem]}.{ending}" if stem in OUTER else name
    number, tail, ending = layer.groups()
    canonical = tails.get(tail, tail)
    if tail.endswith("_exps"):
        return f"model.layers.{number}.{canonical}"
    return f"model.layers.{number}.{canonical}.{ending}"
