"""A merge that was rounded to the parents' format before it was stored in a narrower
one.
"""

import numpy as np

from mergetrace.disguises.blends import MAX_MATRICES, MIN_BETTER, explained_shares
from mergetrace.disguises.comparison import Comparison
from mergetrace.disguises.findings import Finding, RoundedTwice
from mergetrace.disguises.nearest_blends import explained_alone, explained_together
from mergetrace.numerics.arrays import some_of
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.sums.evidence import Sample

MIN_EXPLAINED = 0.5
"""The share of elements that one blend must explain: a merge in f16 arithmetic that no
such blend explains is explained a little better by any wider interval (NuSLERP: .13
for .10).
"""
COARSER = {
    "F32": ("BF16", "F16"),
    "F16": ("BF16",),
    "F8_E4M3": ("BF16", "F16"),
    "F8_E5M2": ("BF16", "F16"),
}
"""By the stored format those that numbers may have been rounded to on the way."""


HOLDING = {("BF16", "F16"): float(np.finfo(np.float16).tiny)}
"""By parents' and stored format, where the latter holds every number of the former: the
size from which it does.
"""


EXPLAINED = (explained_shares, explained_together, explained_alone)
"""What tells both shares, the simpler first."""


def find_double_rounding(comparison: Comparison) -> list[Finding]:
    """See where a merge was rounded twice, and take such tensors' numbers as that."""
    first = comparison.parent.dtype()
    own = comparison.own
    findings: list[Finding] = []
    dtypes = {view.dtype for view in own.views.values()}
    for dtype in sorted(dtypes - {"F32"}):
        if first not in COARSER.get(dtype, ()):
            continue
        comparable = comparison.comparable(comparison.keys)
        keys = [
            key
            for key, _ in some_of(comparable, MAX_MATRICES)
            if own.views[key].dtype == dtype and _may_be_rounded(own.sample(key), first)
        ]
        if not any(_shows(*explain(comparison, keys)) for explain in EXPLAINED):
            continue
        for key, view in own.views.items():
            if view.dtype == dtype and _may_be_rounded(own.sample(key), first):
                own.read_through(key, first)
        findings.append(RoundedTwice(first, dtype))
    return findings


def _shows(once: float, twice: float) -> bool:
    """Whether blends that are rounded twice explain a model, and better than others."""
    return twice >= MIN_EXPLAINED and twice > once + MIN_BETTER


def _may_be_rounded(sample: Sample, first: str) -> bool:
    """Whether every number of a tensor may have been rounded to a format before it was
    stored. A narrower one with more digits shows it: then all are numbers of the first.
    """
    smallest = HOLDING.get((first, sample.dtype))
    if smallest is None or sample.scales is not None:
        return True
    values = sample.values()
    values = values[np.isfinite(values) & (np.abs(values) >= smallest)]
    return bool((decode(encode(values, first), first) == values).all())
