"""Models of many architectures, as transformers writes them: is a merge found and made
again, is an innocent let go? python -m benchmarks.architectures [--only TYPE ...];
writes architectures.md.

Every architecture is built tiny, with random weights. Its donor, sibling and innocent
are the base with noise of their own in every tensor; the suspect is .6 x donor + .4 x
base, computed by torch and stored in bf16.
"""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from mergetrace.testing.audits import audit, rebuild
from mergetrace.testing.planting import Tensors

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
    "max_position_embeddings": 128,
}
GPT2 = {"n_embd": 64, "n_layer": 4, "n_head": 4, "vocab_size": 512}
WIDE = {"hidden_size": 64, "num_hidden_layers": 4, "vocab_size": 512}
FOUR = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
LOCAL = {"num_local_experts": 4}
ROUTED = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "topk_group": 1,
    "n_group": 1,
}
LATENT = ROUTED | {
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "first_k_dense_replace": 1,
}
SIZES: Mapping[str, Mapping[str, Any]] = {
    "apertus": {},
    "arcee": {},
    "bamba": {},
    "bert": SMALL | {"is_decoder": True},
    "bitnet": {},
    "bloom": {"hidden_size": 64, "n_layer": 4, "n_head": 4, "vocab_size": 512},
    "codegen": GPT2 | {"rotary_dim": 8},
    "cohere": {},
    "cohere2": {},
    "deepseek_v2": SMALL | LATENT,
    "deepseek_v3": SMALL | LATENT,
    "diffllama": {},
    "ernie4_5": {},
    "ernie4_5_moe": SMALL
    | {"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 64},
    "exaone4": {},
    "falcon": WIDE | {"num_attention_heads": 4},
    "falcon_h1": SMALL | {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_state": 16},
    "gemma": {},
    "gemma2": {},
    "gemma3_text": {},
    "glm": SMALL | {"pad_token_id": 0},
    "glm4": SMALL | {"pad_token_id": 0},
    "glm4_moe": SMALL | ROUTED,
    "gpt2": GPT2,
    "gpt_bigcode": GPT2,
    "gpt_neo": {
        "hidden_size": 64,
        "num_layers": 4,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 2]],
        "vocab_size": 512,
    },
    "gpt_neox": {},
    "gpt_oss": SMALL | LOCAL | {"num_experts_per_tok": 2},
    "gptj": GPT2 | {"rotary_dim": 8},
    "granite": {},
    "granitemoe": SMALL | LOCAL,
    "helium": {},
    "hunyuan_v1_dense": {},
    "jamba": SMALL
    | {
        "num_experts": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "mamba_d_state": 8,
    },
    "lfm2": {},
    "llama": {},
    "mamba": WIDE | {"state_size": 8},
    "mamba2": WIDE | {"state_size": 16, "num_heads": 8, "head_dim": 16, "n_groups": 1},
    "minimax": SMALL
    | LOCAL
    | {"layer_types": ["full_attention", "linear_attention"] * 2},
    "mistral": {},
    "mixtral": SMALL | LOCAL,
    "mpt": {"d_model": 64, "n_heads": 4, "n_layers": 4, "vocab_size": 512},
    "nemotron": {},
    "olmo": {},
    "olmo2": {},
    "olmoe": SMALL | FOUR,
    "opt": {
        "hidden_size": 64,
        "ffn_dim": 160,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "vocab_size": 512,
        "word_embed_proj_dim": 64,
    },
    "persimmon": {},
    "phi": {},
    "phi3": SMALL | {"pad_token_id": 0},
    "qwen2": {},
    "qwen2_moe": SMALL | FOUR | {"shared_expert_intermediate_size": 64},
    "qwen3": {},
    "qwen3_moe": SMALL | FOUR,
    "qwen3_next": SMALL
    | FOUR
    | {
        "shared_expert_intermediate_size": 64,
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
    },
    "recurrent_gemma": SMALL | {"lru_width": 64},
    "rwkv": WIDE | {"attention_hidden_size": 64},
    "seed_oss": {},
    "smollm3": SMALL | {"pad_token_id": 0},
    "stablelm": {},
    "starcoder2": {},
    "t5": {
        "d_model": 64,
        "d_ff": 160,
        "num_layers": 3,
        "num_heads": 4,
        "d_kv": 16,
        "vocab_size": 512,
    },
}
"""By architecture what makes it tiny; SMALL where nothing is said."""
WEIGHT = 0.6
NOISE = 0.1  # of the numbers' standard deviation
LEAST_NOISE = 0.002  # in tensors of ones or zeros, such as norms and biases


def main() -> None:
    """Audit every architecture and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SIZES, metavar="TYPE")
    chosen = parser.parse_args().only
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    rows = []
    for kind in chosen or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_row(kind, Path(folder)))
        print(rows[-1], flush=True)
    if not chosen:
        head = (
            f"`python -m benchmarks.architectures`, transformers"
            f" {transformers.__version__}.\n\n"
            "| architecture | tensors | a merge, .6 of the donor | made again, byte for"
            " byte | an innocent |\n|---|---:|---|---:|---|\n"
        )
        page = Path(__file__).with_suffix(".md")
        page.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")


def _row(kind: str, folder: Path) -> str:
    model = _model(kind)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    donor, sibling, own = (_noisy(base, seed) for seed in (1, 2, 3))
    models = {
        "base": base,
        "donor": donor,
        "sibling": sibling,
        "merge": _mixed(base, donor),
        "innocent": _mixed(base, own),
    }
    for name, tensors in models.items():
        model.load_state_dict(tensors)
        model.save_pretrained(folder / name)
    merge, again = _audited(folder, "merge")
    innocent, _ = _audited(folder, "innocent")
    parent = merge["parents"]["donor"]
    said = f"`{merge['verdict']}`, {parent['alpha']:.3f}" if parent["named"] else "-"
    same = f"{again['identical']} of {again['tensors']}"
    return f"| {kind} | {len(base)} | {said} | {same} | `{innocent['verdict']}` |"


def _model(kind: str) -> Any:
    """With random weights in bf16."""
    config = AutoConfig.for_model(kind, **(SIZES[kind] or SMALL))
    torch.manual_seed(0)
    which = AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM
    return which.from_config(config).to(torch.bfloat16)


def _noisy(base: Tensors, seed: int) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: _moved(tensor, generator) if tensor.is_floating_point() else tensor
        for name, tensor in base.items()
    }


def _moved(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    wide = tensor.float()
    spread = float(wide.std()) if wide.numel() > 1 else 0.0
    noise = torch.randn(wide.shape, generator=generator)
    return (wide + max(NOISE * spread, LEAST_NOISE) * noise).to(tensor.dtype)


def _mixed(base: Tensors, other: Tensors) -> Tensors:
    return {
        name: ((1 - WEIGHT) * tensor.float() + WEIGHT * other[name].float()).to(
            tensor.dtype
        )
        if tensor.is_floating_point()
        else tensor
        for name, tensor in base.items()
    }


def _audited(folder: Path, suspect: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its verdict.json, and its rebuild.json where a recipe was found."""
    folders = {name: folder / name for name in ("base", "donor", "sibling", suspect)}
    spec = {
        "suspect": suspect,
        "base": "base",
        "donors": ["donor"],
        "controls": ["sibling"],
    }
    out = folder / f"audit of {suspect}"
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        found = audit(out, folders, spec)
        again = {}
        if found["recipe"] is not None:
            parents = {name: folders[name] for name in ("base", "donor", suspect)}
            again = rebuild(out, parents, suspect)
    return found, again


if __name__ == "__main__":
    main()
