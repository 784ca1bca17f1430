"""Numbers that differ from row to row or from column to column, multiplied into
matrices so that the model computes what it did.

The weights of a norm may be multiplied into the columns of the matrices that read it; a
number may go from the rows of one matrix to the columns of the next. Both are undone
only where the numbers are found to the last digit and one side of the pair makes up for
the other: a finetune that multiplied its channels (DoRA, IA3) is not put back, and what
training changed afterwards is not.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from mergetrace.disguises.channel_scales import Scales, column_scales, ratios
from mergetrace.disguises.glimpses import Glimpses, Key
from mergetrace.disguises.placing import SAME, WRITES_HIDDEN, Placing, components
from mergetrace.numerics.arrays import Array
from mergetrace.tensors.naming import LAYER, component_of

LINES = 64  # rows, or columns, of a matrix that are looked at
MOST_POOLED = 8  # matrices that read one norm, of those that are looked at together
MOST_PAIRS = 64  # pairs of matrices looked at before all are
MOST_IN_VAIN = 8  # of these, that are tried in vain
# times more than by chance: columns that differ in size by so much were multiplied, or
# trained to differ
APART = 4.0
# of the elements, that the numbers have to explain: blends explain .94 and more,
# finetunes .06 at most, in trained small models
EXACT = 0.9
# of the elements, that may be explained with no number at all before one is looked for
PLAIN = 0.5
# by how much a norm and its matrices, or two matrices, may miss making up for each
# other
MADE_UP = 0.1
# spread of a norm's weights beside the parent's, from which it was replaced: finetunes
# change them by less
REPLACED = 0.05

READERS = {
    "input_layernorm": re.compile(r"(self_attn|linear_attn|attn|attention)\."),
    "post_attention_layernorm": re.compile(r"mlp\."),
    "pre_feedforward_layernorm": re.compile(r"mlp\."),
    "norm": re.compile(r"lm_head"),
}
"""Which matrices of its layer a norm's output is read by."""
PAIRS = {
    re.compile(r"down_proj(?=\.weight$|$)"): "up_proj",
    re.compile(r"o_proj(?=\.weight$)"): "v_proj",
}
"""The matrix whose rows make up for the columns of another."""


