"""What was found to be disguised, as numbers and codes; wording.py says it in
sentences.

An agreement is a |cosine|, or a likeness of fingerprints, on elements that the finding
was not made on; `wrong` is the same of the best other place.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from mergetrace.tensors.naming import component_of
from mergetrace.tensors.view import Key


@dataclass(frozen=True)
class Tensors:
    """How many slices something was found in, and of which components."""

    count: int
    components: tuple[str, ...]
    """Alphabetically, each once."""

    @classmethod
    def of(cls, keys: Iterable[Key]) -> "Tensors":
        """The slices of these keys."""
        counts = Counter(component_of(tensor) for tensor, _ in keys)
        return cls(counts.total(), tuple(sorted(counts)))


@dataclass(frozen=True)
class Finding:
    """Something that disguises a model."""

    kind: ClassVar[str]
    """The finding's code in layout.json."""
    undone: ClassVar[bool] = True
    """Whether it is put back as elements are read; else it is seen only."""

    def as_json(self) -> dict[str, Any]:
        """The finding's kind, whether it is undone, and its fields."""
        return {"kind": self.kind, "undone": self.undone, **asdict(self)}


@dataclass(frozen=True)
class HiddenReordered(Finding):
    """The hidden dimensions of the whole model are in another order."""

    kind = "hidden_reordered"
    size: int
    """Hidden dimensions."""
    permuted: bool
    negated: bool
    """Whether some were multiplied by -1."""
    agreement: float
    wrong: float


@dataclass(frozen=True)
class LinesReordered(Finding):
    """Rows or columns of one component's tensors are in another order."""

    kind = "lines_reordered"
    component: str
    columns: bool
    """Whether it is the columns; else the rows."""
    tensors: int
    block: int
    """Neighbouring lines that moved together: a head's size; 1 for loose lines."""
    permuted: bool
    negated: bool
    """Whether some were multiplied by -1."""
    agreement: float
    wrong: float


@dataclass(frozen=True)
class LayersMoved(Finding):
    """Layers lie elsewhere in the parents."""

    kind = "layers_moved"
    layers: int
    """Layers of the model."""
    moved: tuple[int, ...]
    """Those that lie elsewhere."""
    places: tuple[int, ...]
    """The parents' layer that each of them is."""
    repeated: tuple[int, ...]
    """The parents' layers that the model holds more than once."""
    dropped: tuple[int, ...]
    """The parents' layers that it holds nowhere."""
    agreement: float
    wrong: float


@dataclass(frozen=True)
class ExpertsCopied(Finding):
    """Experts are a dense parent's MLP."""

    kind = "experts_copied"
    experts: int
    agreement: float


@dataclass(frozen=True)
class ExpertsRenumbered(Finding):
    """Experts are in another order."""

    kind = "experts_renumbered"
    layers: int
    """Layers whose experts were renumbered."""
    agreement: float
    wrong: float


@dataclass(frozen=True)
class VocabularyReordered(Finding):
    """The rows of the embedding or the head are in another order."""

    kind = "vocabulary_reordered"
    tensor: str
    common: int
    """Tokens that the parents have too."""
    missing: int
    """The parents' tokens that the model lacks."""
    added: int
    """Tokens that the parents lack."""
    agreement: float
    wrong: float


@dataclass(frozen=True)
class VocabularyShared(Finding):
    """A parent's vocabulary lies in another order than the first parent's and lacks some
    of its tokens: only the rows of tokens that all parents hold are compared.
    """

    kind = "vocabulary_shared"
    tensor: str
    common: int
    """Tokens that all parents hold."""
    of_first: int
    """Rows of the first parent."""
    own: int
    """Rows of this one."""
    first: str
    """The first parent's name."""


@dataclass(frozen=True)
class Noise(Finding):
    """Float32 tensors hold numbers of a coarser format under noise."""

    kind = "noise"
    tensors: int
    dtype: str
    """The coarser format."""
    distance: float
    """The median distance from its numbers, in its spacings."""


