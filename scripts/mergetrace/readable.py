"""Numbers and strangers' text as people read them. A number that is missing says so; it
is never shown as 0.
"""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeGuard

MISSING = "not computed"
MORE_DIGITS = 3  # at most, before a number that is nearly whole is shown as whole
_MINUS = "\u2212"
_NBSP = "\u00a0"  # keeps a number and its unit on one line
_HARMLESS_FORMATS = {"\u200c", "\u200d"}  # joiners, which scripts and emoji need


def visible(text: object, most: int | None = None) -> str:
    """`text` with everything invisible or misleading written out, cut after `most`
    characters with a note.

    Control characters, changes of the writing direction, lone surrogates and the like
    become a code in angle brackets; tabs and line breaks stay. Escaping for HTML is the
    template's business and not done here.
    """
    text = str(text)
    is_cut = most is not None and len(text) > most
    shown = "".join(map(_shown_char, text[:most] if is_cut else text))
    if not is_cut:
        return shown
    return f"{shown}\n[... cut here: the whole text has {len(text):,} characters]"


def known(value: float | None) -> TypeGuard[float]:
    """Whether there is a number: not None, NaN or infinite."""
    return value is not None and math.isfinite(value)


def missing(reason: str) -> str:
    """What stands where a number should be."""
    return f"{MISSING}: {reason}" if reason else MISSING


def count(value: float | None, reason: str = "") -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}" if known(value) else missing(reason)


def percent(share: float | None, reason: str = "", digits: int = 1) -> str:
    """A share as a percentage: .571 is `57.1 %`."""
    if not known(share):
        return missing(reason)
    return f"{decimal(100 * share, digits=digits)}{_NBSP}%"


def rate(share: float | None, reason: str = "") -> str:
    """A share that may be close to 1 as a percentage: .99996 is `99.996 %`.

    It gets as many digits as it takes not to read 100 %, and is never rounded up to
    that.
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
    """A plain number with a true minus sign: .5711 is `0.5711`.

    What is not whole gets the digits it takes not to read whole: .99998 is not
    `1.0000`.
    """
    if not known(value):
        return missing(reason)
    shown = f"{value:.{digits}f}"
    if value != round(value):
        for more in range(digits, digits + MORE_DIGITS):
            longer = f"{value:.{more}f}"
            if float(longer) != round(value):
                shown = longer
                break
    return shown.replace("-", _MINUS)


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
    digits = most_digits
    if high > low:
        digits = min(most_digits, max(1, math.ceil(1 - math.log10(high - low))))
    low_text = f"{low:.{digits}f}"
    high_text = f"{high:.{digits}f}"
    text = f"{low_text} to {high_text}"
    if low_text == high_text:
        text = f"{low_text} ± {10**-digits:g}"
    return text.replace("-", _MINUS) + f"{_NBSP}%"


def size(value: float | None, reason: str = "") -> str:
    """Bytes in decimal units: `806.8 GB`, `512 bytes`."""
    if not known(value):
        return missing(reason)
    if value < 1000:
        return f"{value:,.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:,.1f}{_NBSP}{unit}"
    return f"{value / 1000:,.1f}{_NBSP}TB"


def duration(seconds: float) -> str:
    """A span of time: `40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


def listing(names: Iterable[str], nothing: str = "nothing", word: str = "and") -> str:
    """`a, b and c`; `nothing` where there are no names."""
    *others, last = list(names) or [nothing]
    return f"{', '.join(others)} {word} {last}" if others else last


def shown_path(path: str) -> str:
    """A local path as it may be shown to strangers: a relative one as it is, of an
    absolute one the last part.
    """
    return f".../{Path(path).name}" if Path(path).is_absolute() else path


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 tensor`, `2 tensors`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _shown_char(char: str) -> str:
    """A character as it is, or its code where nobody would see it as what it is."""
    if char.isprintable() or char in "\t\n" or char in _HARMLESS_FORMATS:
        return char
    if unicodedata.category(char) == "Zs":
        return char
    return f"\u27e8U+{ord(char):04X}\u27e9"
