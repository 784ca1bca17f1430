"""Over how many directions what a donor does not explain is spread: noise takes all of
them alike, training a small part.

Noise over a model lies in its small directions as well, so that a donor turned round
along these differs from matrix to matrix, whoever the model is: an average of the
donor's own checkpoints is then told from a blend by its unevenness alone.
"""

import numpy as np

from mergetrace.numerics.arrays import Array


def participation(left: Array) -> float | None:
    """The participation ratio of the squared singular values, (sum s^2)^2 / sum s^4,
    over what it is for independent numbers of one size, rows * cols / (rows + cols): 1
    for noise, nearly 0 for a few directions.

    left: float64 [rows, cols], what the weight leaves. None where that is 0 everywhere.
    """
    rows, cols = left.shape
    products = left @ left.T if rows < cols else left.T @ left
    energy = float(np.trace(products))
    if not energy:
        return None
    squares = float(np.sum(products**2))
    found: float = energy * energy / squares * (rows + cols) / (rows * cols)
    return found
