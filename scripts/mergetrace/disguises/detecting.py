"""All detectors together: how a model's tensors lie among its parents', found on a
little of the weights.

Every finding is judged on other elements than it was made on, and changes only how
elements are paired and read: what they then show is for the same rules as ever.
"""

from collections.abc import Callable, Sequence

from mergetrace.disguises.comparison import (
    FINGERPRINT_ROWS,
    WRITES_HIDDEN,
    Comparison,
    PlaceLimits,
)
from mergetrace.disguises.factors import find_factors, find_sizes_apart
from mergetrace.disguises.findings import (
    Finding,
    HiddenRotated,
    NowhereFound,
    Tensors,
)
from mergetrace.disguises.first_columns import find_first_columns
from mergetrace.disguises.folded_norms import find_folded_norms
from mergetrace.disguises.glimpses import Glimpses
from mergetrace.disguises.layout import Layout
from mergetrace.disguises.likeness import fingerprint, likeness
from mergetrace.disguises.moved_experts import (
    find_copied_experts,
    find_renumbered_experts,
)
from mergetrace.disguises.moved_layers import find_moved_layers
from mergetrace.disguises.noise import find_noise
from mergetrace.disguises.permutations import find_hidden_order, find_permutations
from mergetrace.disguises.powers_of_two import find_powers_of_two
from mergetrace.disguises.rounded_twice import find_double_rounding
from mergetrace.disguises.scaled_channels import find_scaled_channels
from mergetrace.disguises.smoothed_columns import find_smoothed_columns
from mergetrace.disguises.split_experts import find_split_experts
from mergetrace.disguises.vocabulary import find_vocabulary

Detector = Callable[[Comparison], list[Finding]]
"""Looks for one kind of disguise, puts back in the comparison what it can, and returns
what it found.
"""

DETECTORS: tuple[Detector, ...] = (
    find_hidden_order,
    find_moved_layers,
    find_copied_experts,
    find_renumbered_experts,
    find_vocabulary,
    find_permutations,
    find_noise,
    find_smoothed_columns,
    find_folded_norms,
    find_scaled_channels,
    find_powers_of_two,
    find_factors,
    find_double_rounding,
    find_first_columns,
)
"""In this order: later findings are made where the earlier ones put things back. What
each looks for is said in wording.LOOKED_FOR.
"""
EXACT_DETECTORS: tuple[Detector, ...] = (
    find_hidden_order,
    find_vocabulary,
    find_renumbered_experts,
)
"""Those whose findings are put back to the last bit, without permutations of single
matrices.
"""

ENOUGH_IN_PLACE = 0.5  # of a model's matrices: no further parent is then tried
ROTATION_MATRICES = 3  # matrices whose inner products are compared


def find_layout(
    own: Glimpses, parents: Sequence[Glimpses], limits: PlaceLimits
) -> Layout:
    """The layout under which most of a model's matrices lie where one parent's do. The
    parent that most of them already lie by is tried first.
    """
    layouts: list[Layout] = []
    for parent in sorted(
        parents, key=lambda parent: -Comparison(own, parent, limits).share_in_place()
    ):
        own.read_as_named()
        layouts.append(_layout_beside(Comparison(own, parent, limits, parents)))
        if layouts[-1].kin >= ENOUGH_IN_PLACE:
            break
    return max(layouts, key=lambda layout: layout.kin)


def align_parents(
    parents: Sequence[Glimpses], limits: PlaceLimits
) -> dict[str, Layout]:
    """Read parents in the order of the first, where they lie in another: only what is
    put back to the last bit. Returns the layouts of those that do, by name.

    What a parent lacks or has more of, moved layers and factors are left as they are: a
    parent is what it is.
    """
    layouts = {}
    first = parents[0]
    for own in parents[1:]:
        comparison = Comparison(own, first, limits)
        findings = [
            finding for detect in EXACT_DETECTORS for finding in detect(comparison)
        ]
        if comparison.share_in_place() > 0:
            findings += find_permutations(comparison)
        in_place = comparison.share_in_place() >= limits.max_chance_in_place
        if not findings or comparison.held_rows or not in_place:
            own.read_as_named()
            continue
        layouts[own.name] = Layout(
            first.name,
            comparison.counterpart,
            dict(own.adjusted),
            findings=tuple(findings),
        )
        own.rename(comparison.counterpart)
    return layouts


def _layout_beside(comparison: Comparison) -> Layout:
    """The layout as it is found beside one parent."""
    findings = [finding for detect in DETECTORS for finding in detect(comparison)]
    kin = comparison.share_in_place()
    split = find_split_experts(comparison)
    if kin < comparison.limits.max_chance_in_place:
        seen = [*_find_rotation(comparison), *split]
        return Layout(comparison.parent.name, findings=tuple(seen), kin=kin)
    undone = [finding for finding in findings if finding.undone]
    only_seen = [finding for finding in findings if not finding.undone]
    visible = [*only_seen, *split, *find_sizes_apart(comparison)]
    return Layout(
        comparison.parent.name,
        comparison.counterpart,
        dict(comparison.own.adjusted),
        comparison.held_rows,
        tuple(comparison.aside),
        (*undone, *_find_nowhere(comparison), *visible),
        kin,
        bool(visible),
    )


def _find_nowhere(comparison: Comparison) -> list[Finding]:
    """Matrices that lie nowhere in the parent."""
    nowhere = [
        key
        for key, _ in comparison.comparable(comparison.keys)
        if not comparison.is_in_place(key)
    ]
    if not nowhere:
        return []
    looked_for = len(comparison.keys)
    return [NowhereFound(Tensors.of(nowhere), looked_for, comparison.parent.name)]


def _find_rotation(comparison: Comparison) -> list[Finding]:
    """Inner products of columns survive a rotation of what the rows stand for; those of
    independent trainings have nothing in common.
    """
    writers = [
        key for key in comparison.keys if not key[1] and WRITES_HIDDEN.search(key[0])
    ]
    agreements = []
    for key, target in comparison.comparable(writers)[:ROTATION_MATRICES]:
        own = fingerprint(comparison.own.columns(key, FINGERPRINT_ROWS).T)
        other = fingerprint(comparison.parent.columns(target, FINGERPRINT_ROWS).T)
        agreements.append(likeness(own, other))
    agreement = max(agreements, default=0.0)
    if not comparison.is_same(agreement):
        return []
    return [HiddenRotated(comparison.parent.name, agreement)]
