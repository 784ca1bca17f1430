"""The sums that every later number is made of, in one pass over the elements of a slice.

Per block of a slice, with u = audited - base, v_j = donor_j - base and b = base:
the Gram matrix of [u, v_1..v_k, b], the rounding energy of the audited model, and exact counts of equal elements.
Sums are float64; products are formed on at most CHUNK elements at a time, so memory does not grow with the tensor.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mergetrace.frames import Frame

Array = NDArray[np.float64]
Reader = Callable[[str, int, int], tuple[Array, Array | None]]
"""(model, first element, number of elements) -> values float64 [n] and, for an audited model, their ulp float64 [n]."""

CHUNK = 1 << 17  # elements: a few float64 rows of this length stay in the cache


def slice_sums(frames: list[Frame], blocks: NDArray[np.int64], read: Reader) -> Iterator[dict[str, object]]:
    """Sum one slice, block by block.

    blocks: int64 [blocks, 2], start and length in elements.
    Yields one flat record per frame and block: model, base, block, n, nonfinite, `uu`, `ub`, `bb`, `rounding`,
    `uv.{donor}`, `bv.{donor}`, `vv.{donor}.{donor}` and the counts of `_counts`.
    Elements that are NaN or infinite in any model are counted in `nonfinite` and left out of everything else.
    """
    names = list(dict.fromkeys(name for frame in frames for name in frame.models))
    audited = {frame.audited for frame in frames}
    for block, (start, length) in enumerate(blocks.tolist()):
        totals: list[dict[str, float]] = [{} for _ in frames]
        skipped = 0
        for first in range(start, start + length, CHUNK):
            count = min(CHUNK, start + length - first)
            chunk = {name: read(name, first, count) for name in names}
            values = {name: pair[0] for name, pair in chunk.items()}
            ulps = {name: chunk[name][1] for name in audited}
            finite = np.logical_and.reduce([np.isfinite(value) for value in values.values()])
            if not finite.all():
                skipped += count - int(finite.sum())
                values = {name: value[finite] for name, value in values.items()}
                ulps = {name: ulp[finite] for name, ulp in ulps.items() if ulp is not None}
            for frame, total in zip(frames, totals, strict=True):
                for key, value in _chunk_sums(frame, values, ulps[frame.audited]).items():
                    total[key] = total.get(key, 0) + value
        for frame, total in zip(frames, totals, strict=True):
            yield {"model": frame.audited, "base": frame.base, "block": block, "nonfinite": skipped, **total}


def _chunk_sums(frame: Frame, values: dict[str, Array], ulp: Array) -> dict[str, float]:
    base, audited = values[frame.base], values[frame.audited]
    rows = np.stack([audited, *(values[donor] for donor in frame.donors), base])
    rows[:-1] -= base
    gram = rows @ rows.T
    last = len(frame.donors) + 1
    sums = {"n": base.size, "uu": gram[0, 0], "ub": gram[0, last], "bb": gram[last, last], "rounding": float(ulp @ ulp) / 12}
    for i, donor in enumerate(frame.donors, start=1):
        sums |= {f"uv.{donor}": gram[0, i], f"bv.{donor}": gram[last, i]}
        sums |= {f"vv.{donor}.{other}": gram[i, j] for j, other in enumerate(frame.donors, start=1) if j >= i}
        sums |= _counts(donor, rows[0], rows[i])
    sums["equal_base"] = int(np.count_nonzero(rows[0] == 0))
    return sums


def _counts(donor: str, u: Array, v: Array) -> dict[str, int]:
    """Counts for one donor; differences of stored numbers are zero exactly where the numbers are equal."""
    still, parents_agree = u == 0, v == 0
    return {
        f"equal_donor.{donor}": int(np.count_nonzero(u == v)),
        f"parents_agree.{donor}": int(np.count_nonzero(parents_agree)),
        f"moved_alone.{donor}": int(np.count_nonzero(~still & parents_agree)),
        f"stayed_alone.{donor}": int(np.count_nonzero(still & ~parents_agree)),
        f"same_sign.{donor}": int(np.count_nonzero(u * v > 0)),
        f"both_moved.{donor}": int(np.count_nonzero(~still & ~parents_agree)),
    }
