"""A parameter as a configuration writes it, as a setting of ours."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from mergetrace.merging.settings import Setting

Entry = tuple[str, tuple[float, ...]]
"""A filter, and the numbers along the layers."""
EVERYWHERE = (None, "", "*")
"""Filters that every tensor's name passes."""


class NotReplayableError(ValueError):
    """What of a declared merge no recipe can hold."""

    def __init__(self, code: str, detail: str = "") -> None:
        """code: `fault`, `experts`, `method`, `random`, `base`, `models`, `weight`,
        `parameter`, `number`, `slices` or `layers`. detail: which one it is.
        """
        super().__init__(f"{code} {detail}")
        self.code = code
        self.detail = detail


def is_plain(chain: Setting) -> bool:
    """Whether a chain holds one number, the same in every layer."""
    return bool(chain) and chain[0][0] == "" and len(chain[0][1]) == 1


def complete(setting: Sequence[Entry], name: str) -> Setting:
    """The setting up to the entry that holds for all tensors that are left."""
    kept = []
    for pattern, values in setting:
        kept.append((pattern, values))
        if not pattern and all(map(isfinite, values)):
            return tuple(kept)
    raise NotReplayableError("weight", name)


def entries(value: Any, name: str) -> list[Entry]:
    """The entries of one setting as a configuration writes it."""
    if value is None or value == []:
        return []
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return [("", (_number(value, name),))]
    if not any(isinstance(item, dict) for item in value):
        return [("", tuple(_number(item, name) for item in value))]
    found: list[Entry] = []
    for item in value:
        if not isinstance(item, dict):
            raise NotReplayableError("number", name)
        pattern = item.get("filter")
        everywhere = pattern in EVERYWHERE
        for _, values in entries(item.get("value"), name):
            found.append(("" if everywhere else str(pattern), values))
    return found


def _number(value: Any, name: str) -> float:
    """A number as mergekit takes it: text that reads as one, too."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise NotReplayableError("number", name) from None
    if not isfinite(number):
        raise NotReplayableError("number", name)
    return number
