"""GGUF files for tests: models like Llama, converted and quantised as llama.cpp does it.

`shapes` are those of a tiny Llama whose rows are whole blocks of every format. Take
`write_gguf` for a model as a file, `quantised` for the bytes of one matrix. The simple
formats are quantised byte for byte as ggml's reference does; Q4_K and Q6_K choose
scales of their own, which is as good: what is tested holds whatever chose them.
"""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mergetrace.files.gguf_header import TYPES
from mergetrace.numerics.arrays import Array, Bytes
from mergetrace.numerics.gguf_blocks import GGUF_QUANTISERS, in_halves, nibbles
from mergetrace.tensors.gguf_names import from_gguf
from mergetrace.testing.planting import Tensors

HEADS, SHARED, HEAD, WIDTH = 4, 2, 64, 256
NUMBERS = {name: number for number, (name, _, _) in TYPES.items()}
FACTS: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.embedding_length": WIDTH,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": SHARED,
}
Rows = Array
"""float32 [rows, cols]."""


def shapes(layers: int = 2, vocabulary: int = 512) -> dict[str, tuple[int, ...]]:
    """The tensors of a tiny Llama, by Hugging Face's names."""
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, WIDTH)
    }
    for layer in range(layers):
        own = f"model.layers.{layer}."
        found |= {
            own + "self_attn.q_proj.weight": (HEADS * HEAD, WIDTH),
            own + "self_attn.k_proj.weight": (SHARED * HEAD, WIDTH),
            own + "self_attn.v_proj.weight": (SHARED * HEAD, WIDTH),
            own + "self_attn.o_proj.weight": (WIDTH, HEADS * HEAD),
            own + "mlp.gate_proj.weight": (2 * WIDTH, WIDTH),
            own + "mlp.up_proj.weight": (2 * WIDTH, WIDTH),
            own + "mlp.down_proj.weight": (WIDTH, 2 * WIDTH),
            own + "input_layernorm.weight": (WIDTH,),
            own + "post_attention_layernorm.weight": (WIDTH,),
        }
    return found | {"model.norm.weight": (WIDTH,)}


