"""How alike vectors are, and matrices whatever the order of their columns."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def cosine(first: Floats, second: Floats) -> float:
    """The cosine of two vectors, 0 where one is zero or not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.sqrt((first @ first) * (second @ second))
        if not lengths > 0:
            return 0.0
        value = float(first @ second / lengths)
    return value if np.isfinite(value) else 0.0


def fingerprint(rows: Floats) -> Floats:
    """A fingerprint of k rows that does not depend on the order of the columns: the
    cosines of all pairs, float [k (k - 1) / 2].
    """
    units = unit_rows(rows)
    pairs = (units @ units.T)[np.triu_indices(len(rows), 1)]
    return np.asarray(pairs)


def likeness(first: Floats, second: Floats) -> float:
    """The correlation of two fingerprints; 0 where they are of different numbers of
    rows, or empty.
    """
    if first.shape != second.shape or not first.size:
        return 0.0
    return cosine(first - first.mean(), second - second.mean())


def unit_rows(rows: Floats) -> Floats:
    """Rows at unit length, with zeros in place of what is not finite; rows of zeros as
    they are.
    """
    rows = np.nan_to_num(rows, posinf=0.0, neginf=0.0)
    return _at_unit_length(rows)


def centred_unit_rows(rows: Floats) -> Floats:
    """Like unit_rows, with the mean row taken off first: what all rows share tells none
    of them from another.
    """
    rows = np.nan_to_num(rows, posinf=0.0, neginf=0.0)
    return _at_unit_length(rows - rows.mean(0))


def _at_unit_length(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return np.asarray(units)
