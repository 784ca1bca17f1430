"""Rows and columns in another order: the hidden dimensions of the whole model, the
neurons and heads of single matrices.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mergetrace.disguises.adjustments import Adjustment
from mergetrace.disguises.alignment import Match, longest_block, match_rows
from mergetrace.disguises.comparison import (
    CLOSE_MIN_COSINE,
    WRITES_HIDDEN,
    Comparison,
)
from mergetrace.disguises.findings import Finding, HiddenReordered, LinesReordered
from mergetrace.disguises.glimpses import FEATURES, MAX_ROWS
from mergetrace.numerics.arrays import Array, Integers, evenly_spread
from mergetrace.tensors.naming import component_of
from mergetrace.tensors.view import Key
from mergetrace.tensors.views import EMBEDDING

MAX_MATRICES_IN_VAIN = 32
"""Matrices looked at closely before a model of which none lies anywhere is given up."""
VOCABULARIES = ("embedding", "lm_head")
"""Components whose rows are tokens (see vocabulary)."""
OTHER_TOWERS = ("vision", "mtp")
"""Components with hidden dimensions of their own."""


def find_hidden_order(comparison: Comparison) -> list[Finding]:
    """Put back an order of the hidden dimensions that the whole model shares."""
    match = _hidden_order(comparison)
    if match is None or match.plain:
        return []
    size = len(match.order)
    own = comparison.own
    for key, view in own.views.items():
        component = component_of(key[0])
        if component in OTHER_TOWERS:
            continue
        if view.cols == size and view.dimensions > 1:
            own.adjust(key, _with_columns(own.adjustment(key), match))
        if view.rows == size and view.dimensions == 1 and component == "norm":
            own.adjust(key, replace(own.adjustment(key), row_map=match.order))
        if view.rows == size and WRITES_HIDDEN.search(key[0]):
            own.adjust(key, _with_rows(own.adjustment(key), match))
    finding = HiddenReordered(
        size=size,
        permuted=match.permuted,
        negated=match.negated,
        agreement=match.agreement,
        wrong=match.wrong,
    )
    return [finding]


def _hidden_order(comparison: Comparison) -> Match | None:
    """The order as the embedding's columns show it; where its rows are in an order of
    their own too, as the columns of another matrix do.
    """
    if EMBEDDING not in comparison.own.views:
        return None
    for key in [EMBEDDING, *_readers_of_hidden(comparison)]:
        target = comparison.same_shape(key)
        if target is None:
            continue
        if comparison.cosine(key) >= CLOSE_MIN_COSINE:
            return None
        match = _match_columns(comparison, key, target)
        if match is not None and comparison.accepts(match):
            return match
    return None


def _readers_of_hidden(comparison: Comparison) -> list[Key]:
    """The first matrix of the attention and of the MLPs that reads the hidden
    dimensions.
    """
    size = comparison.own.views[EMBEDDING].cols
    first: dict[str, Key] = {}
    for key in comparison.keys:
        reads = comparison.own.views[key].cols == size
        if reads and not WRITES_HIDDEN.search(key[0]):
            first.setdefault(component_of(key[0]), key)
    return [first[name] for name in ("attention", "mlp") if name in first]


def find_permutations(comparison: Comparison) -> list[Finding]:
    """Put back the rows, or else the columns, of every matrix that does not lie close
    to its counterpart.
    """
    own = comparison.own
    matches: dict[tuple[str, bool], list[Match]] = defaultdict(list)
    for looked_at, (key, target) in enumerate(_out_of_place(comparison)):
        gave_nothing = looked_at == MAX_MATRICES_IN_VAIN and not matches
        if gave_nothing and not comparison.share_in_place():
            break
        columns, match = _rows_or_columns(comparison, key, target)
        if match is None or match.plain:
            continue
        add = _with_columns if columns else _with_rows
        own.adjust(key, add(own.adjustment(key), match))
        matches[component_of(key[0]), columns].append(match)
    _reorder_followers(comparison)
    return [
        _finding(component, columns, found)
        for (component, columns), found in matches.items()
    ]


def _finding(component: str, columns: bool, matches: Sequence[Match]) -> LinesReordered:
    blocks = [longest_block(match.order) for match in matches]
    return LinesReordered(
        component=component,
        columns=columns,
        tensors=len(matches),
        block=int(np.gcd.reduce(blocks)),
        permuted=any(match.permuted for match in matches),
        negated=any(match.negated for match in matches),
        agreement=float(np.median([match.agreement for match in matches])),
        wrong=float(np.median([match.wrong for match in matches])),
    )


def _out_of_place(comparison: Comparison) -> Iterator[tuple[Key, Key]]:
    """Matrices to look at closely, with their counterparts; the first few are spread
    over the model.
    """
    pairs = [
        (key, target)
        for key, target in comparison.comparable(comparison.keys)
        if comparison.cosine(key) < CLOSE_MIN_COSINE
    ]
    first = evenly_spread(len(pairs), MAX_MATRICES_IN_VAIN).tolist()
    rest = sorted(set(range(len(pairs))) - set(first))
    return (pairs[place] for place in [*first, *rest])


def _rows_or_columns(
    comparison: Comparison, key: Key, target: Key
) -> tuple[bool, Match | None]:
    """(whether it is the columns, the order that was found); of two the one under which
    more agrees: where half of the columns are in place, rows find their own too.
    """
    is_vocabulary = component_of(key[0]) in VOCABULARIES
    if comparison.own.views[key].rows > MAX_ROWS or is_vocabulary:
        return False, None
    rows = _match_rows(comparison, key, target)
    if not comparison.accepts(rows):
        rows = None
    if rows is not None and rows.agreement >= CLOSE_MIN_COSINE:
        return False, rows
    columns = _match_columns(comparison, key, target)
    if columns is None or not comparison.accepts(columns):
        return False, rows
    if rows is not None and rows.agreement >= columns.agreement:
        return False, rows
    return True, columns


def _match_rows(comparison: Comparison, key: Key, target: Key) -> Match | None:
    return match_rows(comparison.parent.columns(target), comparison.own.columns(key))


def _match_columns(comparison: Comparison, key: Key, target: Key) -> Match | None:
    return match_rows(
        comparison.parent.rows(target, FEATURES).T,
        comparison.own.rows(key, FEATURES).T,
    )


def _with_rows(held: Adjustment, match: Match) -> Adjustment:
    """The adjustment with an order and signs of rows that were found through it: as
    those of the file.
    """
    order, signs = _composed(match, held.row_map, held.row_scale)
    return replace(held, row_map=order, row_scale=signs)


def _with_columns(held: Adjustment, match: Match) -> Adjustment:
    """Like _with_rows, of columns."""
    order, signs = _composed(match, held.col_map, held.col_scale)
    return replace(held, col_map=order, col_scale=signs)


def _composed(
    match: Match, order: Integers | None, scale: Array | None
) -> tuple[Integers, Array | None]:
    """The file's order and scale of lines behind a match that was found through an
    order and a scale.
    """
    composed = match.order if order is None else order[match.order]
    signs = match.signs.astype(np.float64)
    if scale is not None:
        return composed, signs * scale[match.order]
    return composed, signs if match.negated else None


def _reorder_followers(comparison: Comparison) -> None:
    """Reorder what goes with a permuted matrix row by row: its bias, a router's
    corrections.
    """
    own = comparison.own
    adjusted = dict(own.adjusted)
    for key, view in own.views.items():
        matrix = (key[0].rpartition(".")[0] + ".weight", key[1])
        if matrix not in adjusted or view.dimensions > 1:
            continue
        row_map = adjusted[matrix].row_map
        if row_map is None or view.rows != len(row_map):
            continue
        # Else the two are counted from different rows.
        if (view.row_map is None) == (own.views[matrix].row_map is None):
            changed = replace(own.adjustment(key), row_map=row_map)
            if adjusted[matrix].row_scale is not None:
                changed = replace(changed, row_scale=adjusted[matrix].row_scale)
            own.adjust(key, changed)
