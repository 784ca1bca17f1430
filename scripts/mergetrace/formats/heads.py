"""What a configuration says of attention heads, under the names that writers have for
it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HEADS_KEYS = ("num_attention_heads", "n_heads", "n_head", "num_heads")
KEY_VALUE_HEADS_KEYS = (
    "num_key_value_heads",
    "n_kv_heads",
    "num_kv_heads",
    "n_head_kv",
    "kv_n_heads",
    "multi_query_group_num",
)
HEAD_SIZE_KEYS = ("head_dim", "kv_channels")
WIDTH_KEYS = ("hidden_size", "dim", "n_embd", "d_model")
MAX_HEAD_COUNT = 1 << 24  # a larger number of heads, or width, is none


@dataclass(frozen=True)
class Heads:
    """The attention heads of a model; None where its configuration does not say."""

    num_attention_heads: int | None = None  # heads of q
    num_key_value_heads: int | None = None  # heads of k, and of v
    head_dim: int | None = None  # numbers of one head
    hidden_size: int | None = None  # numbers of one token


def heads_of(config: Mapping[str, Any], params: Mapping[str, Any]) -> Heads:
    """The heads that a configuration speaks of.

    config: of config.json, the language model's where that is apart. params: of
    Mistral's own params.json, asked where the other is silent. Falcon's and StarCoder's
    configurations have a flag (`multi_query`) for one head of k that all heads of q
    share.
    """
    nested = config.get("attn_config")
    places = [config, nested if isinstance(nested, Mapping) else {}, params]
    heads = _first(places, HEADS_KEYS)
    key_value_heads = _first(places, KEY_VALUE_HEADS_KEYS)
    if config.get("multi_query") is True and not config.get("new_decoder_architecture"):
        key_value_heads = 1
    # ChatGLM names the number of groups even where there are none
    if config.get("multi_query_attention") is False:
        key_value_heads = heads
    return Heads(
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        head_dim=_first(places, HEAD_SIZE_KEYS),
        hidden_size=_first(places, WIDTH_KEYS),
    )


def _first(places: list[Mapping[str, Any]], names: tuple[str, ...]) -> int | None:
    """The first number that any of the places says under any of the names."""
    for place in places:
        for name in names:
            value = place.get(name)
            if type(value) is int and 0 < value <= MAX_HEAD_COUNT:
                return value
    return None
