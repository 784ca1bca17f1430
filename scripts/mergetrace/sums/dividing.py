"""In which precision numbers were divided by their scales before they were rounded to a
format of eight bits.

Most tools divide in float32. compressed-tensors and ModelOpt divide in the model's own
format: with scales in bf16 or f16 the quotient is rounded to that first, which moves it
across the middle of two numbers of the format where it lies near it.
"""

import numpy as np

from mergetrace.numerics.arithmetic import to_float32
from mergetrace.numerics.arrays import Array, Bytes
from mergetrace.numerics.dtypes import Codes, codes_of, decode, encode
from mergetrace.numerics.lattice import interval_through

NARROW = ("BF16", "F16")


def narrow_format(scales: Array) -> str | None:
    """The format of 16 bits that all scales are numbers of, None where there is none, or
    where all are powers of two, which round nothing. Of scales in float32 one in 65,536
    is such a number.
    """
    known = scales[np.isfinite(scales) & (scales != 0)]
    if not known.size or (np.log2(np.abs(known)) % 1 == 0).all():
        return None
    with np.errstate(over="ignore"):
        for form in NARROW:
            if np.array_equal(decode(encode(known, form), form), known):
                return form
    return None


def widened(low: Array, high: Array, scales: Array) -> tuple[Array, Array]:
    """The ends of what rounds to each number, before scaling; further out where the
    quotient may have been rounded to a narrow format before.
    """
    form = narrow_format(scales)
    if form is None:
        return low, high
    known = np.isfinite(low) & np.isfinite(high)
    first, last = interval_through(
        np.where(known, low, 0.0), np.where(known, high, 0.0), form
    )
    return np.where(known, first, low), np.where(known, last, high)


def divided(values: Array, scales: Array, dtype: str, stored: Bytes | None) -> Codes:
    """The codes of values over their scales, divided in float32; with narrow scales in
    their format, if that gives more of what is stored. stored: the bytes of the same
    elements; None where there are none.
    """
    quotients = values / scales
    codes = encode(to_float32(quotients), dtype)
    form = None if stored is None else narrow_format(scales)
    if stored is None or form is None:
        return codes
    narrow = encode(decode(encode(quotients, form), form), dtype)
    wanted = codes_of(stored, dtype)
    more = np.count_nonzero(narrow == wanted) > np.count_nonzero(codes == wanted)
    return narrow if more else codes
