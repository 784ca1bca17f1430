"""Whether what a donor does not explain lies as chance lays it, or was cut out of the
model to make the donor.

Who has a model can make it a "donor" that it seems to be a blend of: a part of the
model's change is taken away (its largest directions, a space of its columns, some
neurons) and the rest is scaled. Along that donor the model then holds one weight, and
what is left looks like training. But what was cut out lies in other directions than
what stayed, where what is trained shares by chance as many as two random matrices, and
more where both learned alike.
"""

import numpy as np

from mergetrace.numerics.arrays import Array


def overlap(left: Array, change: Array) -> float | None:
    """How far what is left of a model's change lies in the directions of a donor's:
    n |L D'|^2 / (|L|^2 |D|^2) for rows of n numbers, the same for columns, whichever is
    less. Of two random matrices it is 1.

    left, change: float64 [rows, cols]. None where either is 0 everywhere.
    """
    energy = float(np.sum(left**2) * np.sum(change**2))
    if not energy:
        return None
    rows, cols = change.shape
    along_rows = cols * float(np.sum((left @ change.T) ** 2))
    along_columns = rows * float(np.sum((left.T @ change) ** 2))
    found: float = min(along_rows, along_columns) / energy
    return found
