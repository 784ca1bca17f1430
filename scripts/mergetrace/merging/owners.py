"""Whose each tensor is, where a model was put together of whole tensors of several
parents: as filters of a passthrough recipe, as few as say it.

A filter is the part of a tensor's name that all tensors under one branch share: a layer
("layers.3."), a component of every layer ("mlp."), an expert of every layer
("mlp.experts.2."), or one tensor.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.settings import Setting, value_at

NUMBERED = re.compile(r"^model\.layers\.(?P<layer>\d+)\.(?P<rest>.*)$")
EXPERT = re.compile(r"\bexperts\.\d+\.$")
ALL_OF_TENSOR = (1.0,)
NONE_OF_TENSOR = (0.0,)
MAX_FILTERS = 2048
"""Of a recipe; more say no rule that a person would have written."""
MAX_CHECKS = 1 << 22  # names times filters: seconds

Holders = frozenset[str]
"""The parents whose numbers a tensor has."""


@dataclass(frozen=True)
class Owners:
    """Whose the tensors of a passthrough are."""

    of_filter: tuple[tuple[str, str], ...]
    """Filter and parent; the first that a tensor's name contains applies."""
    of_rest: str | None
    """The parent of all other tensors; None where there are no others."""


@dataclass
class _Branch:
    """A part of the tree of names, and who holds all tensors under it."""

    children: dict[str, "_Branch"] = field(default_factory=dict)
    holders: Holders | None = None
    """None of a branch that was not looked at yet."""


def passthrough_of(
    holders: Mapping[str, Holders], order: Sequence[str], by_kind: bool
) -> Recipe | None:
    """The passthrough that gives every tensor to one of its holders; None where one has
    no holder, or no short rule says whose they are.

    holders: by full name of a tensor (see naming.slice_name). order: the parents as a
    tensor of several holders is given to them, the base first. by_kind: whether what
    holds in one layer holds in every layer.
    """
    filters = _filters(holders, by_kind)
    if not filters or len(filters) > MAX_FILTERS:
        return None
    if frozenset.intersection(*(own for _, own in filters)):
        return None  # one parent has it all
    recipe = _recipe(filters, order)
    if recipe is None or not _gives(recipe, holders):
        return None
    return recipe


def owners_of(recipe: Recipe) -> Owners:
    """What a passthrough says of its parents."""
    owners: dict[str, str] = {}
    rest = None
    for model, setting in zip(recipe.models, recipe.weights, strict=True):
        for pattern, values in setting:
            if values != ALL_OF_TENSOR:
                continue
            if pattern:
                owners[pattern] = model
            else:
                rest = model
    return Owners(tuple(owners.items()), rest)


def _filters(
    holders: Mapping[str, Holders], by_kind: bool
) -> list[tuple[str, Holders]] | None:
    """Filters with who holds what they choose. by_kind: the same in every layer."""
    root = _Branch()
    for name, own in holders.items():
        branch = root
        for part in _path(name, by_kind):
            branch = branch.children.setdefault(part, _Branch())
        branch.holders = own if branch.holders is None else branch.holders & own
    _pool(root)
    found: list[tuple[str, Holders]] = []
    return found if _collect(root, (), found) else None


def _path(name: str, by_kind: bool) -> list[str]:
    """A name as the way through the tree: `layers.3` is one step, or with by_kind none;
    a tensor outside the layers is one step too.
    """
    numbered = NUMBERED.match(name)
    if numbered is None:
        return [name]
    rest = numbered["rest"].split(".")
    if by_kind:
        return ["", *rest]
    return ["", f"layers.{numbered['layer']}", *rest]


def _pool(branch: _Branch) -> Holders:
    """Who holds all of a branch, once that is known of its children."""
    sets = [_pool(child) for child in branch.children.values()]
    if branch.holders is not None:
        sets.append(branch.holders)
    branch.holders = frozenset.intersection(*sets)
    return branch.holders


def _collect(
    branch: _Branch, path: tuple[str, ...], found: list[tuple[str, Holders]]
) -> bool:
    """Add the largest branches that somebody holds; False where a tensor has no
    holder. The branches at the root and all layers together are no filter.
    """
    is_filter = bool(path) and path != ("",)
    if branch.holders and is_filter:
        found.append((_pattern(path, bool(branch.children)), branch.holders))
        return True
    if not branch.children:
        return False
    return all(
        _collect(child, (*path, part), found) for part, child in branch.children.items()
    )


def _pattern(path: tuple[str, ...], has_more: bool) -> str:
    text = ".".join(part for part in path if part)
    return f"{text}." if has_more else text


def _recipe(filters: list[tuple[str, Holders]], order: Sequence[str]) -> Recipe | None:
    """The passthrough of these filters. Of the parent of most filters, experts apart,
    is the rest.
    """
    alone = {next(iter(own)) for _, own in filters if len(own) == 1}
    preferred = [order[0], *(name for name in order[1:] if name in alone)]
    preferred += [name for name in order if name not in preferred]
    owners = {
        pattern: next(name for name in preferred if name in own)
        for pattern, own in filters
    }
    used = [name for name in order if name in owners.values()]
    if len(used) < 2:
        return None
    counts = Counter(
        owner for pattern, owner in owners.items() if not EXPERT.search(pattern)
    )
    rest = max(used, key=lambda name: counts[name])
    kept = {
        pattern: owner
        for pattern, owner in owners.items()
        if owner != rest or EXPERT.search(pattern)
    }
    return make("passthrough", {name: _weight(name, kept, rest) for name in used})


def _weight(model: str, owners: Mapping[str, str], rest: str) -> Setting:
    """1 where a tensor is this model's, 0 elsewhere."""
    if model != rest:
        own = [
            (pattern, ALL_OF_TENSOR)
            for pattern, owner in owners.items()
            if owner == model
        ]
        return (*own, ("", NONE_OF_TENSOR))
    all_filters = [
        (pattern, ALL_OF_TENSOR if owner == model else NONE_OF_TENSOR)
        for pattern, owner in owners.items()
    ]
    return (*all_filters, ("", ALL_OF_TENSOR))


def _gives(recipe: Recipe, holders: Mapping[str, Holders]) -> bool:
    """Whether the recipe gives every tensor to one parent, and that one holds it: a
    filter may stand in a name where it was not meant.
    """
    if len(holders) * sum(len(weight) for weight in recipe.weights) > MAX_CHECKS:
        return False
    for name, own in holders.items():
        takers = [
            model
            for model, weight in zip(recipe.models, recipe.weights, strict=True)
            if value_at(weight, name, 0.0) == 1
        ]
        if len(takers) != 1 or takers[0] not in own:
            return False
    return True
