"""What was found to be disguised, in sentences."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from mergetrace.disguises import findings as found
from mergetrace.disguises.findings import Finding, Tensors

LOOKED_FOR = (
    "an order or signs of the hidden dimensions",
    "layers moved, repeated or left out",
    "experts copied from a dense model's MLP",
    "experts renumbered",
    "a vocabulary in another order",
    "rows or columns permuted or multiplied by -1 (neurons, attention heads)",
    "noise on numbers of a coarser format",
    "weights of norms multiplied into the matrices that read them",
    "columns of a matrix multiplied, and the rows of the one before divided",
    "columns multiplied before a matrix was quantised, and the norm before divided",
    "the column that GPTQ rounded first",
    "tensors multiplied by a power of two or by -1",
    "tensors multiplied by any number",
    "a merge stored in a narrower format than its own",
    "a rotation of the hidden dimensions (would be seen, not undone)",
    "experts cut into finer ones (would be seen, not undone)",
)
"""Everything that is looked for, in that order."""


def sentences(findings: Iterable[Finding]) -> list[str]:
    """Each finding in a sentence, in their order."""
    return [sentence(finding) for finding in findings]


def sentence(finding: Finding) -> str:
    """A finding in a sentence or a few."""
    return _WORDING[type(finding)](finding)


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in their order, runs as 3-7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in runs]
    return ", ".join(texts)


def _components(tensors: Tensors) -> str:
    return ", ".join(tensors.components)


def _agreement(agreement: float, wrong: float, line: str) -> str:
    return (
        f"cosine {agreement:.2f}, best wrong {line} {wrong:.2f}, on elements that the"
        " assignment did not see"
    )


def _done(permuted: bool, negated: bool) -> str:
    """What was done to rows, columns or dimensions."""
    parts = []
    if permuted:
        parts.append("permuted")
    if negated:
        parts.append("in part multiplied by -1")
    return " and ".join(parts)


def _hidden_reordered(finding: found.HiddenReordered) -> str:
    done = _done(finding.permuted, finding.negated)
    numbers = _agreement(finding.agreement, finding.wrong, "dimension")
    return f"The {finding.size} hidden dimensions were {done}; put back ({numbers})."


def _lines_reordered(finding: found.LinesReordered) -> str:
    line = "column" if finding.columns else "row"
    done = _done(finding.permuted, finding.negated)
    blocks = f" in blocks of {finding.block}" if finding.block > 1 else ""
    numbers = _agreement(finding.agreement, finding.wrong, line)
    return (
        f"{finding.component}: the {line}s of {finding.tensors} tensors were"
        f" {done}{blocks}; put back ({numbers})."
    )


def _layers_moved(finding: found.LayersMoved) -> str:
    text = (
        f"{len(finding.moved)} of {finding.layers} layers lie elsewhere in the parents:"
        f" layers {ranges(finding.moved)} are the parents' {ranges(finding.places)}"
        f" (likeness {finding.agreement:.2f}, best other layer {finding.wrong:.2f})."
    )
    if finding.repeated:
        text += f" Repeated: {ranges(finding.repeated)}."
    if finding.dropped:
        text += f" Left out: {ranges(finding.dropped)}."
    return text


def _experts_copied(finding: found.ExpertsCopied) -> str:
    return (
        f"{finding.experts} experts lie where a dense parent's MLP does (cosine"
        f" {finding.agreement:.2f}): a model of experts made from dense ones."
    )


def _experts_renumbered(finding: found.ExpertsRenumbered) -> str:
    return (
        f"The experts of {finding.layers} layers were renumbered; put back by the rows"
        " of their routers or their own elements (likeness of the experts, on elements"
        f" that the assignment did not see, {finding.agreement:.2f}, of neighbours"
        f" {finding.wrong:.2f})."
    )


def _vocabulary_reordered(finding: found.VocabularyReordered) -> str:
    tokens = f"{finding.common} tokens that the parents have too"
    if finding.missing:
        tokens += f" ({finding.missing} of theirs are missing)"
    if finding.added:
        tokens += f" and {finding.added} that not all of them have"
    numbers = _agreement(finding.agreement, finding.wrong, "row")
    return (
        f"{finding.tensor} holds {tokens}, in other rows than a parent; put back"
        f" ({numbers})."
    )


def _vocabulary_shared(finding: found.VocabularyShared) -> str:
    return (
        f"{finding.tensor} has {finding.own} rows in another order than"
        f" {finding.first}'s {finding.of_first}; compared are those of the"
        f" {finding.common} tokens that all parents hold."
    )


def _noise(finding: found.Noise) -> str:
    return (
        f"{finding.tensors} float32 tensors hold {finding.dtype} numbers under noise or"
        f" very light training (median distance {finding.distance:.3f} spacings);"
        f" rounded to {finding.dtype}."
    )


def _norms_folded(finding: found.NormsFolded) -> str:
    what = (
        f"The weights of {finding.norms} norms were multiplied into the matrices that"
        f" read them ({finding.tensors.count} tensors: {_components(finding.tensors)})"
    )
    return _divided(what, finding)


def _channels_scaled(finding: found.ChannelsScaled) -> str:
    what = (
        f"{finding.tensors.count} matrices ({_components(finding.tensors)}) were"
        " multiplied column by column and row by row, one making up for the other"
    )
    return _divided(what, finding)


def _columns_smoothed(finding: found.ColumnsSmoothed) -> str:
    by = f"{finding.smallest:.3g} to {finding.largest:.3g}"
    return (
        f"Columns of {finding.tensors.count} matrices ({_components(finding.tensors)})"
        f" were multiplied by {by} before they were quantised, as AWQ and SmoothQuant do"
        f" it; divided again, as {finding.norms} norms and the rows of {finding.pairs}"
        " matrices before them say. These norms are not compared."
    )


def _first_columns(finding: found.FirstColumns) -> str:
    text = (
        "GPTQ moves the error of each column that it rounds into those that follow: of"
        f" {finding.tensors.count} of {finding.of} matrices"
        f" ({_components(finding.tensors)}) only the column that was rounded first"
        " decides, which is known; the others count in sums alone."
    )
    if finding.following:
        text += (
            f" In {finding.following} of them the columns behind it decide too, where what"
            " was pushed onto a number is known closely: from a fit of other rows, to the"
            " blend of the parents that lies nearest."
        )
    if finding.searched:
        text += (
            f" In {finding.searched} of them it was searched for, by rows that decide"
            " nothing."
        )
    return text


def _divided(what: str, finding: found.NormsFolded | found.ChannelsScaled) -> str:
    again = "divided again"
    if finding.rounded_between:
        again += ", and recipes are rounded, multiplied and rounded as they were"
    return (
        f"{what}, by {finding.smallest:.3g} to {finding.largest:.3g}; {again}"
        f" ({finding.explained:.0%} of the elements that the numbers were not made on"
        " fit)."
    )


def _power_multiplied(finding: found.PowerMultiplied) -> str:
    return (
        f"{finding.tensors.count} tensors ({_components(finding.tensors)}) were"
        f" multiplied by {finding.factor:g}; divided again, which is exact."
    )


def _factor_multiplied(finding: found.FactorMultiplied) -> str:
    return (
        f"{finding.tensors.count} tensors ({_components(finding.tensors)}) were"
        f" multiplied by {np.float32(finding.factor)!s} after they were rounded;"
        " divided again, and recipes are rounded, multiplied and rounded as they were."
    )


def _rounded_twice(finding: found.RoundedTwice) -> str:
    return (
        f"Tensors were rounded to {finding.first} before they were stored as"
        f" {finding.dtype}; recipes are rounded twice, too."
    )


def _nowhere_found(finding: found.NowhereFound) -> str:
    return (
        f"{finding.tensors.count} of {finding.of} matrices"
        f" ({_components(finding.tensors)}) were found nowhere in {finding.parent}."
    )


def _hidden_rotated(finding: found.HiddenRotated) -> str:
    return (
        "The hidden dimensions look rotated: inner products agree with"
        f" {finding.parent}'s (correlation {finding.agreement:.2f}), elements do not."
    )


def _experts_split(finding: found.ExpertsSplit) -> str:
    return (
        f"{finding.model} holds experts of {finding.neurons} neurons, which are among"
        f" the {finding.of} of one of {finding.parent}'s (cosine"
        f" {finding.agreement:.2f}): experts cut into finer ones, which is not undone."
    )


def _norms_replaced(finding: found.NormsReplaced) -> str:
    return (
        f"{finding.norms} norms are not {finding.parent}'s, as if they had been"
        " multiplied into other matrices; but no numbers fit exactly."
    )


def _columns_apart(finding: found.ColumnsApart) -> str:
    return (
        f"The columns of {finding.tensors.count} matrices"
        f" ({_components(finding.tensors)}) look multiplied, each by a number of its"
        " own."
    )


def _sizes_apart(finding: found.SizesApart) -> str:
    return (
        f"{finding.tensors.count} matrices ({_components(finding.tensors)}) look"
        f" multiplied, by {finding.smallest:.4g} to {finding.largest:.4g}; by what"
        " exactly is unknown."
    )


_WORDING: dict[type[Finding], Callable[[Any], str]] = {
    found.HiddenReordered: _hidden_reordered,
    found.LayersMoved: _layers_moved,
    found.ExpertsCopied: _experts_copied,
    found.ExpertsRenumbered: _experts_renumbered,
    found.VocabularyReordered: _vocabulary_reordered,
    found.VocabularyShared: _vocabulary_shared,
    found.LinesReordered: _lines_reordered,
    found.Noise: _noise,
    found.NormsFolded: _norms_folded,
    found.ChannelsScaled: _channels_scaled,
    found.ColumnsSmoothed: _columns_smoothed,
    found.FirstColumns: _first_columns,
    found.PowerMultiplied: _power_multiplied,
    found.FactorMultiplied: _factor_multiplied,
    found.RoundedTwice: _rounded_twice,
    found.NowhereFound: _nowhere_found,
    found.HiddenRotated: _hidden_rotated,
    found.ExpertsSplit: _experts_split,
    found.NormsReplaced: _norms_replaced,
    found.ColumnsApart: _columns_apart,
    found.SizesApart: _sizes_apart,
}