def find_folded_norms(placing: Placing) -> list[str]:
    """Divide the columns of matrices that a norm's weights were multiplied into, and
    multiply the norm. Returns what was found, in words.
    """
    folded: list[Key] = []
    replaced: list[Key] = []
    found: list[Scales] = []
    for norm in _replaced_norms(placing):
        readers = _readers(placing, norm)
        scales = (
            _solved(placing, readers[:: -(-len(readers) // MOST_POOLED)])
            if readers
            else None
        )
        if scales is None or not _makes_up(placing, norm, scales):
            replaced.append(norm)
            continue
        for key in readers:
            placing.own.multiply(key, col_scale=1 / scales.columns)
            placing.own.arrange(key, through=scales.through)
        folded += readers
        found.append(scales)
    if replaced:
        placing.seen.append(
            f"{len(replaced)} norms are not {placing.parent.name}'s, as if they were"
            " multiplied into other matrices; not exactly so."
        )
    what = (
        f"The weights of {len(found)} norms were multiplied into the matrices that read"
        f" them ({len(folded)} tensors: {components(folded)})"
    )
    return [_in_words(what, found)] if found else []


def find_scaled_channels(placing: Placing) -> list[str]:
    """Divide columns of one matrix and rows of the one before that were multiplied by
    numbers that make up for each other. Returns words.
    """
    pairs = list(_pairs(placing))
    spread = (
        [
            pairs[i]
            for i in np.unique(
                np.linspace(0, len(pairs) - 1, min(MOST_PAIRS, len(pairs))).astype(int)
            )
        ]
        if pairs
        else []
    )
    apart = [
        (key, partner) for key, partner in spread if _sizes(placing, key)[1] > APART
    ]
    if not any(_solved(placing, [key]) for key, _ in apart[:MOST_IN_VAIN]):
        wide = [key for key, _ in apart if _spread(_sizes(placing, key)[0]) > REPLACED]
        if wide:
            placing.seen.append(
                f"The columns of {len(wide)} matrices ({components(wide)}) look"
                " multiplied each by a number of its own."
            )
        return []
    scaled: list[Key] = []
    found: list[Scales] = []
    for key, partner in pairs:
        mine = _solved(placing, [key])
        its = _solved(placing, [partner], rows=True)
        if mine is None or its is None or _off(mine.columns, its.columns) > MADE_UP:
            continue
        placing.own.multiply(key, col_scale=1 / mine.columns)
        placing.own.multiply(partner, row_scale=1 / its.columns)
        placing.own.arrange(key, through=mine.through)
        placing.own.arrange(partner, through=its.through)
        scaled += [key, partner]
        found.append(mine)
    what = (
        f"{len(scaled)} matrices ({components(scaled)}) were multiplied column by"
        " column and row by row, one making up for the other"
    )
    return [_in_words(what, found)] if found else []


def _replaced_norms(placing: Placing) -> Iterator[Key]:
    """Norms whose weights are not the parent's, changed a little."""
    for key, view in placing.own.views.items():
        if (
            component_of(key[0]) != "norm"
            or view.dimensions > 1
            or (target := placing.same_shape(key)) is None
        ):
            continue
        mine = placing.own.vector(key).astype(float)
        its = placing.parent.vector(target).astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = min(
                _spread((mine + less) / (its + less)) for less in (0, 1)
            )  # what is stored may be the weight less one
        if np.ptp(its) and (not np.ptp(mine) or spread > REPLACED):
            yield key


def _spread(ratio: Array) -> float:
    """How far ratios lie from their median, in the median."""
    ratio = np.where(np.isfinite(ratio), ratio, np.nan)
    return float(np.nanmedian(np.abs(ratio / (np.nanmedian(ratio) or 1.0) - 1)))


def _readers(placing: Placing, norm: Key) -> list[Key]:
    """The matrices of the model that read a norm's output."""
    stem = LAYER.sub("", norm[0]).removeprefix("model.").removesuffix(".weight")
    layer = LAYER.match(norm[0])
    size = placing.own.views[norm].rows
    if stem not in READERS:
        return []

    def reads(key: Key) -> bool:
        other = LAYER.match(key[0])
        same = (
            other is None
            if layer is None
            else other is not None and other[1] == layer[1]
        )
        return (
            same
            and bool(READERS[stem].match(LAYER.sub("", key[0])))
            and not WRITES_HIDDEN.search(key[0])
        )

    views = placing.own.views
    return [
        key
        for key in views
        if reads(key)
        and views[key].cols == size
        and views[key].dimensions > 1
        and placing.same_shape(key) is not None
    ]


def _makes_up(placing: Placing, norm: Key, scales: Scales) -> bool:
    """Whether the norm and the numbers make up for each other. The norm is read so,
    unless what is stored is its weight less one.
    """
    mine, its = (
        model.vector(key).astype(float)
        for model, key in ((placing.own, norm), (placing.parent, placing.goal(norm)))
    )
    if np.median(np.abs(mine * scales.columns - its)) <= MADE_UP * np.median(
        np.abs(its)
    ):
        placing.own.arrange(norm, row_scale=scales.columns, through=scales.through)
        return True
    return bool(np.median(np.abs((1 + mine) * scales.columns - (1 + its))) <= MADE_UP)


def _pairs(placing: Placing) -> Iterator[tuple[Key, Key]]:
    """(a matrix, the one whose rows make up for its columns) of all pairs that lie
    where the parent's do.
    """
    for key in placing.keys:
        for pattern, name in PAIRS.items():
            partner = (pattern.sub(name, key[0]), key[1])
            if (
                pattern.search(key[0])
                and partner in placing.own.views
                and min(placing.cosine(key), placing.cosine(partner)) >= SAME
            ):
                yield key, partner


def _sizes(placing: Placing, key: Key) -> tuple[Array, float]:
    """The columns' sizes beside the parent's, and how much they differ (see ratios)."""
    own, parent = (
        model.rows(at, LINES).astype(float)
        for model, at in ((placing.own, key), (placing.parent, placing.goal(key)))
    )
    return ratios(own, parent)


def _off(columns: Array, rows: Array) -> float:
    """How far numbers of columns and of the rows before them are from making up for each other, in the median. A key and value head's rows
    belong to several query heads' columns: as many as there are times more of these.
    """
    shared = len(columns) // len(rows)
    heads = (
        [count for count in range(1, len(rows) + 1) if len(rows) % count == 0]
        if shared > 1
        else [1]
    )
    meant = [
        np.repeat(rows.reshape(count, 1, -1), shared, axis=1).reshape(-1)
        for count in heads
    ]
    return min(
        (
            float(np.median(np.abs(columns * numbers - 1)))
            for numbers in meant
            if len(numbers) == len(columns)
        ),
        default=np.inf,
    )


def _solved(placing: Placing, keys: Sequence[Key], rows: bool = False) -> Scales | None:
    """By what the columns, or else the rows, of all these matrices were multiplied;
    None where nothing explains them exactly.
    """
    low = []
    high = []
    parents = []
    held = [
        model
        for model in placing.parents
        if all(_fits(placing, key, model) for key in keys)
    ]
    for key in keys:
        length = placing.own.views[key].rows if rows else placing.own.views[key].cols
        ends = placing.own.lines(key, LINES, rows).midpoints()
        low.append(ends[0].reshape(-1, length))
        high.append(ends[1].reshape(-1, length))
        parents.append(
            np.stack(
                [
                    model.lines(placing.goal(key), LINES, rows)
                    .values()
                    .reshape(-1, length)
                    for model in held
                ]
            )
        )
    stacked = [np.concatenate(part, axis=-2) for part in (low, high, parents)]
    best = max(
        (
            column_scales(*stacked, through)
            for through in (placing.parent.dtype(), None)
        ),
        key=lambda scales: scales.explained,
    )
    return best if best.explained >= EXACT and best.plain < PLAIN else None


def _fits(placing: Placing, key: Key, model: Glimpses) -> bool:
    mine = placing.own.views[key]
    its = model.views.get(placing.goal(key))
    return its is not None and (mine.rows, mine.cols) == (its.rows, its.cols)


def _in_words(what: str, found: Sequence[Scales]) -> str:
    numbers = np.concatenate([scales.columns for scales in found])
    explained = float(np.median([scales.explained for scales in found]))
    again = (
        "divided again, and recipes are rounded, multiplied and rounded as they were"
        if found[0].through
        else "divided again"
    )
    return (
        f"{what}, by {numbers.min():.3g} to {numbers.max():.3g}; {again}"
        f" ({explained:.0%} of elements that the numbers were not made on fit)."
    )
