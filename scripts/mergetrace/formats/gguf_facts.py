"""What a GGUF file says of its model, as a configuration and a card would say it."""

from collections.abc import Collection, Mapping
from typing import Any

from mergetrace.files.gguf_header import Fact
from mergetrace.formats.heads import heads_of
from mergetrace.formats.model_config import ModelConfig, fact

ARCHITECTURE = "general.architecture"
HEAD = "output.weight"
MAX_DECLARED_PARENTS = 100
HUB = "https://huggingface.co/"
_HEADS = {
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "embedding_length": "hidden_size",
}
FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    25: "IQ4_NL",
    30: "IQ4_XS",
    32: "BF16",
}


def gguf_config(facts: Mapping[str, Fact], tensors: Collection[str]) -> ModelConfig:
    """The facts of a configuration. tensors: the names of the model's own; without a
    head of its own the head is the embedding.
    """
    architecture = _text(facts, ARCHITECTURE)
    stated: dict[str, Any] = {}
    for key, name in _HEADS.items():
        stated[name] = facts.get(f"{architecture}.{key}")
    return ModelConfig(
        model_type=architecture,
        tie_word_embeddings=HEAD not in tensors,
        heads=heads_of(stated, {}),
    )


def declared_parents(facts: Mapping[str, Fact]) -> list[str] | None:
    """The models that the file says it was made from; None where it says nothing."""
    count = facts.get("general.base_model.count", 0)
    if type(count) is not int or not 0 < count <= MAX_DECLARED_PARENTS:
        return None
    parents = []
    for number in range(count):
        own = f"general.base_model.{number}."
        place = (_text(facts, own + "repo_url") or "").removeprefix(HUB)
        name = _text(facts, own + "name")
        owner = _text(facts, own + "organization")
        said = place or (f"{owner}/{name}" if owner and name else name)
        if said:
            parents.append(said)
    return parents or None


def declared_license(facts: Mapping[str, Fact]) -> str | None:
    """The licence that the file states."""
    return _text(facts, "general.license")


def quantisation_notes(facts: Mapping[str, Fact]) -> list[str]:
    """What the file says of how it was quantised, a clause each."""
    notes = []
    kind = facts.get("general.file_type")
    if type(kind) is int:
        named = FILE_TYPES.get(kind, f"number {kind}")
        notes.append(f"it is a GGUF file of type {named}")
    by = _text(facts, "general.quantized_by")
    if by:
        notes.append(f"its file says that it was quantised by {by}")
    if any(key.startswith("quantize.imatrix.") for key in facts):
        notes.append("its file says that an importance matrix chose its scales")
    return notes


def chat_template(facts: Mapping[str, Fact]) -> str | None:
    """The chat template in the file."""
    template = facts.get("tokenizer.chat_template")
    return template if isinstance(template, str) else None


def _text(facts: Mapping[str, Fact], key: str) -> str | None:
    value = facts.get(key)
    return fact(value) if isinstance(value, str) and value else None
