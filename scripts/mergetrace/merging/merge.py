"""What a merge formula is given: one tensor of every parent, the weights, the settings,
and the rounding of the arithmetic.

The formulas are functions from a `Merge` to the merged elements, every operation
rounded to the dtype of the arithmetic. They are written from the papers and the tools'
documentation, named at each; the order of operations is the one that gives real merges
back bit for bit. They stand in `linear`, `spheres`, `means`, `trimming`, `sce` and
`elementwise`; `methods` gives each its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mergetrace.merging.facts import Combination, Delta, TensorFacts
from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import Round, rounder
from mergetrace.numerics.arrays import Array


@dataclass(frozen=True)
class Merge:
    """One tensor's merge. Elements are float64 [n], already rounded to `dtype`."""

    names: tuple[str, ...]
    """The merged models in the tool's order."""
    models: tuple[Array, ...]
    """Their elements."""
    weights: tuple[float, ...]
    """Their weights."""
    base_name: str | None
    """The model that deltas are taken from, where the method has one."""
    base_elements: Array | None
    """Its elements."""
    settings: Mapping[str, float]
    """The method's parameters by name, defaults filled in; `density.donor` is the
    donor's own density.
    """
    dtype: str
    """The dtype of the arithmetic."""
    facts: TensorFacts
    """What is known of the whole tensor."""

    @property
    def round(self) -> Round:
        """Rounds to the dtype of the arithmetic."""
        return rounder(self.dtype)

    def scalar(self, value: ArrayLike) -> float:
        """One number, rounded to the dtype of the arithmetic."""
        return float(self.round(value))

    @property
    def base(self) -> Array:
        """The base's elements. Raises ValueError where the recipe names no base."""
        if self.base_elements is None:
            raise ValueError("this method needs a base model, and the recipe has none")
        return self.base_elements

    def deltas(self) -> list[Array]:
        """model - base, rounded."""
        to_dtype = self.round
        return [to_dtype(model - self.base) for model in self.models]

    def delta(self, name: str) -> Delta:
        """How the facts of a tensor know a model's delta from the base."""
        if self.base_name is None:
            raise ValueError("this method needs a base model, and the recipe has none")
        return Delta(self.base_name, name, self.dtype)

    def vectors(self) -> list[Array]:
        """The models' deltas where the recipe names a base, else the models."""
        return list(self.models) if self.base_elements is None else self.deltas()

    def combination(self, name: str) -> Combination:
        """What a model's entry of `vectors` is a sum of."""
        if self.base_name is None:
            return {name: 1.0}
        return {name: 1.0, self.base_name: -1.0}

    def added_back(self, vector: Array) -> Array:
        """The base plus a mixture of deltas; where there is no base, the mixture."""
        if self.base_elements is None:
            return vector
        return self.round(self.base_elements + vector)

    def reduced(self, products: Array, of_tensor: float) -> float:
        """A sum over the tensor, rounded.

        It is summed from `products`, rounded each, where they are all there; otherwise
        it is the exact sum `of_tensor` that is known from elsewhere.
        """
        if self.facts.whole:
            return tool_sums.total(products, self.dtype)
        return self.scalar(of_tensor)

    def norm(
        self, vector: Array, combination: Combination, dtype: str = "float32"
    ) -> float:
        """The norm of a tensor in a dtype.

        It is summed from `vector` where all of the tensor is there; otherwise it comes
        from the norm of what the vector is a combination of.
        """
        if self.facts.whole:
            return tool_sums.norm(vector, dtype)
        return float(rounder(dtype)(self.facts.norm(combination)))

    def norms(
        self, vectors: Sequence[Array], combinations: Sequence[Combination]
    ) -> list[float]:
        """The norms of several tensors in the dtype of the arithmetic, summed as the
        tool sums tensors that it stacked.
        """
        if self.facts.whole:
            stacked = np.stack(vectors)
            norms = tool_sums.norms_of_lines(stacked, self.dtype, 1)
            return [float(norm) for norm in norms]
        return [self.scalar(self.facts.norm(one)) for one in combinations]

    def reduced_rows(
        self, products: Sequence[Array], of_tensors: Sequence[float]
    ) -> list[float]:
        """Like `reduced`, of several tensors that the tool stacked."""
        if self.facts.whole:
            stacked = np.stack(products)
            totals = tool_sums.totals_of_lines(stacked, self.dtype, 1)
            return [float(total) for total in totals]
        return [self.scalar(value) for value in of_tensors]
