"""Rows of the embedding and of the head that are one parent's own.

Each row belongs to a token. Who merges two models often takes the rows of some tokens
from one of them, those of a chat template or of a longer vocabulary, and blends the
others. Such a row equals that model's number for number and says nothing of the recipe:
it is left out of what a recipe has to give back, counted and reported.
"""

from collections.abc import Mapping

import numpy as np

from mergetrace.numerics.arrays import Array, Mask
from mergetrace.sums.evidence import Sample, blanked
from mergetrace.sums.frames import Frame

TOKEN_TABLES = ("embedding", "lm_head")
"""The components of which each row is one token's."""
LEAST_DIFFERENT = 16
"""Numbers of a row in which parents differ: a row that is one's in fewer is so by chance
or was never trained.
"""
MOST_OWN_ROWS = 0.5
"""Of a table: one that is a parent's as a whole is a finding, and stays."""
MOST_KEPT = 0.25
"""Of the numbers of a table's other rows that are the same parent's although another's
differ: where more are, elements were chosen one by one, and such a row is a choice like
any other.
"""


def without_own_rows(
    samples: Mapping[str, Sample], frame: Frame, cols: int
) -> tuple[Mapping[str, Sample], dict[str, int]]:
    """The samples of a slice of such a table, with zeros in all models in place of the
    rows that are one parent's own; and how many rows that were by parent.

    cols: the row's length. Nothing is left out where the samples are no whole rows, where
    more than MOST_OWN_ROWS would be, or where the other rows hold many of the same
    parent's numbers, too.
    """
    audited = samples[frame.audited].values()
    if cols < LEAST_DIFFERENT or not audited.size or audited.size % cols:
        return samples, {}
    values = {name: samples[name].values() for name in frame.parents}
    own: dict[str, Mask] = {}
    taken: Mask = np.zeros(audited.size // cols, bool)
    for name, numbers in values.items():
        rows = ~taken & _are_one_s(audited, numbers, values, cols)
        if rows.any():
            own[name] = rows
            taken = taken | rows
    if not own or taken.mean() > MOST_OWN_ROWS:
        return samples, {}
    if any(_kept(audited, values, name, ~taken, cols) > MOST_KEPT for name in own):
        return samples, {}
    lost = np.repeat(taken, cols)
    left = {
        name: blanked(sample, lost) if name in frame.models else sample
        for name, sample in samples.items()
    }
    return left, {name: int(rows.sum()) for name, rows in own.items()}


def _kept(
    audited: Array, values: Mapping[str, Array], name: str, rows: Mask, cols: int
) -> float:
    """The share of the numbers in some rows that are one parent's, where others differ."""
    numbers = values[name]
    apart = np.repeat(rows, cols) & _differ(numbers, values)
    return float((audited == numbers)[apart].mean()) if apart.any() else 0.0


def _differ(numbers: Array, values: Mapping[str, Array]) -> Mask:
    """Where one parent's numbers differ from another's."""
    apart: Mask = np.zeros(numbers.size, bool)
    for other in values.values():
        apart = apart | (other != numbers)
    return apart


def _are_one_s(
    audited: Array, numbers: Array, values: Mapping[str, Array], cols: int
) -> Mask:
    """Which rows equal one parent's in every number, and differ from another's."""
    equal: Mask = (audited == numbers).reshape(-1, cols).all(1)
    apart = _differ(numbers, values)
    told: Mask = apart.reshape(-1, cols).sum(1) >= LEAST_DIFFERENT
    own: Mask = equal & told
    return own
