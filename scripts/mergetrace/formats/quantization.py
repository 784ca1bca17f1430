"""What a model's configuration says of how its weights were quantised. Claims of
strangers: bounded, and never needed to be true.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

MOST = 40  # characters of a claim
PLACES = ("quantization_config", "compression_config", "quantization")
INSIDE = ("text_config", "llm_config", "language_config", "thinker_config")
BITS_KEYS = ("bits", "w_bit", "nbits", "num_bits", "weight_bits", "wbits")


def quantization(
    raw: Mapping[str, Any], beside: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """What is said of the weights: {method, bits, format, scale_format, experts,
    block}, each None where nothing is; None where nothing at all is.

    raw: config.json (or Mistral's params.json) as parsed; beside: hf_quant_config.json, where ModelOpt's older exports say it.
    block: rows and columns of the weights that share a scale. bits: of one weight.
    """
    said = next(_said(raw), None) or next(_said(beside or {}), None)
    if said is None:
        return None
    groups = list(_groups(said))
    method = _method(said)
    formats = (
        said.get(key) for key in ("fmt", "format", "quant_algo", "qformat_weight")
    )
    facts = {
        "method": method,
        "bits": _bits(said, groups),
        "format": next((text for text in map(_text, formats) if text), None),
        "scale_format": (
            _text(said.get("scale_fmt"))
            or ("ue8m0" if "mxfp8" in (method or "") else None)
        ),
        "experts": _text(raw.get("expert_dtype")) or _text(said.get("expert_dtype")),
        "block": _block(said, groups),
    }
    return facts if any(value is not None for value in facts.values()) else None


def _said(raw: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for outer in (
        raw,
        *(raw[name] for name in INSIDE if isinstance(raw.get(name), dict)),
    ):
        for place in PLACES:
            if isinstance(outer.get(place), dict) and outer[place]:
                yield outer[place]


def _groups(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What compressed-tensors says of the weights, group by group of layers."""
    groups = said.get("config_groups")
    for group in list(groups.values())[:100] if isinstance(groups, dict) else ():
        if isinstance(group, dict) and isinstance(group.get("weights"), dict):
            yield group["weights"]


def _method(said: Mapping[str, Any]) -> str | None:
    method = next(
        (
            text
            for key in ("quant_algo", "quant_method", "qformat_weight")
            if (text := _text(said.get(key)))
        ),
        None,
    )
    if method is None and "bits" in said and "group_size" in said:
        return "mlx"  # writes these two and no method
    return method


def _bits(said: Mapping[str, Any], groups: list[Mapping[str, Any]]) -> float | None:
    inner = (
        said.get("quant_config") if isinstance(said.get("quant_config"), dict) else {}
    )
    weights = (
        inner.get("weight_quant_params")
        if isinstance(inner.get("weight_quant_params"), dict)
        else {}
    )
    for place in (said, weights):
        for key in BITS_KEYS:
            if _is_bits(place.get(key)):
                return float(place[key])
    for key, bits in (
        ("load_in_4bit", 4.0),
        ("_load_in_4bit", 4.0),
        ("load_in_8bit", 8.0),
        ("_load_in_8bit", 8.0),
    ):
        if said.get(key) is True:
            return bits
    found = {
        float(group["num_bits"]) for group in groups if _is_bits(group.get("num_bits"))
    }
    if len(found) == 1:
        return found.pop()
    written = re.search(
        r"(?:^|[^a-z0-9])(?:w|int|uint|nv_?fp|mx_?fp|fp)([2-8])(?![0-9])",
        f"{said.get('quant_algo')} {said.get('weights')}".lower(),
    )
    return float(written[1]) if written else None


def _block(
    said: Mapping[str, Any], groups: list[Mapping[str, Any]]
) -> list[int] | None:
    if is_block_size(said.get("weight_block_size")):
        return said["weight_block_size"]
    found = []
    for group in groups:
        block = group.get("block_structure")
        if isinstance(block, str) and (
            sizes := re.fullmatch(r"(\d{1,7})x(\d{1,7})", block)
        ):
            block = [int(size) for size in sizes.groups()]
        if not is_block_size(block) and group.get("strategy") in (
            "group",
            "tensor_group",
        ):
            block = [1, group.get("group_size")]
        found.append(block)
    return (
        found[0]
        if found
        and is_block_size(found[0])
        and all(block == found[0] for block in found)
        else None
    )


def is_block_size(value: Any) -> bool:
    """Whether this is two sizes of a block."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(v) is int and 0 < v <= 2**20 for v in value)
    )


def _is_bits(value: Any) -> bool:
    return type(value) in (int, float) and 1 <= value <= 16


def _text(value: Any) -> str | None:
    return (
        value[:MOST].lower().encode("utf-8", "replace").decode()
        if isinstance(value, str) and value
        else None
    )
