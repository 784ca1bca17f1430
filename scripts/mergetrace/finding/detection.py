"""How little would have been seen of what was done after a merge."""

from itertools import accumulate

from mergetrace.records.recipe_search import Remainder
from mergetrace.records.verdict import SmallestChange

CONFIDENCE = 0.95


def smallest_seen(remainder: Remainder, unexplained: float) -> SmallestChange | None:
    """The smallest later change that would have been seen: the share of elements it
    touches, and the size of a change of every weight. None of too few elements.

    unexplained: the share of elements that may lie beyond rounding of a pure merge.

    More than a share `unexplained` of n elements must differ. A change that touches a
    share p of all is seen with 95 % certainty once P(Binomial(n, p) > unexplained n)
    >= .95: the upper limit of Clopper & Pearson (1934, Biometrika 26) at that count, 3/n
    for a count of zero. A stored number moves when it changes by more than half a step
    of its lattice: `move` is the size at which the share p of the elements does.
    """
    elements = remainder.elements
    allowed = int(unexplained * elements)
    if elements <= allowed + 1:
        return None
    # scipy takes a third of a second, which jobs that need no statistic do not wait for
    from scipy.special import betaincinv

    share = float(betaincinv(allowed + 1, elements - allowed, CONFIDENCE))
    needed = share * sum(remainder.halves.values())
    reached = zip(remainder.halves, accumulate(remainder.halves.values()), strict=True)
    moves = [2.0 ** int(exponent) for exponent, seen in reached if seen >= needed]
    return SmallestChange(share, moves[0] if moves else float("nan"))