def llama(seed: int, dtype: torch.dtype = torch.bfloat16, layers: int = 2) -> Tensors:
    """A tiny Llama that is related to no other: sd 0.02, norms near 1."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes(layers).items():
        noise = torch.randn(shape, generator=generator) * 0.02
        tensors[name] = (noise + 1 if "norm" in name else noise).to(dtype)
    return tensors


def write_gguf(
    path: Path,
    tensors: Tensors,
    kind: str | Mapping[str, str],
    facts: Mapping[str, Any] | None = None,
    quantise: Callable[[Rows, str], Bytes] | None = None,
) -> Path:
    """Write a model of Hugging Face's names as llama.cpp converts it: matrices in the
    format `kind` (or in one for each GGUF name), the rest in F32, rows of q and k
    interleaved. facts: further ones. quantise: another quantiser.
    """
    own = _own_names(list(tensors))
    entries = []
    for name, tensor in tensors.items():
        values = np.ascontiguousarray(tensor.float().numpy())
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = interleaved(values)
        wanted = kind if isinstance(kind, str) else kind[own[name]]
        stored = wanted if values.ndim == 2 else "F32"
        data = (quantise or quantised)(values, stored)
        entries.append((own[name], stored, values.shape, bytes(data)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf_bytes(entries, {**FACTS, **(facts or {})}))
    return path


def interleaved(values: Array) -> Array:
    """Rows of q or k with the halves of each head as neighbours."""
    heads = values.reshape(-1, 2, HEAD // 2, values.shape[1])
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(values.shape)


def gguf_bytes(
    entries: list[tuple[str, str, tuple[int, ...], bytes]], facts: Mapping[str, Any]
) -> bytes:
    """A whole file. entries: name, type, shape (rows first) and bytes of each tensor."""
    head = [struct.pack("<4sIQQ", b"GGUF", 3, len(entries), len(facts))]
    for key, value in facts.items():
        head += [_text(key), _value(value)]
    offset = 0
    for name, kind, shape, data in entries:
        sizes = struct.pack(f"<{len(shape)}Q", *reversed(shape))
        head += [_text(name), struct.pack("<I", len(shape)), sizes]
        head.append(struct.pack("<IQ", NUMBERS[kind], offset))
        offset += len(_padded(data))
    return _padded(b"".join(head)) + b"".join(_padded(entry[3]) for entry in entries)


def quantised(values: Rows, kind: str) -> Bytes:
    """The blocks of a matrix in a format."""
    values = np.ascontiguousarray(values, np.float32)
    if kind == "F32":
        return values.reshape(-1).view(np.uint8)
    if kind == "F16":
        return values.astype(np.float16).reshape(-1).view(np.uint8)
    if kind == "BF16":
        tensor = torch.from_numpy(values).bfloat16().view(torch.int16)
        return tensor.numpy().reshape(-1).view(np.uint8)
    block = next(elements for name, elements, _ in TYPES.values() if name == kind)
    return QUANTISERS[kind](values.reshape(-1, block)).reshape(-1)


def _own_names(names: list[str]) -> dict[str, str]:
    """GGUF's names by Hugging Face's."""
    tails = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"]
    tails += ["ffn_down", "attn_norm", "ffn_norm"]
    gguf = ["token_embd.weight", "output_norm.weight", "output.weight"]
    layers = {name.split(".")[2] for name in names if ".layers." in name}
    gguf += [f"blk.{layer}.{tail}.weight" for layer in sorted(layers) for tail in tails]
    return {canonical: own for own, canonical in from_gguf(gguf).items()}


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        texts = b"".join(map(_text, value))
        return struct.pack("<IIQ", 9, 8, len(value)) + texts
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    return struct.pack("<II", 4, value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 32)


def _q4_k(x: Rows) -> Bytes:
    groups = x.reshape(len(x), 8, 32).astype(np.float64)
    least = np.maximum(-groups.min(2), 0)
    wide = (groups.max(2) + least) / 15
    d = (wide.max(1) / 63).astype(np.float16)
    dmin = (least.max(1) / 63).astype(np.float16)
    scales = _six(wide, d)
    minima = _six(least, dmin)
    step = (d.astype(np.float64)[:, None] * scales)[:, :, None]
    shift = (dmin.astype(np.float64)[:, None] * minima)[:, :, None]
    codes = np.rint((groups + shift) / np.where(step == 0, 1, step)).clip(0, 15)
    low = np.concatenate(
        [
            scales[:, :4] | scales[:, 4:] >> 4 << 6,
            minima[:, :4] | minima[:, 4:] >> 4 << 6,
        ],
        axis=1,
    )
    high = (scales[:, 4:] & 15) | (minima[:, 4:] & 15) << 4
    packed = nibbles(codes.reshape(len(x), 256).astype(np.uint8), 32)
    return np.concatenate([in_halves(d), in_halves(dmin), low, high, packed], axis=1)


def _six(numbers: Array, unit: Array) -> Bytes:
    """Numbers in units of one of each block, in six bits."""
    step = np.where(unit == 0, 1, unit.astype(np.float64))[:, None]
    return np.rint(numbers / step).clip(0, 63).astype(np.uint8)


def _q6_k(x: Rows) -> Bytes:
    groups = x.reshape(len(x), 16, 16).astype(np.float64)
    wide = np.abs(groups).max(2) / 31.5
    d = (wide.max(1) / 127).astype(np.float16)
    step = np.where(d == 0, 1, d.astype(np.float64))[:, None]
    scales = np.rint(wide / step).clip(0, 127).astype(np.int8)
    scaled = groups / np.where(scales == 0, 1, step * scales)[:, :, None]
    codes = (np.rint(scaled).clip(-32, 31) + 32).astype(np.uint8).reshape(len(x), 256)
    halves = codes.reshape(len(x), 2, 4, 32)
    low = nibbles((codes & 15), 64)
    high = halves >> 4 << np.array([0, 2, 4, 6], np.uint8)[:, None]
    top = np.bitwise_or.reduce(high, axis=2).reshape(len(x), 64)
    return np.concatenate([low, top, scales.view(np.uint8), in_halves(d)], axis=1)


QUANTISERS: dict[str, Callable[[Rows], Bytes]] = {
    **GGUF_QUANTISERS,
    "Q4_K": _q4_k,
    "Q6_K": _q6_k,
}
"""By format what makes blocks of float32 numbers [blocks, elements]."""
