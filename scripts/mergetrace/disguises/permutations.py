"""Rows and columns in another order: the hidden dimensions of the whole model, the
neurons and heads of single matrices.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np

from mergetrace.disguises.alignment import Match, blocks_moved, match_rows
from mergetrace.disguises.glimpses import FEATURES, MOST_ROWS, Key
from mergetrace.disguises.placing import CLOSE, WRITES_HIDDEN, Placing, accepted
from mergetrace.disguises.vocabulary import EMBEDDING
from mergetrace.tensors.naming import component_of

# matrices looked at closely before a model of which none lies anywhere is given up
MOST_IN_VAIN = 32


def find_hidden(placing: Placing) -> list[str]:
    """Put back an order of the hidden dimensions that the whole model shares. Returns
    what was found, in words.
    """
    match = _hidden_order(placing)
    if match is None or match.plain:
        return []
    size = len(match.order)
    for key, view in placing.own.views.items():
        if component_of(key[0]) in ("vision", "mtp"):
            continue
        if view.cols == size and view.dimensions > 1:
            _compose(placing, key, "col", match)
        if (
            view.rows == size
            and view.dimensions == 1
            and component_of(key[0]) == "norm"
        ):
            placing.own.arrange(key, row_map=match.order)
        if view.rows == size and WRITES_HIDDEN.search(key[0]):
            _compose(placing, key, "row", match)
    return [
        f"The {size} hidden dimensions were {_done([match])}; put back"
        f" ({_numbers(match, 'dimension')})."
    ]


def _hidden_order(placing: Placing) -> Match | None:
    """The order as the embedding's columns show it; where its rows are in an order of
    their own too, as the columns of another matrix do.
    """
    if EMBEDDING not in placing.own.views:
        return None
    size = placing.own.views[EMBEDDING].cols
    reading = [
        key
        for key in placing.keys
        if placing.own.views[key].cols == size and not WRITES_HIDDEN.search(key[0])
    ]
    first = {component_of(key[0]): key for key in reversed(reading)}
    for key in (
        EMBEDDING,
        *(first[component] for component in ("attention", "mlp") if component in first),
    ):
        target = placing.same_shape(key)
        if target is not None and placing.cosine(key) >= CLOSE:
            return None
        match = (
            None
            if target is None
            else match_rows(
                placing.parent.rows(target, FEATURES).T,
                placing.own.rows(key, FEATURES).T,
            )
        )
        if accepted(match):
            return match
    return None


def find_permutations(placing: Placing) -> list[str]:
    """Put back the rows, or else the columns, of every matrix that does not lie close
    to its counterpart. Returns what was found, in words.
    """
    found: dict[tuple[str, str], list[Match]] = defaultdict(list)
    for looked_at, (key, target) in enumerate(_out_of_place(placing)):
        if looked_at == MOST_IN_VAIN and not found and not placing.in_place():
            break
        what, match = _rows_or_columns(placing, key, target)
        if match is not None and not match.plain:
            _compose(placing, key, what, match)
            found[component_of(key[0]), what].append(match)
    _follow(placing)
    return [
        _in_words(component, what, matches)
        for (component, what), matches in found.items()
    ]


def _out_of_place(placing: Placing) -> list[tuple[Key, Key]]:
    """Matrices to look at closely, with their counterparts; the first few are spread
    over the model.
    """
    pairs = [
        (key, target)
        for key in placing.keys
        if (target := placing.same_shape(key)) is not None
        and placing.cosine(key) < CLOSE
    ]
    first = (
        np.unique(
            np.linspace(0, len(pairs) - 1, min(MOST_IN_VAIN, len(pairs))).astype(int)
        ).tolist()
        if pairs
        else []
    )
    return [pairs[i] for i in first] + [
        pair for i, pair in enumerate(pairs) if i not in set(first)
    ]


def _rows_or_columns(
    placing: Placing, key: Key, target: Key
) -> tuple[str, Match | None]:
    """The order that was found; of two the one under which more agrees: where half of
    the columns are in place, rows find their own too.
    """
    found: list[tuple[str, Match]] = []
    for what in ("row", "col"):
        match = _match(placing, key, target, what)
        if accepted(match):
            found.append((what, match))
            if match.agreement >= CLOSE:
                break
    return max(found, key=lambda pair: pair[1].agreement, default=("row", None))


def _match(placing: Placing, key: Key, target: Key, what: str) -> Match | None:
    if placing.own.views[key].rows > MOST_ROWS or component_of(key[0]) in (
        "embedding",
        "lm_head",
    ):
        return None
    if what == "row":
        return match_rows(placing.parent.columns(target), placing.own.columns(key))
    return match_rows(
        placing.parent.rows(target, FEATURES).T, placing.own.rows(key, FEATURES).T
    )


def _compose(placing: Placing, key: Key, what: str, match: Match) -> None:
    """An order and signs found through maps already there, as those of the file."""
    held = placing.own.maps.get(key, {})
    order, signs = (held.get(f"{what}_{name}") for name in ("map", "scale"))
    placing.own.arrange(
        key, **{f"{what}_map": match.order if order is None else order[match.order]}
    )
    if signs is not None or (match.signs < 0).any():
        placing.own.arrange(
            key,
            **{
                f"{what}_scale": (
                    match.signs * (1.0 if signs is None else signs[match.order])
                )
            },
        )


def _follow(placing: Placing) -> None:
    """What goes with a permuted matrix row by row: its bias, a router's corrections."""
    moved = placing.own.found_maps()
    for key, view in placing.own.views.items():
        matrix = key[0].rpartition(".")[0] + ".weight", key[1]
        found = moved.get(matrix, {})
        if (
            not found
            or view.dimensions > 1
            or view.rows != len(found.get("row_map", ()))
        ):
            continue
        if (view.row_map is None) == (
            placing.own.views[matrix].row_map is None
        ):  # else the two are counted from different rows
            placing.own.arrange(
                key,
                **{
                    name: found[name]
                    for name in ("row_map", "row_scale")
                    if name in found
                },
            )


def _done(matches: list[Match]) -> str:
    """What was done to rows or columns."""
    permuted = any(
        (match.order != np.arange(len(match.order))).any() for match in matches
    )
    turned = (
        "in part multiplied by -1"
        if any((match.signs < 0).any() for match in matches)
        else ""
    )
    return " and ".join(
        part for part in ("permuted" if permuted else "", turned) if part
    )


def _in_words(component: str, what: str, matches: list[Match]) -> str:
    size = int(np.gcd.reduce([blocks_moved(match.order) for match in matches]))
    block = f" in blocks of {size}" if size > 1 else ""
    typical = replace(
        matches[0],
        **{
            name: float(np.median([getattr(match, name) for match in matches]))
            for name in ("agreement", "wrong")
        },
    )
    line = "row" if what == "row" else "column"
    return (
        f"{component}: the {line}s of {len(matches)} tensors were"
        f" {_done(matches)}{block}; put back ({_numbers(typical, line)})."
    )


def _numbers(match: Match, what: str) -> str:
    return (
        f"cosine {match.agreement:.2f}, best wrong {what} {match.wrong:.2f}, on"
        " elements the assignment did not see"
    )
