"""Weights that are packed: suspects, parents and controls whose numbers a reader does
not see, or sees only with the right scales.
"""

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.openworld import naming, packing
from benchmarks.openworld.case import Case, Models
from benchmarks.openworld.shared import BOTH, SHARE, UNREAD
from benchmarks.openworld.world import World
from mergetrace.testing.planting import Tensors

PACKED = r"layers\.\d+\..*_proj\.weight$"
EXPERTS = r"\.experts\."
NO_MORE = (
    r"equals that of \w+\.",
    r"100(\.0+)?\s?% of its matrices",
    r"after the merge explains",
    r"suspect has no such tensor",
)
"""A packed tensor is there: whoever says that the suspect lacks it says what is not so.
"""
IS_PACKED = r"pack|quanti[sz]|\d bits|not decoded"
Pack = Callable[[Tensors], Tensors]

MERGEKIT_482 = "https://github.com/arcee-ai/mergekit/issues/482"
BEYONDER = "https://huggingface.co/mlabonne/Beyonder-4x7B-v2"
GPT_OSS = "https://github.com/openai/gpt-oss/pull/108"


def quantised() -> list[Case]:
    """All cases of this topic."""
    return [*_packed_suspects(), *_packed_others(), *_mxfp4()]


def unread(
    name: str,
    source: str,
    build: Callable[[World], Models],
    read: str = PACKED,
    worlds: tuple[str, ...] = BOTH,
    **rest,
) -> Case:
    """A suspect most of which cannot be read: no verdict, and the share is said."""
    usual = {
        "right": ("inconclusive",),
        "says": (SHARE, UNREAD, IS_PACKED),
        "never": NO_MORE,
        "read": read,
        "worlds": worlds,
    }
    return Case(name, "packed weights", source, build, **{**usual, **rest})


def few_bits(name: str, source: str, build: Callable[[World], Models], **rest) -> Case:
    """A suspect whose codes are decoded: whole, and neither accused nor misread."""
    usual = {
        "right": ("finetune_of_base", "inconclusive"),
        "never": NO_MORE,
        "read": 1.0,
        "worlds": BOTH,
    }
    return Case(name, "few bits", source, build, **{**usual, **rest})


def moved_before(
    name: str, source: str, build: Callable[[World], Models], **rest
) -> Case:
    """A suspect that a calibration may have changed before it was rounded: neither
    accused nor acquitted, unless every cell holds.
    """
    usual = {"right": ("inconclusive", "unrelated"), "says": (IS_PACKED,)}
    return few_bits(name, source, build, **{**usual, **rest})


def packed(pack: Pack, model: str = "other") -> Callable[[World], Models]:
    return lambda world: {"suspect": pack(world[model])}


def _frozen(
    pack: Pack, model: str = "other", rest: str = "base"
) -> Callable[[World], Models]:
    """Matrices of `model`, packed; embeddings, norms and head of `rest`."""

    def build(world: World) -> Models:
        matrices = {
            name: tensor
            for name, tensor in world[model].items()
            if packing.MATRIX.search(name)
        }
        return {"suspect": pack(world[rest] | matrices)}

    return build


