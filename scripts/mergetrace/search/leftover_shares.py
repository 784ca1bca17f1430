"""What varying shares of some models leave to the others: sums and ratios of settings,
filter by filter.
"""

from collections.abc import Sequence

import numpy as np

from mergetrace.merging.settings import Setting, mapped, value_at

RATIO_DIGITS = 2
RATIO_ERROR = 1e-4  # of a ratio of shares that are known to some millionths


def remaining(share: Setting) -> Setting:
    """What a share leaves to one."""
    return mapped(share, lambda value: round(1 - value, 9) + 0.0)


def left_over(settings: Sequence[Setting]) -> Setting | None:
    """What several shares leave to one, filter by filter; None where a filter of one
    cuts through a gradient of another.
    """
    if len(settings) == 1:
        return remaining(settings[0])
    lengths = {len(values) for setting in settings for _, values in setting}
    if len(lengths - {1}) > 1:
        return None
    longest = max(lengths)
    patterns = dict.fromkeys(
        pattern for setting in settings for pattern, _ in setting if pattern
    )
    places = [0.0] if longest == 1 else np.linspace(0, 1, longest).tolist()
    rest: list[tuple[str, tuple[float, ...]]] = []
    for pattern in (*patterns, ""):
        sums: list[float] = [
            sum(_value_under(setting, pattern, place) for setting in settings)
            for place in places
        ]
        rest.append((pattern, tuple(round(1 - value, 9) + 0.0 for value in sums)))
    return _shortened(rest)


def short_ratio(share: Setting, held: Setting, weight: float) -> Setting | None:
    """The weights that give a share beside a model of another share and this weight;
    None where they are not short, or differ along the layers.
    """
    ratios: list[tuple[str, tuple[float, ...]]] = []
    patterns = dict.fromkeys(pattern for pattern, _ in (*share, *held) if pattern)
    for pattern in (*patterns, ""):
        if any(len(values) > 1 for _, values in (*share, *held)):
            return None
        divisor = _value_under(held, pattern, 0.0)
        if not divisor:
            return None
        ratio = weight * _value_under(share, pattern, 0.0) / divisor
        if abs(ratio - round(ratio, RATIO_DIGITS)) > RATIO_ERROR:
            return None
        ratios.append((pattern, (round(ratio, RATIO_DIGITS) + 0.0,)))
    return tuple(ratios)


def _value_under(setting: Setting, pattern: str, place: float) -> float:
    """The number of tensors in whose names a pattern is."""
    return value_at(setting, pattern, place)


def _shortened(rest: Sequence[tuple[str, tuple[float, ...]]]) -> Setting:
    """Gradients of one number as that number."""
    return tuple(
        (pattern, values[:1] if len(set(values)) == 1 else values)
        for pattern, values in rest
    )
