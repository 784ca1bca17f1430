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


def changes_added(base: str, base_share: float, shares: Mapping[str, float]) -> str:
    """Task vectors: `base plus 1.0 times nex's change minus 0.5 times other's change`;
    where the base cancels out, `1.5 times nex minus 0.5 times other`.
    """
    if base_share:
        return base + "".join(
            f" {_sign(share)} {_decimal(abs(share))} times {donor}'s change"
            for donor, share in shares.items()
        )
    greatest_first = sorted(shares.items(), key=lambda pair: -pair[1])
    text = " ".join(
        f"{_sign(share)} {_decimal(abs(share))} times {donor}"
        for donor, share in greatest_first
    )
    return text.removeprefix("plus ")


def _sign(share: float) -> str:
    return "minus" if share < 0 else "plus"


def _signed(share: float) -> str:
    return f"minus {-share:.6g}" if share < 0 else f"{share:.6g}"


def _decimal(share: float) -> str:
    text = f"{share:.6g}"
    return f"{text}.0" if text.isdigit() else text
