"""The layout of a model beside a base and a donor, found in real files as the workflow
does.

Take it to test one detector of mergetrace.disguises; where the verdict counts take
mergetrace.testing.audits.
"""

from pathlib import Path

from mergetrace.disguises.comparison import PlaceLimits
from mergetrace.disguises.detecting import find_layout
from mergetrace.disguises.glimpses import Glimpses
from mergetrace.disguises.layout import Layout
from mergetrace.planning.manifest import tensor_table
from mergetrace.tensors.views import views
from mergetrace.tensors.weights import Weights
from mergetrace.testing.planting import Tensors
from mergetrace.testing.realmerge import write_qwen
from mergetrace.thresholds import Thresholds


def default_limits() -> PlaceLimits:
    """The limits of a configuration that says nothing of them."""
    limits = Thresholds()
    return PlaceLimits(
        limits.min_same_cos, limits.max_chance_in_place, limits.max_octaves_apart
    )


def looked(
    folder: Path,
    suspect: Tensors,
    base: Tensors,
    donor: Tensors,
    limits: PlaceLimits | None = None,
) -> tuple[Layout, Glimpses, Weights]:
    """The suspect's layout, what was seen of it, and the weights of all three, as `s`,
    `b` and `d`.
    """
    folders = {
        name: write_qwen(folder / name, tensors)
        for name, tensors in {"s": suspect, "b": base, "d": donor}.items()
    }
    weights = Weights(folders)
    looks = {
        name: Glimpses(name, views(tensor_table(path))[0], weights, 0)
        for name, path in folders.items()
    }
    layout = find_layout(
        looks["s"], [looks["b"], looks["d"]], limits or default_limits()
    )
    return layout, looks["s"], weights
