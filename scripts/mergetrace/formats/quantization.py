"""What a model's configuration says of how its weights were quantised. Claims of
strangers: they are bounded in length, and nothing depends on their being true.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

MAX_CLAIM_LENGTH = 40  # characters
MAX_GROUPS = 100  # of layers that are quantised in one way
MAX_BLOCK_SIDE = 2**20  # weights
# Where configurations speak of quantisation, themselves or in what they wrap.
PLACES = ("quantization_config", "compression_config", "quantization")
WRAPPED_CONFIGS = ("text_config", "llm_config", "language_config", "thinker_config")
METHOD_KEYS = ("quant_algo", "quant_method", "qformat_weight")
FORMAT_KEYS = ("fmt", "format", "checkpoint_format", "quant_algo", "qformat_weight")
BITS_KEYS = ("bits", "w_bit", "nbits", "num_bits", "weight_bits", "wbits")
BITS_FLAGS = {
    "load_in_4bit": 4.0,
    "_load_in_4bit": 4.0,
    "load_in_8bit": 8.0,
    "_load_in_8bit": 8.0,
}
BITS_IN_NAME = re.compile(
    r"(?:^|[^a-z0-9])(?:w|int|uint|nv_?fp|mx_?fp|fp)([2-8])(?![0-9])"
)
BLOCK_STRUCTURE = re.compile(r"(\d{1,7})x(\d{1,7})")

Json = Mapping[str, Any]
"""An object of a configuration as it was parsed: anything may stand in it."""


@dataclass(frozen=True)
class Quantization:
    """What is said of the weights. Texts are in lower case; None where nothing is said."""

    method: str | None = None  # `gptq`, `fp8`
    bits: float | None = None  # of one weight
    format: str | None = None  # `e4m3`
    scale_format: str | None = None  # `ue8m0`
    experts: str | None = None  # the format of the experts, where it is another one
    block: tuple[int, int] | None = None  # rows, columns of weights that share a scale


def quantization(raw: Json, beside: Json | None = None) -> Quantization | None:
    """What a configuration says of the weights; None where it says nothing of them.

    raw: config.json (or Mistral's params.json) as parsed. beside: hf_quant_config.json,
    where older exports of ModelOpt say it.
    """
    statement = next(_statements(raw), None) or next(_statements(beside or {}), None)
    if statement is None:
        return None
    groups = list(_groups(statement))
    method = _method(statement)
    scale_format = _text(statement.get("scale_fmt"))
    if scale_format is None and "mxfp8" in (method or ""):
        scale_format = "ue8m0"
    facts = Quantization(
        method=method,
        bits=_bits(statement, groups),
        format=_first_text(statement, FORMAT_KEYS),
        scale_format=scale_format,
        experts=_text(raw.get("expert_dtype")) or _text(statement.get("expert_dtype")),
        block=_block(statement, groups),
    )
    return None if facts == Quantization() else facts


def quantization_from_json(value: Json | None) -> Quantization | None:
    """The facts as a manifest holds them."""
    if value is None:
        return None
    fields = {name: value.get(name) for name in Quantization.__dataclass_fields__}
    return Quantization(**fields | {"block": block_size(value.get("block"))})


def block_size(value: Any) -> tuple[int, int] | None:
    """Rows and columns of a block, None where the value is not two sizes that a block
    can have.
    """
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    if not all(type(side) is int and 0 < side <= MAX_BLOCK_SIDE for side in value):
        return None
    return value[0], value[1]


def _statements(raw: Json) -> Iterator[Json]:
    """The objects that speak of quantisation, those of the outer configuration first."""
    wrapped = [raw[name] for name in WRAPPED_CONFIGS if _is_object(raw.get(name))]
    for outer in (raw, *wrapped):
        for place in PLACES:
            if _is_object(outer.get(place)) and outer[place]:
                yield outer[place]


def _groups(statement: Json) -> Iterator[Json]:
    """What compressed-tensors says of the weights, group by group of layers."""
    groups = statement.get("config_groups")
    if not isinstance(groups, dict):
        return
    for group in list(groups.values())[:MAX_GROUPS]:
        if _is_object(group) and _is_object(group.get("weights")):
            yield group["weights"]


def _method(statement: Json) -> str | None:
    method = _first_text(statement, METHOD_KEYS)
    if method is None and "bits" in statement and "group_size" in statement:
        return "mlx"  # writes these two and no method
    return method


def _bits(statement: Json, groups: list[Json]) -> float | None:
    """The bits of one weight: of a key, a flag, all groups of layers, or of the name."""
    for place in (
        statement,
        _inner(_inner(statement, "quant_config"), "weight_quant_params"),
    ):
        for key in BITS_KEYS:
            if _is_bits(place.get(key)):
                return float(place[key])
    for key, bits in BITS_FLAGS.items():
        if statement.get(key) is True:
            return bits
    whole = [group for group in groups if group.get("type") != "float"]
    for some in (groups, whole):  # numbers in FP8 are no codes beside those of others
        of_groups = {
            group["num_bits"] for group in some if _is_bits(group.get("num_bits"))
        }
        if len(of_groups) == 1:
            return float(of_groups.pop())
    names = f"{statement.get('quant_algo')} {statement.get('weights')}"
    in_name = BITS_IN_NAME.search(names.lower())
    return float(in_name[1]) if in_name else None


def _block(statement: Json, groups: list[Json]) -> tuple[int, int] | None:
    """The block that shares a scale: as the statement says, or as all groups do."""
    of_all = block_size(statement.get("weight_block_size"))
    if of_all is None and _method(statement) == "mlx":
        of_all = block_size([1, statement.get("group_size")])
    if of_all is not None:
        return of_all
    blocks = {_block_of_group(group) for group in groups}
    return blocks.pop() if len(blocks) == 1 else None


def _block_of_group(group: Json) -> tuple[int, int] | None:
    structure = group.get("block_structure")
    if isinstance(structure, str):
        sides = BLOCK_STRUCTURE.fullmatch(structure)
        structure = [int(side) for side in sides.groups()] if sides else None
    block = block_size(structure)
    if block is None and group.get("strategy") in ("group", "tensor_group"):
        return block_size([1, group.get("group_size")])
    return block


def _inner(value: Json, key: str) -> Json:
    """An object within an object, empty where there is none."""
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_bits(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and 1 <= value <= 16


def _first_text(statement: Json, keys: tuple[str, ...]) -> str | None:
    texts = (_text(statement.get(key)) for key in keys)
    return next((text for text in texts if text), None)


def _text(value: Any) -> str | None:
    """A claim that can be written down: cut, in lower case, without lone surrogates."""
    if not isinstance(value, str) or not value:
        return None
    return value[:MAX_CLAIM_LENGTH].lower().encode("utf-8", "replace").decode()
