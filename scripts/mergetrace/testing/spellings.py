"""One model as several writers would store it: other names, other prefixes, other rows.
All keep every number.

Take these where two models must be recognised as the same architecture although their
files look different: `llama` is the model, the others are ways to store it.
"""

import re

import torch

from mergetrace.testing.planting import Tensors

LAYERS = 3
HEADS = 4
SHARED = 2
HEAD = 16
HIDDEN = 64
WIDE = 96
VOCABULARY = 256
CONFIG = {
    "num_attention_heads": HEADS,
    "num_key_value_heads": SHARED,
    "head_dim": HEAD,
    "hidden_size": HIDDEN,
    "tie_word_embeddings": False,
}
PARAMS = {"n_heads": HEADS, "n_kv_heads": SHARED, "head_dim": HEAD, "dim": HIDDEN}
NATIVE = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "tok_embeddings",
    "model.norm": "norm",
    "lm_head": "output",
    "model.layers.": "layers.",
}


def llama(seed: int, shared: int = SHARED) -> Tensors:
    """Random weights of a plausible size under the names of transformers; shared: heads
    of k and v.
    """
    shapes = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (VOCABULARY, HIDDEN),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        rows = {"q": HEADS * HEAD, "k": shared * HEAD, "v": shared * HEAD}
        shapes |= {
            f"{at}self_attn.{part}_proj.weight": (count, HIDDEN)
            for part, count in rows.items()
        }
        shapes |= {
            f"{at}self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD),
            f"{at}mlp.down_proj.weight": (HIDDEN, WIDE),
        }
        shapes |= {
            f"{at}mlp.{part}_proj.weight": (WIDE, HIDDEN) for part in ("gate", "up")
        }
        shapes |= {
            f"{at}{norm}.weight": (HIDDEN,)
            for norm in ("input_layernorm", "post_attention_layernorm")
        }
    generator = torch.Generator().manual_seed(seed)
    noise = {
        name: torch.randn(shape, generator=generator) * 0.02
        for name, shape in shapes.items()
    }
    return {
        name: (tensor + 1 if "norm" in name else tensor).bfloat16()
        for name, tensor in noise.items()
    }


def native(model: Tensors) -> Tensors:
    """Mistral's own names, and its order of the rows of q and k: the inverse of
    transformers' conversion.
    """
    found = {}
    for name, tensor in model.items():
        own = name
        for theirs, mistral in NATIVE.items():
            own = own.replace(theirs, mistral)
        turns = re.search(r"\.w[qk]\.", own)
        found[own] = (
            tensor.view(-1, 2, HEAD // 2, tensor.shape[1])
            .transpose(1, 2)
            .reshape(tensor.shape)
            if turns
            else tensor.contiguous()
        )
    return found


def fused(
    model: Tensors,
    qkv: str = "self_attn.qkv_proj",
    gate_up: str | None = "mlp.gate_up_proj",
) -> Tensors:
    """q above k above v, and gate above up, as Phi-3 stores them."""
    return _joined(model, qkv, lambda q, k, v: torch.cat([q, k, v]), gate_up)


def grouped(model: Tensors, qkv: str = "self_attn.query_key_value") -> Tensors:
    """Each head of k and v after the heads of q that share it, as GPT-NeoX, Falcon and
    InternLM2 store them.
    """

    def take_turns(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        count = k.shape[0] // HEAD
        cols = q.shape[1]
        parts = [
            q.view(count, -1, HEAD, cols),
            k.view(count, 1, HEAD, cols),
            v.view(count, 1, HEAD, cols),
        ]
        return torch.cat(parts, 1).reshape(-1, cols)

    return _joined(model, qkv, take_turns, None)


def renamed(model: Tensors, *pairs: tuple[str, str]) -> Tensors:
    """Regular expressions replaced in every name."""
    found = {}
    for name, tensor in model.items():
        own = name
        for pattern, replacement in pairs:
            own = re.sub(pattern, replacement, own)
        found[own] = tensor
    return found


def _joined(model: Tensors, qkv: str, join, gate_up: str | None) -> Tensors:
    found = dict(model)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        parts = [found.pop(f"{at}self_attn.{part}_proj.weight") for part in "qkv"]
        found[f"{at}{qkv}.weight"] = join(*parts).contiguous()
        if gate_up:
            found[f"{at}{gate_up}.weight"] = torch.cat(
                [found.pop(f"{at}mlp.{part}_proj.weight") for part in ("gate", "up")]
            )
    return found
