"""A number that may differ from tensor to tensor, as merge configurations write it: by
tensor name, and along the layers.

A setting is a tuple of (filter, values): the first filter that the tensor's name
contains applies, "" applies to all; several values are spread evenly over the layers
with straight lines between them (mergekit's documentation, "Parameter specification").
"""

from typing import Any

Setting = tuple[tuple[str, tuple[float, ...]], ...]


def constant(value: float) -> Setting:
    """The same number everywhere."""
    return (("", (float(value),)),)


def value_at(setting: Setting, tensor: str, position: float) -> float:
    """The number for a tensor at `position` (0: first layer, and what lies outside the
    layers; 1: last); NaN where no filter applies.
    """
    for pattern, values in setting:
        if pattern in tensor:
            place = position * (len(values) - 1)
            left = min(int(place), len(values) - 1)
            right = min(left + 1, len(values) - 1)
            return values[left] * (1 - (place - left)) + values[right] * (place - left)
    return float("nan")


def place(layer: str, last: int) -> float:
    """Where a tensor lies along the layers: 0 for the first to 1 for the last;
    embeddings, head and final norm count as first (so does mergekit).
    """
    return int(layer) / last if layer.isdigit() and last else 0.0


def single(setting: Setting) -> float | None:
    """The number of a setting that is the same everywhere, else None."""
    return (
        setting[0][1][0]
        if len(setting) == 1 and setting[0][0] == "" and len(setting[0][1]) == 1
        else None
    )


def mapped(setting: Setting, function: Any) -> Setting:
    """The setting with `function` applied to each of its numbers."""
    return tuple(
        (pattern, tuple(function(value) for value in values))
        for pattern, values in setting
    )


def to_json(setting: Setting) -> Any:
    """A number, a list of numbers, or a list of {filter, value}: what a merge
    configuration would hold.
    """
    if len(setting) == 1 and setting[0][0] == "":
        return _plain(setting[0][1])
    return [
        {**({"filter": pattern} if pattern else {}), "value": _plain(values)}
        for pattern, values in setting
    ]


def from_json(value: Any) -> Setting:
    """The setting of `to_json`."""
    if isinstance(value, (int, float)):
        return constant(value)
    if value and isinstance(value[0], dict):
        return tuple(
            (entry.get("filter", ""), _tuple(entry["value"])) for entry in value
        )
    return (("", _tuple(value)),)


def _plain(values: tuple[float, ...]) -> float | list[float]:
    return values[0] if len(values) == 1 else list(values)


def _tuple(value: Any) -> tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, list) else (float(value),)