@dataclass(frozen=True)
class NormsFolded(Finding):
    """The weights of norms were multiplied into the matrices that read them."""

    kind = "norms_folded"
    norms: int
    tensors: Tensors
    """The matrices."""
    smallest: float
    largest: float
    """The least and greatest number that a column was multiplied by."""
    explained: float
    """The share of elements that the numbers explain, which were not made on them."""
    rounded_between: bool
    """Whether the merge was rounded before it was multiplied."""


@dataclass(frozen=True)
class ChannelsScaled(Finding):
    """Columns of matrices and rows of others were multiplied by numbers that make up
    for each other.
    """

    kind = "channels_scaled"
    tensors: Tensors
    smallest: float
    largest: float
    explained: float
    rounded_between: bool
    """All as in NormsFolded."""


@dataclass(frozen=True)
class ColumnsSmoothed(Finding):
    """Columns of matrices were multiplied before they were quantised, and the norms or
    the rows before them divided.
    """

    kind = "columns_smoothed"
    norms: int
    """Norms that the numbers were found by, which are not compared."""
    pairs: int
    """Matrices whose rows make up for the columns of another."""
    tensors: Tensors
    """The matrices whose columns are divided again."""
    smallest: float
    largest: float
    """The least and greatest number that a column was multiplied by."""


@dataclass(frozen=True)
class FirstColumns(Finding):
    """Of matrices in GPTQ's formats the column is known that was rounded first, which
    alone decides.
    """

    kind = "first_columns"
    tensors: Tensors
    of: int
    """Matrices in these formats that lie in place."""
    searched: int
    """Matrices of which it was not the first, and was searched for by rows that decide
    nothing.
    """
    following: int
    """Matrices of which the columns behind it decide too, with what was pushed there."""


@dataclass(frozen=True)
class PowerMultiplied(Finding):
    """Tensors were multiplied by a power of two, by -1, or by both."""

    kind = "power_multiplied"
    tensors: Tensors
    factor: float


@dataclass(frozen=True)
class FactorMultiplied(Finding):
    """Tensors were multiplied by a number after they were rounded."""

    kind = "factor_multiplied"
    tensors: Tensors
    factor: float


@dataclass(frozen=True)
class RoundedTwice(Finding):
    """Tensors were rounded to one format before they were stored in a narrower one."""

    kind = "rounded_twice"
    first: str
    dtype: str
    """The stored format."""


@dataclass(frozen=True)
class NowhereFound(Finding):
    """Matrices that lie nowhere in the parent."""

    kind = "nowhere_found"
    undone = False
    tensors: Tensors
    of: int
    """Matrices that were looked for."""
    parent: str


@dataclass(frozen=True)
class HiddenRotated(Finding):
    """The hidden dimensions look rotated: inner products agree, elements do not."""

    kind = "hidden_rotated"
    undone = False
    parent: str
    agreement: float
    """The correlation of inner products."""


@dataclass(frozen=True)
class ExpertsSplit(Finding):
    """Experts hold some of the neurons of one larger expert, or MLP, each."""

    kind = "experts_split"
    undone = False
    model: str
    parent: str
    neurons: int
    """Of an expert."""
    of: int
    """Of the parent's larger one."""
    agreement: float


@dataclass(frozen=True)
class NormsReplaced(Finding):
    """Norms are not the parent's, and nothing makes up for them exactly."""

    kind = "norms_replaced"
    undone = False
    norms: int
    parent: str


@dataclass(frozen=True)
class ColumnsApart(Finding):
    """Columns look multiplied each by a number of its own, and nothing makes up for
    them.
    """

    kind = "columns_apart"
    undone = False
    tensors: Tensors


@dataclass(frozen=True)
class SizesApart(Finding):
    """Matrices look multiplied by a number that nothing tells exactly."""

    kind = "sizes_apart"
    undone = False
    tensors: Tensors
    smallest: float
    largest: float
    """The least and greatest of these numbers."""
