"""What a recipe leaves, and what was done after a merge, in sentences."""

from collections.abc import Mapping

from mergetrace.readable import count, percent
from mergetrace.records.recipe_search import Remainder, RemainderPlaces, RemainderRank
from mergetrace.records.verdict import AfterMerge, SmallestChange

LOW_RANK = 0.25
"""Of the greatest possible rank; adapters usually have 4 to 64 of some thousands."""

EDITED_RANK = 2
"""Abliteration takes one direction out of every matrix."""
MOST_PLACES = 6
"""Layers or components that one sentence lists."""


def remainder_sentences(remainder: Remainder) -> list[str]:
    """How sparse the remainder is, where it lies, of what rank it is. Empty where
    nothing lies beyond rounding.
    """
    return _left_over(
        remainder.elements,
        remainder.changed / remainder.elements if remainder.elements else 0.0,
        remainder.where,
        remainder.rank,
        remainder.rank_reason,
    )


def after_merge_sentences(after: AfterMerge) -> list[str]:
    """What was done after the merge, where and of what kind, and how little would have
    been seen.
    """
    if after.trained is None:
        return ["No merge was established, so changes after a merge were not measured."]
    left = percent(after.residual_share, "no replay to compare with", digits=4)
    if not after.elements:
        return [
            f"What the recipe does not give back makes up {left} of the difference to"
            " the base."
        ]
    changed_share = after.changed_share or 0.0
    elements = count(after.elements)
    if after.trained:
        sentences = [
            "There are changes on top that the recipe does not explain:"
            f" {left} of the difference to the base."
        ]
        if after.where is not None:
            sentences += _left_over(
                after.elements,
                changed_share,
                after.where,
                after.rank,
                after.rank_reason,
            )
    else:
        sentences = [_untouched(elements, changed_share, bool(after.cells))]
    if after.smallest_seen:
        sentences += _smallest_seen(after.smallest_seen, bool(after.cells))
    return sentences


def _untouched(elements: str, changed_share: float, cells: bool) -> str:
    """That nothing was done after the merge that could be seen."""
    if changed_share:
        place = "outside their cells under" if cells else "beyond rounding of"
        return (
            f"{percent(changed_share, digits=4)} of {elements} elements lie {place} the"
            " recipe, too few to mean that it was trained on."
        )
    if cells:
        return (
            f"Of all {elements} elements the recipe's numbers lie in their cells:"
            " nothing is left that training would have to explain."
        )
    return (
        f"All of {elements} elements lie within rounding of the recipe: nothing is left"
        " that training would have to explain."
    )


def _smallest_seen(smallest: SmallestChange, cells: bool) -> list[str]:
    share = percent(smallest.share, digits=4)
    if cells:
        return [
            f"Later training would have been seen, with 95 % certainty, had it moved"
            f" {share} of the numbers out of their cells, as a change of every weight by"
            f" {smallest.move:.1g} does; what stays in its cell is not seen."
        ]
    return [
        f"Later training would have been seen, with 95 % certainty, had it changed"
        f" {share} of the elements anywhere in the model, or moved every weight by"
        f" {smallest.move:.1g}.",
        "What touches fewer, such as single rows, may lie outside what was read.",
    ]


def _left_over(
    elements: int,
    changed_share: float,
    where: RemainderPlaces,
    rank: RemainderRank | None,
    rank_reason: str | None,
) -> list[str]:
    if not where.changed_slices:
        return []
    place = "everywhere"
    if where.changed_slices != where.slices:
        place = f"in {where.changed_slices:,} of {where.slices:,} tensors"
    spread = (
        f"{percent(changed_share, digits=2)} of {elements:,} elements lie beyond"
        f" rounding, {place}; of their energy by layer {_places(where.layers)}, by"
        f" component {_places(where.components)}."
    )
    return [spread, _rank_sentence(rank, rank_reason)]


def _rank_sentence(rank: RemainderRank | None, reason: str | None) -> str:
    if rank is None:
        return f"Its rank is not known: {reason}."
    kind = "many directions, as training of whole matrices leaves"
    if rank.median <= LOW_RANK * rank.possible:
        kind = "few directions, as a low-rank adapter (LoRA) leaves"
    if rank.median <= EDITED_RANK:
        kind = "so few directions as an edit that takes some out (abliteration) leaves"
    return (
        f"The changed matrices have a rank of {rank.median:g} of {rank.possible:g} above"
        f" rounding (median): {kind}."
    )


def _places(shares: Mapping[str, float]) -> str:
    """The greatest shares by place, and how many further places there are."""
    listed = [
        f"{name.replace('_', ' ')} {percent(share, digits=0)}"
        for name, share in list(shares.items())[:MOST_PLACES]
    ]
    further = len(shares) - MOST_PLACES
    text = ", ".join(listed)
    return f"{text} and {further} more" if further > 0 else text
