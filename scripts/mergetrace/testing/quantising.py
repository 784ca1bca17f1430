"""Models quantised as people publish them: FP8 with scales of every layout.

Take `in_fp8` and `meaning` for one matrix and the numbers that it stands for,
`model_in_fp8` for a whole model. Packed formats (GPTQ, NF4, MXFP4) are made by
benchmarks.openworld.packing.
"""

import torch

from mergetrace.testing.planting import Tensors

E4M3 = torch.float8_e4m3fn
E5M2 = torch.float8_e5m2
E8M0 = torch.float8_e8m0fnu
LARGEST = {E4M3: 448.0, E5M2: 57344.0}
BLOCKS = {
    "tensor": lambda rows, cols: (rows, cols),
    "row": lambda rows, cols: (1, cols),
    "column": lambda rows, cols: (rows, 1),
    "group": lambda rows, cols: (1, 32),
    "block": lambda rows, cols: (128, 128),
}
"""The layouts of scales: how many rows and columns of a matrix [rows, cols] share one."""


def in_fp8(
    weight: torch.Tensor,
    layout: str,
    dtype: torch.dtype = E4M3,
    scale_dtype: torch.dtype = torch.float32,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise a matrix [rows, cols]: its codes, and their scales [rows / high, cols /
    wide] for blocks of BLOCKS[layout], in which the largest number of each block fits
    just so. With E8M0 scales are powers of two.
    """
    rows, cols = weight.shape
    high, wide = BLOCKS[layout](rows, cols)
    codes = torch.empty(rows, cols, dtype=dtype)
    scales = torch.empty(-(-rows // high), -(-cols // wide), dtype=scale_dtype)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            place = slice(i * high, (i + 1) * high), slice(j * wide, (j + 1) * wide)
            wanted = weight[place].float().abs().max().clamp(min=1e-12) / LARGEST[dtype]
            if scale_dtype == E8M0:
                wanted = 2.0 ** torch.ceil(torch.log2(wanted))
            scales[i, j] = wanted.to(scale_dtype)
            quotient = weight[place].float() / scales[i, j].float()
            codes[place] = quotient.clamp(-LARGEST[dtype], LARGEST[dtype]).to(dtype)
    return codes, scales


def meaning(codes: torch.Tensor, scales: torch.Tensor, layout: str) -> torch.Tensor:
    """What codes and scales stand for, float64."""
    high, wide = BLOCKS[layout](*codes.shape)
    spread = scales.double().repeat_interleave(high, 0).repeat_interleave(wide, 1)
    return codes.double() * spread[: codes.shape[0], : codes.shape[1]]


def model_in_fp8(
    tensors: Tensors,
    layout: str,
    ending: str = "_scale_inv",
    shape=None,
    **dtypes: torch.dtype,
) -> Tensors:
    """A model whose projections are FP8. ending: of the scale's name, put where
    `.weight` ends, or in its place if it starts with a dot. shape: how the scales are
    shaped in the file, a function of the scales.
    """
    found = {}
    for name, tensor in tensors.items():
        if not name.endswith("_proj.weight"):
            found[name] = tensor
            continue
        codes, scales = in_fp8(tensor, layout, **dtypes)
        stem = name.removesuffix(".weight") if ending.startswith(".") else name
        if shape is not None:
            scales = shape(scales)
        found[name] = codes
        found[stem + ending] = scales.contiguous()
    return found
