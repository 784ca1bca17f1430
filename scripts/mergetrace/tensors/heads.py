"""What a configuration says of attention heads, under the names that writers have for
it.
"""

from collections.abc import Mapping
from typing import Any

NAMES = {
    "num_attention_heads": ("num_attention_heads", "n_heads", "n_head", "num_heads"),
    "num_key_value_heads": (
        "num_key_value_heads",
        "n_kv_heads",
        "num_kv_heads",
        "n_head_kv",
        "kv_n_heads",
        "multi_query_group_num",
    ),
    "head_dim": ("head_dim", "kv_channels"),
    "hidden_size": ("hidden_size", "dim", "n_embd", "d_model"),
}
MOST = 1 << 24  # a number of heads, or a width, that can be one


def head_facts(
    config: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, int | None]:
    """num_attention_heads, num_key_value_heads, head_dim and hidden_size, each None
    where nothing says it.

    config: of config.json, the language model's where that is apart; params: of Mistral's own params.json, asked where the other is silent.
    One head of k that all share (`multi_query`) is said by a flag in Falcon's and StarCoder's configurations.
    """
    nested = config.get("attn_config")
    places = [config, nested if isinstance(nested, Mapping) else {}, params]
    found = {fact: _first(places, names) for fact, names in NAMES.items()}
    if config.get("multi_query") is True and not config.get("new_decoder_architecture"):
        found["num_key_value_heads"] = 1
    if (
        config.get("multi_query_attention") is False
    ):  # ChatGLM names the number of groups even where there are none
        found["num_key_value_heads"] = found["num_attention_heads"]
    return found


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 < value <= MOST else None


def _first(places: list[Mapping[str, Any]], names: tuple[str, ...]) -> int | None:
    said = (_count(place.get(name)) for place in places for name in names)
    return next((value for value in said if value is not None), None)
