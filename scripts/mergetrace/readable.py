"""Numbers and strangers' text as people read them. A number that is missing says so; it
is never shown as 0.
"""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

MISSING = "not computed"
_NBSP = "\u00a0"  # keeps a number and its unit on one line
_HARMLESS_FORMATS = {"\u200c", "\u200d"}  # joiners, which scripts and emoji need


def visible(text: object, most: int | None = None) -> str:
    """`text` with everything invisible or misleading written out, cut after `most`
    characters with a note.

    Control characters, changes of the writing direction, lone surrogates and the like become a code in angle brackets; tabs and line
    breaks stay. Escaping for HTML is the template's business, not done here.
    """
    text = str(text)
    cut = text if most is None or len(text) <= most else text[:most]
    shown = "".join(
        (
            char
            if char.isprintable() or char in "\t\n" or char in _HARMLESS_FORMATS
            else _written_out(char)
        )
        for char in cut
    )
    return (
        shown
        if len(cut) == len(text)
        else f"{shown}\n[... cut here: the whole text has {len(text):,} characters]"
    )


def known(value: float | None) -> bool:
    """Whether there is a number: neither None nor NaN nor infinite."""
    return value is not None and math.isfinite(value)


def missing(reason: str) -> str:
    """What stands where a number should be."""
    return f"{MISSING}: {reason}" if reason else MISSING


def count(value: float | None, reason: str = "") -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}" if known(value) else missing(reason)


def percent(share: float | None, reason: str = "", digits: int = 1) -> str:
    """A share as a percentage: .571 is `57.1 %`."""
    return (
        f"{decimal(100 * share, digits=digits)}{_NBSP}%"
        if known(share)
        else missing(reason)
    )


def rate(share: float | None, reason: str = "") -> str:
    """A share that may be close to 1, with as many digits as it takes not to read 100
    %, and never rounded up to that: .99996 is `99.996 %`.
    """
    if not known(share):
        return missing(reason)
    if share >= 1 or share <= 0:
        return f"{100 * share:.0f}{_NBSP}%"
    if share < 0.0005:
        return f"under 0.1{_NBSP}%"
    digits = min(6, max(1, math.ceil(-math.log10(1 - share)) - 2))
    shown = min(round(100 * share, digits), 100 - 10.0**-digits)
    return f"{shown:.{digits}f}{_NBSP}%"


def decimal(value: float | None, reason: str = "", digits: int = 4) -> str:
    """A plain number with a true minus sign; what is not whole gets the digits it takes
    not to read whole: .99998 is not `1.0000`.
    """
    if not known(value):
        return missing(reason)
    enough = next(
        (
            more
            for more in range(digits, digits + 3)
            if float(f"{value:.{more}f}") != round(value)
        ),
        digits,
    )
    return f"{value:.{digits if value == round(value) else enough}f}".replace(
        "-", "\u2212"
    )


def plus_minus(standard_error: float | None) -> str:
    """Half the 95 % interval of a number shown with four digits: `± 0.0021`, `±
    <0.0001`, or that it is unknown.
    """
    if not known(standard_error):
        return "(no interval)"
    half = 1.96 * standard_error
    return f"± {half:.4f}" if half >= 0.00005 else "± <0.0001"


def interval(
    ends: Sequence[float] | None, reason: str = "", most_digits: int = 4
) -> str:
    """An interval of shares in percent, with the digits its width calls for: `54.2 to
    60.1 %`, `57.1000 ± 0.0001 %`.
    """
    if ends is None or not all(known(end) for end in ends):
        return missing(reason)
    low, high = (100 * end for end in ends)
    digits = (
        most_digits
        if high <= low
        else min(most_digits, max(1, math.ceil(1 - math.log10(high - low))))
    )
    low = f"{low:.{digits}f}"
    high = f"{high:.{digits}f}"
    text = f"{low} to {high}" if low != high else f"{low} ± {10**-digits:g}"
    return text.replace("-", "\u2212") + f"{_NBSP}%"


def size(value: float | None, reason: str = "") -> str:
    """Bytes in decimal units: `806.8 GB`."""
    if not known(value):
        return missing(reason)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:,.0f} bytes" if unit == "bytes" else f"{value:,.1f}{_NBSP}{unit}"


def listing(names: Iterable[str], nothing: str = "nothing", word: str = "and") -> str:
    """`a, b and c`."""
    names = list(names)
    return (
        nothing
        if not names
        else (
            names[0]
            if len(names) == 1
            else f"{', '.join(names[:-1])} {word} {names[-1]}"
        )
    )


def shown_path(path: str) -> str:
    """A local path as it may be shown: a relative one as it is, of an absolute one its
    last part.
    """
    return f".../{Path(path).name}" if Path(path).is_absolute() else path


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 tensor`, `2 tensors`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _written_out(char: str) -> str:
    return (
        char if unicodedata.category(char) == "Zs" else f"\u27e8U+{ord(char):04X}\u27e9"
    )
