"""A vocabulary in another order, or with tokens more or less in the midst of it: the
rows of the embedding and of the head.

The tokenizer would say as much, but it is the suspect's own; the rows speak for
themselves.
"""

from dataclasses import replace

import numpy as np

from mergetrace.disguises.alignment import Match, match_shared_rows
from mergetrace.disguises.comparison import CLOSE_MIN_COSINE, Comparison
from mergetrace.disguises.findings import Finding, VocabularyReordered
from mergetrace.disguises.glimpses import FEATURES, MAX_ROWS, RUN_LENGTH
from mergetrace.disguises.likeness import cosine
from mergetrace.tensors.view import Key
from mergetrace.tensors.views import EMBEDDING, HEAD

FEW_FEATURES = 64  # columns by which the rows of a long vocabulary are told apart


def find_vocabulary(comparison: Comparison) -> list[Finding]:
    """Put the rows of a vocabulary back beside the parent's."""
    findings: list[Finding] = []
    for key in (EMBEDDING, HEAD):
        target = comparison.target(key) if key in comparison.keys else None
        if target is None or in_place(comparison, key, target):
            continue
        match = matched(comparison, key, target)
        if match is not None and match.permuted:
            findings.append(_put_back(comparison, key, match))
    return findings


def in_place(comparison: Comparison, key: Key, target: Key) -> bool:
    """Whether every run lies where the parent's does."""
    own, other = comparison.runs(key, target)
    pairs = zip(own.reshape(-1, RUN_LENGTH), other.reshape(-1, RUN_LENGTH), strict=True)
    least = min(abs(cosine(*pair)) for pair in pairs)
    return comparison.is_same(least) and comparison.cosine(key) >= CLOSE_MIN_COSINE


def matched(comparison: Comparison, key: Key, target: Key) -> Match | None:
    """Which row of the model is which of the parent, None where that does not show."""
    features = FEATURES
    if comparison.own.views[key].rows > MAX_ROWS:
        features = FEW_FEATURES
    match = match_shared_rows(
        comparison.parent.columns(target, features),
        comparison.own.columns(key, features),
        comparison.limits.min_same_cos,
    )
    return match if comparison.accepts(match) else None


def _put_back(comparison: Comparison, key: Key, match: Match) -> VocabularyReordered:
    """Read the model's rows in the parents' order, its own additions last."""
    goal = comparison.goal(key)
    of_parents = [
        parent.views[goal].rows for parent in comparison.parents if goal in parent.views
    ]
    common = min(of_parents)
    views = comparison.own.views
    held = np.flatnonzero(match.order[:common] >= 0)
    rows = match.order[held]
    added = np.setdiff1d(np.arange(views[key].rows), rows)
    row_map = np.concatenate([rows, added])
    place = (views[key].shard, views[key].start)
    for other, view in views.items():
        if (view.shard, view.start) != place:
            continue
        # The slice itself, and the head where it is the embedding.
        adjustment = replace(comparison.own.adjustment(other), row_map=row_map)
        comparison.own.adjust(other, adjustment)
        if len(held) < common:
            comparison.held_rows[other] = held
    return VocabularyReordered(
        tensor=key[0],
        common=len(held),
        missing=common - len(held),
        added=len(added),
        agreement=match.agreement,
        wrong=match.wrong,
    )
