"""Experts cut into finer ones, each of which holds some of the neurons of a larger
expert or of a dense MLP: seen, and not undone.
"""

import re

import numpy as np

from mergetrace.disguises.comparison import Comparison
from mergetrace.disguises.findings import ExpertsSplit, Finding
from mergetrace.disguises.moved_experts import EXPERT_FINGERPRINT_ROWS
from mergetrace.numerics.arrays import Singles
from mergetrace.tensors.view import Key

MAX_LOOKED_AT = 2  # about so many experts' neurons are looked for in a larger one
MIN_LENGTH = 1e-30  # of a row, so that none is divided by zero
EXPERT_MATRIX = re.compile(r"\.mlp\.experts\.(gate_proj|up_proj)$")


def find_split_experts(comparison: Comparison) -> list[Finding]:
    """See whether experts hold neurons of a larger one."""
    experts = [key for key in comparison.keys if EXPERT_MATRIX.search(key[0])]
    step = max(1, len(experts) // MAX_LOOKED_AT)
    for key in experts[::step]:
        larger = _larger(comparison, key)
        if not larger:
            return []
        agreement = _closest(comparison, key, larger)
        if not comparison.is_same(agreement):
            continue
        finding = ExpertsSplit(
            model=comparison.own.name,
            parent=comparison.parent.name,
            neurons=comparison.own.views[key].rows,
            of=comparison.parent.views[larger[0]].rows,
            agreement=agreement,
        )
        return [finding]
    return []


def _larger(comparison: Comparison, key: Key) -> list[Key]:
    """The parent's matrices of the same name, or of a dense MLP's, that have more
    neurons.
    """
    own = comparison.own.views[key]
    names = (key[0], EXPERT_MATRIX.sub(r".mlp.\1.weight", key[0]))
    return [
        other
        for other, view in comparison.parent.views.items()
        if other[0] in names and view.cols == own.cols and view.rows > own.rows
    ]


def _closest(comparison: Comparison, key: Key, larger: list[Key]) -> float:
    """The median |cosine| of some neurons with the closest of the larger matrices'."""
    neurons = _unit(comparison.own.rows(key, EXPERT_FINGERPRINT_ROWS))
    closest = []
    for other in larger:
        rows = comparison.parent.views[other].rows
        of_parent = _unit(comparison.parent.rows(other, rows))
        closest.append(np.abs(neurons @ of_parent.T).max(1))
    return float(np.median(np.max(closest, axis=0)))


def _unit(rows: Singles) -> Singles:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, MIN_LENGTH))