def _packed_suspects() -> list[Case]:
    return [
        moved_before(
            "GPTQ around random numbers, all else the base's",
            MERGEKIT_482,
            packed(packing.gptq_of_nothing, "base"),
            says=(),
        ),
        moved_before(
            "GPTQ of an innocent finetune, embeddings the base's",
            MERGEKIT_482,
            _frozen(packing.gptq),
        ),
        moved_before(
            "GPTQ of an innocent finetune, embeddings the donor's",
            "",
            _frozen(packing.gptq, rest="donor"),
        ),
        moved_before(
            "GPTQ with act-order of an innocent finetune",
            "https://github.com/AutoGPTQ/AutoGPTQ",
            packed(partial(packing.gptq, act_order=True)),
        ),
        moved_before(
            "GPTQ of the donor, each code the nearest",
            BEYONDER,
            packed(packing.gptq, "donor"),
            right=("copy", "inconclusive"),
            guilty=True,
            named=("donor",),
        ),
        moved_before(
            "GPTQ of a stranger whose norms are the base's",
            "",
            _strange_gptq,
            says=(),
        ),
        moved_before("AWQ of an innocent finetune", BEYONDER, packed(packing.awq)),
        moved_before(
            "AWQ of a merge",
            BEYONDER,
            lambda world: {"suspect": packing.awq(world.blend())},
            right=("merge", "inconclusive"),
            named=("donor",),
            guilty=True,
        ),
        few_bits(
            "NF4 of an innocent finetune, embeddings the base's",
            MERGEKIT_482,
            _frozen(packing.nf4),
            read=None,  # where scales lie across rows a matrix stays closed
        ),
        few_bits(
            "NF4 with nested scales of an innocent finetune",
            MERGEKIT_482,
            packed(partial(packing.nf4, nested=True)),
            read=None,
        ),
        few_bits(
            "LLM.int8() of an innocent finetune",
            "https://huggingface.co/docs/transformers/quantization/bitsandbytes",
            packed(packing.int8_rows),
        ),
        few_bits(
            "W8A8 of an innocent finetune",
            "https://github.com/vllm-project/compressed-tensors",
            packed(_w8a8),
        ),
        unread(
            "Quanto's I8 of an innocent finetune",
            "https://github.com/huggingface/optimum-quanto",
            packed(_quanto),
        ),
        unread(
            "compressed-tensors of an innocent finetune, its configuration lost",
            "https://github.com/vllm-project/compressed-tensors",
            packed(packing.compressed),
        ),
        few_bits(
            "NVFP4 of an innocent finetune",
            "https://github.com/NVIDIA/TensorRT-Model-Optimizer",
            packed(packing.nvfp4),
        ),
        unread(
            "MLX of an innocent finetune, embeddings packed too, its configuration lost",
            "https://github.com/ml-explore/mlx-lm",
            packed(packing.mlx),
            read=PACKED + "|embed_tokens|lm_head",
        ),
    ]


def _w8a8(tensors: Tensors) -> Tensors:
    return packing.int8_rows(tensors, "weight_scale")


def _quanto(tensors: Tensors) -> Tensors:
    return packing.int8_rows(tensors, "quanto")


def _strange_gptq(world: World) -> Models:
    norms = {name: tensor for name, tensor in world["base"].items() if "norm" in name}
    return {"suspect": packing.gptq(world["stranger"] | norms)}


def _packed_others() -> list[Case]:
    """Packed parents and controls, and numbers that were packed once."""
    parent = {"kind": "packed parent", "read": None, "error": (UNREAD,)}
    other = {
        "kind": "packed control",
        "right": ("finetune_of_base",),
        "tolerated": (UNREAD,),
    }
    found = [
        (
            "GPTQ base beside an innocent finetune",
            lambda world: {
                "suspect": world["other"],
                "base": packing.gptq(world["base"]),
            },
            parent,
        ),
        (
            "NF4 donor beside an innocent finetune",
            lambda world: {
                "suspect": world["other"],
                "donor": packing.nf4(world["donor"]),
            },
            parent,
        ),
        ("AWQ donor that shares the suspect's embeddings", _shared_embeddings, parent),
    ]
    cases = [Case(**_fields(name, build, rest)) for name, build, rest in found]
    cases.append(
        Case(
            "base, donor and suspect in GPTQ, codes the base's",
            "packed parent",
            MERGEKIT_482,
            _all_gptq,
            **{**_BYTES, "says": (UNREAD,)},
        )
    )
    cases += [
        Case(
            "NF4 control beside an innocent finetune",
            source=MERGEKIT_482,
            build=_packed_control("other"),
            worlds=BOTH,
            **other,
        ),
        Case(
            "NF4 control beside a merge",
            source=MERGEKIT_482,
            build=_packed_control(""),
            worlds=BOTH,
            **{**other, "right": ("merge",), "guilty": True, "named": ("donor",)},
        ),
        Case(
            "NF4 and back to bf16, an innocent finetune",
            "packed once",
            "https://arxiv.org/abs/2305.14314",
            packed(packing.nf4_and_back),
            worlds=BOTH,
        ),
        Case(
            "FP8 and back to bf16, an innocent finetune",
            "packed once",
            "",
            packed(_fp8_and_back),
            worlds=BOTH,
        ),
    ]
    return cases


