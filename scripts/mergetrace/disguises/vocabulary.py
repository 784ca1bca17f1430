"""A vocabulary in another order, or with tokens more or less in the midst of it: the
rows of the embedding and of the head.

The tokenizer would say as much, but it is the suspect's own; the rows speak for
themselves.
"""

import numpy as np

from mergetrace.disguises.alignment import Match, cosine, match_some
from mergetrace.disguises.glimpses import FEATURES, LENGTH, MOST_ROWS, Key
from mergetrace.disguises.placing import CLOSE, SAME, Placing, accepted

EMBEDDING: Key = ("model.embed_tokens.weight", "")
HEAD: Key = ("lm_head.weight", "")
FEW_FEATURES = 64  # columns by which the rows of a long vocabulary are told apart


def find_vocabulary(placing: Placing) -> list[str]:
    """Put the rows of a vocabulary back beside the parent's. Returns what was found, in
    words.
    """
    words = []
    for key in (EMBEDDING, HEAD):
        if (
            key not in placing.keys
            or (target := placing.target(key)) is None
            or _in_place(placing, key, target)
        ):
            continue
        features = (
            FEATURES if placing.own.views[key].rows <= MOST_ROWS else FEW_FEATURES
        )
        match = match_some(
            placing.parent.columns(target, features),
            placing.own.columns(key, features),
            SAME,
        )
        if accepted(match) and not (match.order == np.arange(len(match.order))).all():
            words.append(_put_back(placing, key, match))
    return words


def _in_place(placing: Placing, key: Key, target: Key) -> bool:
    """Whether every run lies where the parent's does."""
    mine, its = (runs.reshape(-1, LENGTH) for runs in placing.runs(key, target))
    return (
        min(abs(cosine(*pair)) for pair in zip(mine, its, strict=True)) >= SAME
        and placing.cosine(key) >= CLOSE
    )


def _put_back(placing: Placing, key: Key, match: Match) -> str:
    """Read the model's rows in the parents' order, its own additions last."""
    views, common = (
        placing.own.views,
        min(
            model.views[placing.goal(key)].rows
            for model in placing.parents
            if placing.goal(key) in model.views
        ),
    )
    there = np.flatnonzero(match.order[:common] >= 0)
    added = np.setdiff1d(np.arange(views[key].rows), match.order[there])
    place = views[key].shard, views[key].start
    for name in [
        name for name, view in views.items() if (view.shard, view.start) == place
    ]:  # the head may be the embedding
        placing.own.arrange(name, row_map=np.concatenate([match.order[there], added]))
        if len(there) < common:
            placing.kept[name] = there
    counted = f"{len(there)} tokens that the parents have too"
    counted += (
        f" ({common - len(there)} of theirs are missing)" if len(there) < common else ""
    )
    counted += f" and {len(added)} of its own" if len(added) else ""
    found = (
        f"cosine {match.agreement:.2f}, best wrong row {match.wrong:.2f}, on elements"
        " the assignment did not see"
    )
    return f"{key[0]} holds {counted} in another order; put back ({found})."
