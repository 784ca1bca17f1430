"""A number that may differ from tensor to tensor, as merge configurations write it: by
tensor name, and along the layers.

A setting is a tuple of (filter, values): the first filter that the tensor's name
contains applies, "" applies to all; several values are spread evenly over the layers
with straight lines between them (mergekit's documentation, "Parameter specification").
"""

from collections.abc import Callable
from typing import Any

Setting = tuple[tuple[str, tuple[float, ...]], ...]


def constant(value: float) -> Setting:
    """The same number everywhere."""
    return (("", (float(value),)),)


def value_at(setting: Setting, tensor: str, position: float) -> float:
    """The number for a tensor at `position` (see layer_position); NaN where no filter
    applies.
    """
    for pattern, values in setting:
        if pattern in tensor:
            return _interpolated(values, position)
    return float("nan")


def _interpolated(values: tuple[float, ...], position: float) -> float:
    place = position * (len(values) - 1)
    left = min(int(place), len(values) - 1)
    right = min(left + 1, len(values) - 1)
    share = place - left
    return values[left] * (1 - share) + values[right] * share


def layer_position(layer: str, last_layer: int) -> float:
    """Where a tensor lies along the layers: 0 for the first to 1 for the last;
    embeddings, head and final norm count as first (so does mergekit).
    """
    if not layer.isdigit() or not last_layer:
        return 0.0
    return int(layer) / last_layer


def single_value(setting: Setting) -> float | None:
    """The number of a setting that is the same everywhere, else None."""
    if len(setting) != 1:
        return None
    ((pattern, values),) = setting
    return values[0] if pattern == "" and len(values) == 1 else None


def mapped(setting: Setting, function: Callable[[float], float]) -> Setting:
    """The setting with `function` applied to each of its numbers."""
    return tuple((pattern, tuple(map(function, values))) for pattern, values in setting)


def setting_to_json(setting: Setting) -> Any:
    """A number, a list of numbers, or a list of {filter, value}: what a merge
    configuration would hold.
    """
    if len(setting) == 1 and setting[0][0] == "":
        return _number_or_list(setting[0][1])
    entries: list[dict[str, Any]] = []
    for pattern, values in setting:
        value = {"value": _number_or_list(values)}
        entries.append({"filter": pattern, **value} if pattern else value)
    return entries


def setting_from_json(value: Any) -> Setting:
    """The setting of `setting_to_json`."""
    if isinstance(value, (int, float)):
        return constant(value)
    if value and isinstance(value[0], dict):
        return tuple(
            (entry.get("filter", ""), _as_tuple(entry["value"])) for entry in value
        )
    return (("", _as_tuple(value)),)


def _number_or_list(values: tuple[float, ...]) -> float | list[float]:
    positive = [value + 0.0 for value in values]  # no -0.0
    return positive[0] if len(values) == 1 else positive


def _as_tuple(value: Any) -> tuple[float, ...]:
    if isinstance(value, list):
        return tuple(map(float, value))
    return (float(value),)
