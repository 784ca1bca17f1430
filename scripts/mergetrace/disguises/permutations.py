"""Rows and columns in another order: the hidden dimensions of the whole model, the neurons and heads of single matrices."""

from collections import defaultdict

import numpy as np

from mergetrace.disguises.alignment import Match, Order, blocks_moved, match_rows
from mergetrace.disguises.glimpses import FEATURES, MOST_ROWS, Key
from mergetrace.disguises.placing import CLOSE, WRITES_HIDDEN, Placing, accepted
from mergetrace.disguises.vocabulary import EMBEDDING
from mergetrace.models.pairing import component_of

MOST_IN_VAIN = 32  # matrices looked at closely before a model of which none lies anywhere is given up


def find_hidden(placing: Placing) -> list[str]:
    """Put back an order of the hidden dimensions that the whole model shares, seen in the embedding's columns. Returns what was found, in words."""
    if EMBEDDING not in placing.own.views or placing.cosine(EMBEDDING) >= CLOSE:
        return []
    target = placing.same_shape(EMBEDDING)
    match = None if target is None else match_rows(placing.parent.rows(target, FEATURES).T, placing.own.rows(EMBEDDING, FEATURES).T)
    if not accepted(match) or _in_order(match.order):
        return []
    size = len(match.order)
    for key, view in placing.own.views.items():
        if component_of(key[0]) in ("vision", "mtp"):
            continue
        if view.cols == size and view.dimensions > 1:
            placing.own.arrange(key, col_map=match.order)
        if view.rows == size and ((view.dimensions == 1 and component_of(key[0]) == "norm") or WRITES_HIDDEN.search(key[0])):
            placing.own.arrange(key, row_map=match.order)
    return [f"The {size} hidden dimensions were permuted; put back ({_numbers(match, 'dimension')})."]


def find_permutations(placing: Placing) -> list[str]:
    """Put back the rows, or else the columns, of every matrix that does not lie close to its counterpart. Returns what was found, in words."""
    found: dict[tuple[str, str], list[Match]] = defaultdict(list)
    for looked_at, (key, target) in enumerate(_out_of_place(placing)):
        if looked_at == MOST_IN_VAIN and not found and not placing.in_place():
            break
        for what in ("row", "column"):
            match = _match(placing, key, target, what)
            if accepted(match):
                if not _in_order(match.order):
                    _compose(placing, key, "row_map" if what == "row" else "col_map", match.order)
                    found[component_of(key[0]), what].append(match)
                break
    _follow(placing)
    return [_in_words(component, what, matches) for (component, what), matches in found.items()]


def _out_of_place(placing: Placing) -> list[tuple[Key, Key]]:
    """Matrices to look at closely, with their counterparts; the first few are spread over the model."""
    pairs = [(key, target) for key in placing.keys if (target := placing.same_shape(key)) is not None and placing.cosine(key) < CLOSE]
    first = np.unique(np.linspace(0, len(pairs) - 1, min(MOST_IN_VAIN, len(pairs))).astype(int)).tolist() if pairs else []
    return [pairs[i] for i in first] + [pair for i, pair in enumerate(pairs) if i not in set(first)]


def _match(placing: Placing, key: Key, target: Key, what: str) -> Match | None:
    if placing.own.views[key].rows > MOST_ROWS or component_of(key[0]) in ("embedding", "lm_head"):
        return None
    if what == "row":
        return match_rows(placing.parent.columns(target), placing.own.columns(key))
    return match_rows(placing.parent.rows(target, FEATURES).T, placing.own.rows(key, FEATURES).T)


def _compose(placing: Placing, key: Key, name: str, order: Order) -> None:
    """An order found through maps already there, as an order of the file."""
    before = placing.own.maps.get(key, {}).get(name)
    placing.own.arrange(key, **{name: order if before is None else before[order]})


def _follow(placing: Placing) -> None:
    """What goes with a permuted matrix row by row: its bias, a router's corrections."""
    for key, view in placing.own.views.items():
        rows = placing.own.maps.get((key[0].rpartition(".")[0] + ".weight", key[1]), {}).get("row_map")
        if view.dimensions <= 1 and rows is not None and view.rows == len(rows):
            placing.own.arrange(key, row_map=rows)


def _in_order(order: Order) -> bool:
    return bool((order == np.arange(len(order))).all())


def _in_words(component: str, what: str, matches: list[Match]) -> str:
    size = int(np.gcd.reduce([blocks_moved(match.order) for match in matches]))
    block = f" in blocks of {size}" if size > 1 else ""
    typical = Match(matches[0].order, *(float(np.median([getattr(match, name) for match in matches])) for name in ("agreement", "wrong")))
    return f"{component}: the {what}s of {len(matches)} tensors were permuted{block}; put back ({_numbers(typical, what)})."


def _numbers(match: Match, what: str) -> str:
    return f"cosine {match.agreement:.2f}, best wrong {what} {match.wrong:.2f}, on elements the assignment did not see"