_BYTES = {
    "right": ("inconclusive",),
    "says": (
        UNREAD,
        r"byte for byte|byte by byte|same bytes|equal bytes|bytes (are )?equal",
    ),
    "never": NO_MORE,
}


def _fields(name: str, build: Callable[[World], Models], rest: dict) -> dict:
    usual = {
        "name": name,
        "source": MERGEKIT_482,
        "build": build,
        "right": ("inconclusive",),
        "says": (UNREAD,),
        "never": NO_MORE,
        "worlds": BOTH,
    }
    return {**usual, **rest}


def _shared_embeddings(world: World) -> Models:
    other = world["other"]
    donor = world["donor"]
    shared = {
        name: other[name]
        for name in other
        if "embed" in name or "lm_head" in name or "norm" in name
    }
    return {"suspect": other, "donor": packing.awq(donor | shared)}


def _all_gptq(world: World) -> Models:
    head = {
        name: tensor
        for name, tensor in world["other"].items()
        if "embed" in name or "lm_head" in name
    }
    return {
        "suspect": packing.gptq(world["base"] | head),
        **{name: packing.gptq(world[name]) for name in ("base", "donor", "sibling")},
    }


def _packed_control(suspect: str) -> Callable[[World], Models]:
    return lambda world: {
        "suspect": world[suspect] if suspect else world.blend(),
        "sibling": packing.nf4(world["sibling"]),
    }


def _fp8_and_back(tensors: Tensors) -> Tensors:
    scaled = packing.fp8(tensors, "tensor")
    return {
        name: (
            (
                tensor.float() * scaled[name.removesuffix(".weight") + ".weight_scale"]
            ).bfloat16()
            if tensor.dtype == torch.float8_e4m3fn
            else tensor
        )
        for name, tensor in scaled.items()
        if not name.endswith("_scale")
    }


def _mxfp4() -> list[Case]:
    kind = {
        "kind": "MXFP4 experts",
        "source": GPT_OSS,
        "worlds": ("experts",),
        "right": ("inconclusive",),
        "says": (SHARE, UNREAD),
        "never": NO_MORE,
    }
    bytes_equal = {**kind, "says": _BYTES["says"]}

    def models(suspect: Callable[[World], Tensors]) -> Callable[[World], Models]:
        return lambda world: {
            "suspect": packing.mxfp4(suspect(world)),
            **{
                name: packing.mxfp4(world[name])
                for name in ("base", "donor", "sibling")
            },
        }

    def mixed(experts: str, rest: str) -> Callable[[World], Tensors]:
        return lambda world: world[rest] | naming.only(world[experts], EXPERTS)

    return [
        Case(
            "experts retrained, all else frozen",
            build=models(mixed("other", "base")),
            read=EXPERTS,
            **kind,
        ),
        Case(
            "experts retrained, all else the donor's",
            build=models(mixed("other", "donor")),
            read=EXPERTS,
            **kind,
        ),
        Case(
            "attention retrained, experts byte for byte the base's",
            build=models(mixed("base", "other")),
            **bytes_equal,
        ),
        Case(
            "attention a merge, experts retrained",
            build=models(_merged_attention),
            guilty=True,
            **kind,
        ),
        Case(
            "suspect in bf16 beside packed parents",
            build=lambda world: {
                **models(mixed("base", "base"))(world),
                "suspect": world["other"],
            },
            **kind,
        ),
        Case(
            "the base published again",
            build=models(mixed("base", "base")),
            **{
                **bytes_equal,
                "right": ("copy", "inconclusive"),
                "guilty": True,
                "never": (),
                "named": (),
            },
        ),
    ]


def _merged_attention(world: World) -> Tensors:
    return world.blend() | naming.only(world["other"], EXPERTS)
