"""Weights as quantising tools store them: really quantised, so that what is packed is
what the model holds.

Every function takes a model by Hugging Face's names and returns the one that is
published. Formats are those of the tools' own documentation.
"""

import json
import re
from collections.abc import Callable

import torch

from mergetrace.numerics.levels import NORMAL_4
from mergetrace.testing.packing import halves, nearest
from mergetrace.testing.planting import Tensors

MATRIX = re.compile(r"layers\.\d+\..*_proj\.weight$")
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
GROUP = 32
FP8_LARGEST = 448.0


def every(
    tensors: Tensors,
    pack: Callable[[str, torch.Tensor], Tensors],
    pattern: re.Pattern = MATRIX,
) -> Tensors:
    """The model in which every matrix whose name matches is replaced by what `pack`
    makes of its stem (the name without `.weight`) and numbers.
    """
    found: Tensors = {}
    for name, tensor in tensors.items():
        found |= (
            pack(name.removesuffix(".weight"), tensor.float())
            if pattern.search(name)
            else {name: tensor}
        )
    return found


def gptq(tensors: Tensors, act_order: bool = False, seed: int = 0) -> Tensors:
    """GPTQ: qweight and qzeros (eight codes in an I32), scales (F16), g_idx; with
    act-order the groups lie scattered.
    """
    generator = torch.Generator().manual_seed(seed)

    def pack(stem: str, weight: torch.Tensor) -> Tensors:
        width = weight.shape[1]
        order = (
            torch.randperm(width, generator=generator)
            if act_order
            else torch.arange(width)
        )
        codes, scale, zero = four_bits(weight[:, order])
        stored = torch.empty_like(codes)
        groups = torch.empty(width, dtype=torch.int32)
        stored[:, order] = codes
        groups[order] = (torch.arange(width) // GROUP).int()
        parts = {
            "qweight": nibbles(stored).T,
            "qzeros": nibbles((zero.T.int() - 1) & 15),
            "scales": scale.T.half(),
            "g_idx": groups,
        }
        return {f"{stem}.{part}": tensor for part, tensor in parts.items()}

    return every(tensors, pack)


def gptq_of_nothing(tensors: Tensors, seed: int = 0) -> Tensors:
    """The shapes and dtypes of GPTQ around numbers drawn at random."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name.endswith((".qweight", ".qzeros")):
            return torch.randint(
                -(2**31), 2**31, tensor.shape, generator=generator
            ).int()
        return tensor

    return {name: drawn(name, tensor) for name, tensor in gptq(tensors).items()}


def awq(tensors: Tensors) -> Tensors:
    """AWQ: as GPTQ, packed along the outputs in an order of its own, without g_idx."""

    def pack(stem: str, weight: torch.Tensor) -> Tensors:
        codes, scale, zero = four_bits(weight)
        parts = {
            "qweight": nibbles(codes.T, AWQ_ORDER),
            "qzeros": nibbles(zero.T, AWQ_ORDER),
            "scales": scale.T.half(),
        }
        return {f"{stem}.{part}": tensor for part, tensor in parts.items()}

    return every(tensors, pack)


def nf4(tensors: Tensors, nested: bool = False) -> Tensors:
    """bitsandbytes' NF4: two codes in a byte, `[n / 2, 1]`, a largest number for 64 of
    them, and the state as JSON in bytes.
    """
    levels = torch.tensor(NORMAL_4)

    def pack(stem: str, weight: torch.Tensor) -> Tensors:
        blocks = weight.reshape(-1, 64)
        largest = blocks.abs().amax(dim=1)
        codes = nearest(blocks / largest[:, None], NORMAL_4).reshape(-1)
        state = {
            "quant_type": "nf4",
            "blocksize": 64,
            "dtype": "bfloat16",
            "shape": list(weight.shape),
        }
        name = f"{stem}.weight"
        found = {name: halves(codes, True)[:, None], f"{name}.quant_map": levels}
        if nested:
            mean = largest.mean()
            table = torch.linspace(-1, 1, 256)
            parts = (largest - mean).split(256)
            top = torch.stack([part.abs().max() for part in parts])
            spread = top.repeat_interleave(256)[: len(largest)]
            near = nearest((largest - mean) / spread, tuple(table.tolist()))
            found[f"{name}.absmax"] = near.to(torch.uint8)
            found[f"{name}.nested_absmax"] = top
            found[f"{name}.nested_quant_map"] = table
            state["nested_blocksize"] = 256
            state["nested_dtype"] = "float32"
            state["nested_offset"] = float(mean)
        else:
            found[f"{name}.absmax"] = largest
        found[f"{name}.quant_state.bitsandbytes__nf4"] = torch.tensor(
            list(json.dumps(state).encode()), dtype=torch.uint8
        )
        return found

    return every(tensors, pack)


def nf4_and_back(tensors: Tensors) -> Tensors:
    """The numbers that NF4 leaves, stored as bf16 again, as QLoRA's users merge
    into.
    """
    levels = torch.tensor(NORMAL_4)

    def back(stem: str, weight: torch.Tensor) -> Tensors:
        blocks = weight.reshape(-1, 64)
        largest = blocks.abs().amax(dim=1, keepdim=True)
        near = ((blocks / largest).reshape(-1, 1) - levels).abs().argmin(dim=1)
        return {
            f"{stem}.weight": (
                (levels[near].reshape(blocks.shape) * largest)
                .reshape(weight.shape)
                .bfloat16()
            )
        }

    return every(tensors, back)


def int8_rows(tensors: Tensors, scale: str = "SCB") -> Tensors:
    """I8 with a number for each row: bitsandbytes' LLM.int8() (`SCB`),
    compressed-tensors' W8A8 (`weight_scale`), Quanto.
    """

    def pack(stem: str, weight: torch.Tensor) -> Tensors:
        largest = weight.abs().amax(dim=1)
        codes = (weight / largest[:, None] * 127).round().to(torch.int8)
        if scale == "SCB":
            return {
                f"{stem}.weight": codes,
                f"{stem}.SCB": largest,
                f"{stem}.weight_format": torch.tensor(0, dtype=torch.uint8),
            }
        if scale == "quanto":
            return {
                f"{stem}.weight._data": codes,
                f"{stem}.weight._scale": (largest / 127)[:, None].bfloat16(),
            }
        return {
            f"{stem}.weight": codes,
            f"{stem}.weight_scale": (largest / 127)[:, None].bfloat16(),
        }

    return every(tensors, pack)


def compressed(tensors: Tensors) -> Tensors:
    """compressed-tensors' pack-quantized, symmetric: weight_packed (I32), weight_scale,
    weight_shape (I64).
    """

    def pack(stem: str, weight: torch.Tensor) -> Tensors:
        groups = weight.reshape(len(weight), -1, GROUP)
        scale = (groups.abs().amax(dim=2) / 7.5).clamp(min=1e-8).bfloat16()
        rounded = (groups / scale.float()[:, :, None]).round().clamp(-8, 7)
        codes = (rounded + 8).reshape(weight.shape).to(torch.uint8)
        shape = torch.tensor(weight.shape, dtype=torch.int64)
        return {
            f"{stem}.weight_packed": nibbles(codes),
            f"{stem}.weight_scale": scale,
            f"{stem}.weight_shape": shape,
        }

    return every(tensors, pack)


def mlx(tensors: Tensors) -> Tensors:
    """MLX: eight codes in a U32 under the weight's own name, scales and biases beside
    it; embeddings and head too.
    """

    def pack(stem: str, weight: torch.Tensor) -> Tensors:
        codes, scale, zero = four_bits(weight)
        packed = nibbles(codes).view(torch.uint32)
        return {
            f"{stem}.weight": packed,
            f"{stem}.scales": scale.bfloat16(),
            f"{stem}.biases": (-zero * scale).bfloat16(),
        }

    return every(tensors, pack, re.compile(r"_proj\.weight$|embed_tokens|lm_head"))


def nvfp4(tensors: Tensors) -> Tensors:
    """NVIDIA's FP4: two codes in a U8, an F8 scale for 16 of them, a second scale for
    all.
    """

    def pack(stem: str, weight: torch.Tensor) -> Tensors:
        blocks = weight.reshape(len(weight), -1, 16)
        whole = weight.abs().max() / (6 * FP8_LARGEST)
        scale = (blocks.abs().amax(dim=2) / 6 / whole).to(torch.float8_e4m3fn)
        codes = fp4(
            blocks / (scale.float() * whole)[:, :, None].clamp(min=1e-12)
        ).reshape(weight.shape)
        parts = {
            "weight": pairs(codes),
            "weight_scale": scale,
            "weight_scale_2": whole,
            "input_scale": torch.tensor(0.01),
        }
        return {f"{stem}.{part}": tensor for part, tensor in parts.items()}

    return every(tensors, pack)


def mxfp4(tensors: Tensors) -> Tensors:
    """gpt-oss: the experts of a layer together, gate and up rows in turn, as U8 blocks
    of 16 bytes and a U8 exponent for 32 numbers.
    """
    found = {
        name: tensor for name, tensor in tensors.items() if ".experts." not in name
    }
    found = {
        name.replace("mlp.gate.", "mlp.router."): tensor
        for name, tensor in found.items()
    }
    for prefix in layers_with_experts(tensors):
        numbers = sorted(
            {
                int(name.removeprefix(prefix).split(".")[0])
                for name in tensors
                if name.startswith(prefix)
            }
        )
        up = [
            stacked_in_turn(
                tensors[f"{prefix}{n}.gate_proj.weight"],
                tensors[f"{prefix}{n}.up_proj.weight"],
            )
            for n in numbers
        ]
        for part, experts in (
            ("gate_up_proj", up),
            ("down_proj", [tensors[f"{prefix}{n}.down_proj.weight"] for n in numbers]),
        ):
            whole = torch.stack(experts).float()
            blocks = whole.reshape(*whole.shape[:2], -1, 32)
            exponent = (
                torch.floor(torch.log2(blocks.abs().amax(dim=3).clamp(min=1e-30))) - 2
            )
            codes = fp4(blocks / torch.exp2(exponent)[..., None])
            found[f"{prefix}{part}_blocks"] = pairs(codes)
            found[f"{prefix}{part}_scales"] = (exponent + 127).to(torch.uint8)
            found[f"{prefix}{part}_bias"] = torch.zeros(
                whole.shape[:2], dtype=torch.bfloat16
            )
    return found


def fp8(
    tensors: Tensors,
    shape: str,
    suffix: str = ".weight_scale",
    dtype: torch.dtype = torch.float32,
) -> Tensors:
    """FP8 with scales for `tensor` (a scalar), `one` ([1]), `row` ([N, 1]), `rows`
    ([N]), `column` ([1, K]), `group` (1 x 128), `block` (128 x 128) or `block4` ([N /
    128, 1, K / 128, 1]), under the stem and `suffix`.
    """

    def pack(stem: str, weight: torch.Tensor) -> Tensors:
        rows, cols = weight.shape
        height, width = {
            "row": (1, cols),
            "rows": (1, cols),
            "column": (rows, 1),
            "group": (1, 128),
        }.get(shape, (128, 128))
        if shape in ("tensor", "one"):
            height = rows
            width = cols
        scale = largest_of_blocks(weight, height, width) / FP8_LARGEST
        if dtype == torch.float8_e8m0fnu:
            scale = torch.exp2(torch.ceil(torch.log2(scale)))
        scale = scale.to(dtype)
        spread = (
            scale.float()
            .repeat_interleave(height, 0)[:rows]
            .repeat_interleave(width, 1)[:, :cols]
        )
        lasting = {
            "tensor": (),
            "one": (1,),
            "rows": (-1,),
            "block4": (len(scale), 1, -1, 1),
        }.get(shape, scale.shape)
        return {
            f"{stem}.weight": (weight / spread).to(torch.float8_e4m3fn),
            f"{stem}{suffix}": scale.reshape(lasting),
        }

    return every(tensors, pack)


def fp8_of(tensors: Tensors, dtype: torch.dtype = torch.float8_e5m2) -> Tensors:
    """FP8 without any scale."""
    return every(tensors, lambda stem, weight: {f"{stem}.weight": weight.to(dtype)})


def four_bits(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes 0 to 15 [N, K], and scales and zero codes [N, K / GROUP]."""
    groups = weight.reshape(len(weight), -1, GROUP)
    low = groups.amin(dim=2).clamp(max=0)
    high = groups.amax(dim=2).clamp(min=0)
    scale = ((high - low) / 15).clamp(min=1e-8)
    zero = (-low / scale).round().clamp(0, 15)
    codes = (groups / scale[:, :, None] + zero[:, :, None]).round().clamp(0, 15)
    return codes.reshape(weight.shape).to(torch.uint8), scale, zero.to(torch.uint8)


def nibbles(
    codes: torch.Tensor, order: tuple[int, ...] = tuple(range(8))
) -> torch.Tensor:
    """Eight codes of a row in an I32; a row is filled up with zeros."""
    missing = -codes.shape[1] % 8
    wide = (
        torch.nn.functional.pad(codes, (0, missing)).long().reshape(len(codes), -1, 8)
    )
    packed = sum(
        wide[:, :, place] << (4 * position) for position, place in enumerate(order)
    )
    return torch.where(packed >= 2**31, packed - 2**32, packed).int()


def pairs(codes: torch.Tensor) -> torch.Tensor:
    """Two codes in a U8, the first in the low half."""
    return codes[..., ::2] | codes[..., 1::2] << 4


def fp4(numbers: torch.Tensor) -> torch.Tensor:
    """The nearest of the sixteen E2M1 numbers, as codes."""
    near = (numbers.abs()[..., None] - FP4).abs().argmin(dim=-1)
    return (near + 8 * (numbers < 0)).to(torch.uint8)


def largest_of_blocks(weight: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The largest size of a number in every block."""
    rows, cols = weight.shape
    padded = torch.nn.functional.pad(
        weight.abs(), (0, -cols % width, 0, -rows % height)
    )
    return (
        padded.reshape(
            padded.shape[0] // height, height, padded.shape[1] // width, width
        )
        .amax(dim=(1, 3))
        .clamp(min=1e-12)
    )


def layers_with_experts(tensors: Tensors) -> list[str]:
    """What the names of every layer's experts begin with."""
    return sorted(
        {
            match.group(1)
            for name in tensors
            if (match := re.match(r"(.*\.experts\.)\d+\.", name))
        }
    )


def stacked_in_turn(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Rows of the one and of the other in turn."""
    return torch.stack([first, second], dim=1).reshape(-1, first.shape[1])
