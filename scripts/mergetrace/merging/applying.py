"""A recipe applied to elements of the parents as the tool does it, and rounded as the
audited model is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from mergetrace.merging.facts import TensorFacts
from mergetrace.merging.merge import Merge
from mergetrace.merging.methods import METHODS
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.scripts import run_script
from mergetrace.merging.settings import Setting, value_at
from mergetrace.numerics.arithmetic import rounder
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.sums.as_stored import round_as_stored
from mergetrace.sums.evidence import Sample

ARITHMETIC_OF_FORMAT = {"F16": "float16", "BF16": "bfloat16"}
"""The dtype in which numbers of a format are cast; float32 for every other format."""


@dataclass(frozen=True)
class Piece:
    """Elements of one tensor, or of a slice of it: all parents beside the audited model.

    What does not depend on a recipe is worked out once for the hundreds that are tried
    on a piece.
    """

    tensor: str
    """The tensor's name."""
    position: float
    """0 for the first layer to 1 for the last (see settings.layer_position)."""
    values: Mapping[str, Array]
    """The parents' decoded elements by name: float64 [n] each."""
    audited: Sample
    """The audited model's elements as stored."""
    facts: TensorFacts
    """What is known of the whole tensor."""
    ends: tuple[int, ...] = ()
    """One past the last element of each slice, where several were joined."""
    names: tuple[str, ...] = ()
    """The slices' own names, likewise (see naming.slice_name)."""
    samples: Mapping[str, Sample] = field(default_factory=dict)
    """The parents' elements as stored, by name, where they are known."""

    @property
    def size(self) -> int:
        """How many elements the piece has."""
        return len(next(iter(self.values.values())))

    @cached_property
    def audited_values(self) -> Array:
        """The audited elements, decoded: float64 [n]."""
        return self.audited.values()

    @cached_property
    def cell(self) -> tuple[Array, Array]:
        """The ends of the interval that rounds to each audited element: float64 [n]
        each.
        """
        return self.audited.midpoints()

    @cached_property
    def interval_width(self) -> Array:
        """How wide the interval is that rounds to each audited element: float64 [n]."""
        low, high = self.cell
        with np.errstate(invalid="ignore"):
            return high - low

    @cached_property
    def confining(self) -> dict[tuple[frozenset[str], float], Mask]:
        """What counting.confining_elements found, by parents and width."""
        return {}

    @cached_property
    def _rounded(self) -> dict[tuple[str, str], Array]:
        """What `rounded` gave."""
        return {}

    def rounded(self, name: str, dtype: str) -> Array:
        """A parent's elements in the dtype of an arithmetic, to be read and not to be
        written: float64 [n]. The elements themselves where they are of that dtype.
        """
        known = self._rounded
        if (name, dtype) not in known:
            values = self.values[name]
            narrow = rounder(dtype)(values)
            same = np.array_equal(narrow, values, equal_nan=True)
            known[name, dtype] = values if same else narrow
        return known[name, dtype]

    @cached_property
    def stored_parents(self) -> Mapping[str, Array]:
        """Each parent's elements as the audited model would have stored them, by name:
        float64 [n] each.
        """
        return {
            name: round_as_stored(values, self.audited)
            for name, values in self.values.items()
        }


def apply_recipe(recipe: Recipe, piece: Piece) -> Array:
    """The merged elements in the dtype of the arithmetic, before they are stored:
    float64 [n].

    All NaN where the formula divides by a sum or a norm that is zero: weights that
    cancel, a tensor of zeros.
    """
    if recipe.method == "passthrough" and len(piece.names) > 1:
        return _slice_by_slice(recipe, piece)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        try:
            merge = _merge_of(recipe, piece)
            if recipe.script:
                return run_script(recipe.script, merge)
            return METHODS[recipe.method].formula(merge)
        except ZeroDivisionError:
            return np.full(piece.size, np.nan)


def apply_and_store(recipe: Recipe, piece: Piece) -> Array:
    """The merge as the audited model would have stored it, decoded again: float64 [n].
    Equal to the audited elements where it is reproduced bit for bit.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return round_as_stored(apply_recipe(recipe, piece), piece.audited)


def _slice_by_slice(recipe: Recipe, piece: Piece) -> Array:
    """A passthrough of a piece whose slices may be of several parents."""
    parts = []
    start = 0
    for name, end in zip(piece.names, piece.ends, strict=True):
        part = replace(
            piece,
            tensor=name,
            values={of: values[start:end] for of, values in piece.values.items()},
            names=(),
            ends=(),
        )
        parts.append(apply_recipe(recipe, part))
        start = end
    return np.concatenate(parts)


def undecided_elements(recipe: Recipe, piece: Piece) -> Mask:
    """Elements that the tool may keep or drop, such as those at a threshold: bool [n]."""
    find_undecided = METHODS[recipe.method].undecided
    if find_undecided is None:
        return np.zeros(piece.size, bool)
    return find_undecided(_merge_of(recipe, piece))


def _merge_of(recipe: Recipe, piece: Piece) -> Merge:
    """The recipe's numbers and the parents' elements for one piece."""
    dtype = _first_dtype(recipe, piece)

    def value_here(setting: Setting) -> float:
        return value_at(setting, piece.tensor, piece.position)

    settings = dict(METHODS[recipe.method].defaults(recipe.models))
    for name, setting in recipe.settings:
        settings[name] = value_here(setting)
    base = None if recipe.base is None else piece.rounded(recipe.base, dtype)
    return Merge(
        names=recipe.models,
        models=tuple(piece.rounded(name, dtype) for name in recipe.models),
        weights=tuple(value_here(weight) for weight in recipe.weights),
        base_name=recipe.base,
        base_elements=base,
        settings=settings,
        dtype=recipe.dtype,
        facts=piece.facts,
    )


def _first_dtype(recipe: Recipe, piece: Piece) -> str:
    """What parents are rounded to before anything else: the dtype of the arithmetic, or
    with `cast` that of the audited model.
    """
    if not recipe.setting("cast"):
        return recipe.dtype
    audited = piece.audited
    stored = audited.through or audited.dtype if audited.is_packed else audited.dtype
    return ARITHMETIC_OF_FORMAT.get(stored, "float32")
