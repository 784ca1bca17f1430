"""Shares of models in words: as parts of a whole, or as changes added to a base."""

from collections.abc import Iterable, Mapping

WHOLE = 0.005
"""How near to 1 shares must add up that are shares of a whole."""


def amounts(shares: Mapping[str, float]) -> list[str]:
    """Each model with its share: `0.571 x nex`, `minus 0.5 x nex`."""
    return [f"{_signed(share)} x {model}" for model, share in shares.items()]


def are_parts(shares: Iterable[float]) -> bool:
    """Whether the shares of all models are parts of a whole: none less than nothing,
    and one together.
    """
    known = list(shares)
    return min(known) >= 0 and abs(sum(known) - 1) < WHOLE


def are_changes(shares: Iterable[float]) -> bool:
    """Whether the shares of all models say what was added to a base: one together, but
    no parts.
    """
    known = list(shares)
    return min(known) < 0 and abs(sum(known) - 1) < WHOLE


def changes_added(base: str, shares: Mapping[str, float]) -> str:
    """Task vectors: `base plus 1.0 times nex's change minus 0.5 times other's change`."""
    text = base
    for donor, share in shares.items():
        sign = "minus" if share < 0 else "plus"
        text += f" {sign} {_decimal(abs(share))} times {donor}'s change"
    return text


def _signed(share: float) -> str:
    return f"minus {-share:.6g}" if share < 0 else f"{share:.6g}"


def _decimal(share: float) -> str:
    text = f"{share:.6g}"
    return f"{text}.0" if text.isdigit() else text
