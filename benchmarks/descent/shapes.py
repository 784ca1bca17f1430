"""The families of the descent zoo: how large their models are, how hard they are
trained, which of them rules were tuned on.
"""

from typing import Any, NamedTuple


class Shape(NamedTuple):
    """An architecture of transformers with its sizes, and what one step of training
    takes.
    """

    architecture: str
    sizes: dict[str, Any]
    batch: int = 8
    width: int = 64  # pieces of text a step, and bytes of each


class Family(NamedTuple):
    """One birth: everything in a family descends from one base."""

    shape: str
    seed: int
    rate: float
    length: float = 1.0
    """Learning rate of what starts at another model, and how long it is trained, as a
    multiple of what members.py says.
    """
    few: bool = False
    """Whether only the members of members.FEW are trained."""

    @property
    def name(self) -> str:
        """As folders and cases are called."""
        return f"{self.shape}-{self.seed}"


_HEADS = {
    "vocab_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": 0,
}
SHAPES = {
    "dense": Shape(
        "Qwen3",
        _HEADS | {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 320},
    ),
    "tiny": Shape(
        "Qwen3",
        _HEADS | {"hidden_size": 128, "num_hidden_layers": 1, "intermediate_size": 256},
        batch=2,
        width=32,
    ),
    "deep": Shape(
        "Llama",
        _HEADS
        | {"hidden_size": 160, "num_hidden_layers": 5, "intermediate_size": 384}
        | {"num_attention_heads": 5, "num_key_value_heads": 5},
    ),
    "wide": Shape(
        "Llama",
        _HEADS
        | {"hidden_size": 512, "num_hidden_layers": 4, "intermediate_size": 1280}
        | {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64},
        batch=4,
    ),
    "moe": Shape(
        "Qwen3Moe",
        _HEADS
        | {"hidden_size": 96, "num_hidden_layers": 3, "moe_intermediate_size": 96}
        | {"num_experts": 8, "num_experts_per_tok": 2, "mlp_only_layers": []},
    ),
}
"""`dense` and `deep` hold under two million numbers, `wide` eleven million;
`tiny` is for tests.
"""
TUNING = (
    Family("dense", 1, 5e-4),
    Family("dense", 2, 3e-5),
    Family("wide", 3, 1e-4, length=0.5, few=True),
    Family("moe", 4, 3e-4),
)
REPORTING = (
    Family("dense", 5, 5e-4),
    Family("dense", 6, 3e-5, length=0.5),
    Family("wide", 7, 1e-4, length=0.3, few=True),
    Family("moe", 8, 3e-4, few=True),
    Family("deep", 9, 1.5e-4, few=True),
)
"""Rules and thresholds are set on the first; error rates are those of the second, which
are other births, other tasks in other roles.

At a rate of 3e-5 most changes are a few steps of bf16, as in finetunes of large models.
"""
