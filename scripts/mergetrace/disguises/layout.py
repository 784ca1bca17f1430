"""How an audited model's tensors lie among its parents': moved, repeated, renumbered,
permuted, multiplied.

Found on a little of the weights. Every finding is judged on other elements than it was
made on, and changes only how elements are paired and read: what they then show is for
the same rules as ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mergetrace.disguises.alignment import Order, likeness, print_of
from mergetrace.disguises.channels import find_folded_norms, find_scaled_channels
from mergetrace.disguises.factors import find_powers
from mergetrace.disguises.glimpses import Glimpses, Key
from mergetrace.disguises.moved_experts import (
    find_copied_experts,
    find_renumbered_experts,
    split_experts,
)
from mergetrace.disguises.moved_layers import find_layers
from mergetrace.disguises.permutations import find_hidden, find_permutations
from mergetrace.disguises.placing import (
    PRINT_ROWS,
    SAME,
    WRITES_HIDDEN,
    Placing,
    components,
)
from mergetrace.disguises.storing import (
    find_factors,
    find_noise,
    find_through,
    visible_factors,
)
from mergetrace.disguises.vocabulary import find_vocabulary
from mergetrace.tensors.naming import LAYER

LOOKED_FOR = {
    find_hidden: "an order or signs of the hidden dimensions",
    find_layers: "layers moved, repeated or left out",
    find_copied_experts: "experts copied from a dense model's MLP",
    find_renumbered_experts: "experts renumbered",
    find_vocabulary: "a vocabulary in another order",
    find_permutations: (
        "rows or columns permuted or multiplied by -1 (neurons, attention heads)"
    ),
    find_noise: "noise on numbers of a coarser format",
    find_folded_norms: "weights of norms multiplied into the matrices that read them",
    find_scaled_channels: (
        "columns of a matrix multiplied, and the rows of the one before divided"
    ),
    find_powers: "tensors multiplied by a power of two or by -1",
    find_factors: "tensors multiplied by any number",
    find_through: "a merge stored in a narrower format than its own",
}
"""What is looked for, in this order: later findings are made where the earlier ones put
things back.
"""
FEW = 0.02  # of a model's matrices: no more lie at some place by chance
SEEN_ONLY = (
    "a rotation of the hidden dimensions (would be seen, not undone)",
    "experts cut into finer ones (would be seen, not undone)",
)


@dataclass
class Layout:
    """counterpart: by own slice the parents' slice, where it is another one; maps: by own slice how it is read (see weights.View); kept: by own
    slice the parents' rows that it holds, where it lacks some.

    kin: the share of the matrices that lie where those of `reference` do, once all is undone; reference: the parent it was found by.
    visible: whether a disguise is seen that is not undone, on tensors that lie in place.
    """

    reference: str | None = None
    counterpart: dict[Key, Key] = field(default_factory=dict)
    maps: dict[Key, dict[str, Any]] = field(default_factory=dict)
    kept: dict[Key, Order] = field(default_factory=dict)
    undone: list[str] = field(default_factory=list)
    not_undone: list[str] = field(default_factory=list)
    kin: float = 0.0
    visible: bool = False

    def plain(self) -> bool:
        """Whether everything is paired and read as the names say."""
        return not self.counterpart and not self.maps


def find_layout(own: Glimpses, parents: Sequence[Glimpses]) -> Layout:
    """The layout under which most of a model's matrices lie where one parent's do. The
    parent that most of them already lie by is tried first.
    """
    found: list[Layout] = []
    for parent in sorted(parents, key=lambda parent: -Placing(own, parent).in_place()):
        own.forget_maps()
        found.append(_beside(Placing(own, parent, parents)))
        if found[-1].kin >= SAME:
            break
    return max(found, key=lambda layout: layout.kin)


def align(parents: Sequence[Glimpses]) -> dict[str, Layout]:
    """Read parents in the order of the first, where they lie in another: only what is
    put back to the last bit. Returns the layouts of those that do.

    What a parent lacks or has more of, moved layers and factors are left as they are: a
    parent is what it is.
    """
    found = {}
    for own in parents[1:]:
        placing = Placing(own, parents[0])
        undone = [
            line
            for find in (find_hidden, find_vocabulary, find_renumbered_experts)
            for line in find(placing)
        ]
        if placing.in_place() > 0:
            undone += find_permutations(placing)
        if not undone or placing.kept or placing.in_place() < FEW:
            own.forget_maps()
            continue
        found[own.name] = Layout(
            parents[0].name, placing.counterpart, own.found_maps(), undone=undone
        )
        own.rename(placing.counterpart)
    return found


def facts(
    layouts: Mapping[str, Layout], parents: Mapping[str, Layout]
) -> dict[str, Any]:
    """By audited model, what was put back in a parent included, {undone, not_undone,
    looked_for, kin, visible, rounded, layers, reference}.
    """
    looked_for = [*LOOKED_FOR.values(), *SEEN_ONLY]
    return {
        model: {
            "undone": [
                *layout.undone,
                *(
                    f"{name}: {line}"
                    for name, other in parents.items()
                    for line in other.undone
                ),
            ],
            "not_undone": layout.not_undone,
            "looked_for": looked_for,
            "kin": layout.kin,
            "visible": layout.visible,
            "rounded": any("stored_dtype" in maps for maps in layout.maps.values()),
            "layers": _layers(layout),
            "reference": layout.reference,
        }
        for model, layout in layouts.items()
    }


def _layers(layout: Layout) -> dict[int, int]:
    """The parents' number of every layer that has another one there."""
    found = {}
    for (own, _), (theirs, _) in layout.counterpart.items():
        if (
            (mine := LAYER.match(own))
            and (its := LAYER.match(theirs))
            and mine[1] != its[1]
        ):
            found[int(mine[1])] = int(its[1])
    return found


def _beside(placing: Placing) -> Layout:
    undone = [line for find in LOOKED_FOR for line in find(placing)]
    kin = placing.in_place()
    maps = placing.own.found_maps()
    if kin < FEW:
        return Layout(
            placing.parent.name,
            not_undone=[*_rotation(placing), *split_experts(placing)],
            kin=kin,
        )
    left = [
        key
        for key in placing.keys
        if placing.same_shape(key) is not None and placing.cosine(key) < SAME
    ]
    nowhere = [
        f"{len(left)} of {len(placing.keys)} matrices ({components(left)}) lie nowhere"
        f" in {placing.parent.name} that was looked."
    ]
    visible = [*placing.seen, *split_experts(placing), *visible_factors(placing)]
    return Layout(
        placing.parent.name,
        placing.counterpart,
        maps,
        placing.kept,
        undone,
        [*(nowhere if left else []), *visible],
        kin,
        bool(visible),
    )


def _rotation(placing: Placing) -> list[str]:
    """Inner products of columns survive a rotation of what the rows stand for; those of
    independent trainings have nothing in common.
    """
    pairs = [
        (key, target)
        for key in placing.keys
        if not key[1]
        and WRITES_HIDDEN.search(key[0])
        and (target := placing.same_shape(key))
    ]
    alike = [
        likeness(
            *(
                print_of(model.columns(name, PRINT_ROWS).T)
                for model, name in zip((placing.own, placing.parent), pair, strict=True)
            )
        )
        for pair in pairs[:3]
    ]
    if max(alike, default=0.0) < SAME:
        return []
    return [
        "The hidden dimensions look rotated: inner products agree with"
        f" {placing.parent.name}'s (correlation {max(alike):.2f}), elements do not."
    ]
