"""A merge that was rounded to the parents' format before it was stored in a narrower
one.
"""

from mergetrace.disguises.blends import MIN_BETTER, explained_shares
from mergetrace.disguises.comparison import Comparison
from mergetrace.disguises.findings import Finding, RoundedTwice

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


def find_double_rounding(comparison: Comparison) -> list[Finding]:
    """See where a merge was rounded twice, and take such tensors' numbers as that."""
    first = comparison.parent.dtype()
    own = comparison.own
    findings: list[Finding] = []
    dtypes = {view.dtype for view in own.views.values()}
    for dtype in sorted(dtypes - {"F32"}):
        if first not in COARSER.get(dtype, ()):
            continue
        keys = [
            key
            for key, _ in comparison.comparable(comparison.keys)
            if own.views[key].dtype == dtype
        ]
        once, twice = explained_shares(comparison, keys)
        if twice < MIN_EXPLAINED or twice <= once + MIN_BETTER:
            continue
        for key, view in own.views.items():
            if view.dtype == dtype:
                own.read_through(key, first)
        findings.append(RoundedTwice(first, dtype))
    return findings
