"""The facts of a model's configuration that are needed to read and to pair its weights.

A configuration is a stranger's text: what it says is bounded, and a file that is missing
or cannot be read gives no facts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mergetrace.files.strict_json import lenient
from mergetrace.formats.heads import Heads, heads_of
from mergetrace.formats.quantization import (
    Quantization,
    block_size,
    quantization,
    quantization_from_json,
)

MAX_CONFIG_BYTES = 16 * 2**20
MAX_FACT_LENGTH = 200  # characters
MAX_ARCHITECTURES = 10


@dataclass(frozen=True)
class ModelConfig:
    """What a model's configuration says; None where it says nothing."""

    architectures: tuple[str, ...] = ()  # classes of transformers
    model_type: str | None = None
    tie_word_embeddings: bool | None = None  # whether the head is the embedding
    # rows and columns of FP8 weights that share a scale
    weight_block_size: tuple[int, int] | None = None
    quantization: Quantization | None = None
    heads: Heads = field(default_factory=Heads)
    # whether stacked MXFP4 is decoded: where a model beside it has the same in 16 bits
    opens_stacks: bool = False

    @property
    def kind(self) -> str | None:
        """The architectures for people, else the model type."""
        return ", ".join(self.architectures) or self.model_type

    def as_json(self) -> dict[str, Any]:
        """The facts as a manifest holds them."""
        facts = asdict(self)
        heads = facts.pop("heads")
        del facts["opens_stacks"]  # of an audit, not of a model
        return {**facts, **heads}


def config_from_json(facts: Mapping[str, Any]) -> ModelConfig:
    """The facts as a manifest holds them. One of an older version may lack some."""
    return ModelConfig(
        architectures=tuple(facts.get("architectures") or ()),
        model_type=facts.get("model_type"),
        tie_word_embeddings=facts.get("tie_word_embeddings"),
        weight_block_size=block_size(facts.get("weight_block_size")),
        quantization=quantization_from_json(facts.get("quantization")),
        heads=Heads(**{name: facts.get(name) for name in Heads.__dataclass_fields__}),
    )


def read_config(path: Path) -> ModelConfig:
    """The facts of a config.json, and of params.json and hf_quant_config.json beside it
    where it is silent. A file that is missing or cannot be read says nothing (see
    `parse_config`).
    """
    outer, _ = parse_config(path)
    params, _ = parse_config(path.with_name("params.json"))
    quantizer, _ = parse_config(path.with_name("hf_quant_config.json"))
    inner = outer.get("text_config")
    text: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    weights = quantization({**params, **outer}, quantizer)
    # transformers ties when either the outer or the text configuration says so
    tied = outer.get("tie_word_embeddings", text.get("tie_word_embeddings"))
    kind = outer.get("model_type")
    architectures = outer.get("architectures")
    if not isinstance(architectures, list):
        architectures = []
    return ModelConfig(
        architectures=tuple(
            fact(name)
            for name in architectures[:MAX_ARCHITECTURES]
            if isinstance(name, str)
        ),
        model_type=fact(kind) if isinstance(kind, str) else None,
        tie_word_embeddings=tied if isinstance(tied, bool) else None,
        weight_block_size=weights.block if weights else None,
        quantization=weights,
        heads=heads_of({**outer, **text}, params),
    )


def parse_config(path: Path) -> tuple[dict[str, Any], str | None]:
    """A configuration as loaders read it, and what is wrong with it in one clause (None:
    nothing). One that is missing or broken is empty.
    """
    unknown = "architecture, tied embeddings and block sizes are taken as unsaid"
    if not path.is_file():
        return {}, f"it holds no {path.name}: {unknown}"
    size = path.stat().st_size
    if size > MAX_CONFIG_BYTES:
        return {}, f"its {path.name} has {size} bytes and was not read: {unknown}"
    try:
        value = lenient(path.read_bytes())
    except ValueError as error:
        return {}, f"its {path.name} was not used, {error}: {unknown}"
    if not isinstance(value, dict):
        return {}, f"its {path.name} holds no object: {unknown}"
    return value, None


def fact(claim: str) -> str:
    """A claim as text that can be written down: cut, its lone surrogates replaced."""
    return claim[:MAX_FACT_LENGTH].encode("utf-8", "replace").decode("utf-8")
