"""What stopped a rule that accuses, although much spoke for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from mergetrace.finding.case import Reason


@dataclass(frozen=True)
class RateTooLow(Reason):
    """The best recipe gives too little back."""

    rate: float
    """The share of informative elements that it gives back bit for bit."""
    limit: float
    """The least share that is needed."""


@dataclass(frozen=True)
class TensorsMissing(Reason):
    """Some tensors are not given back."""

    share: float
    """The share of the tensors that vote and that reach `rate`."""
    rate: float
    """The bit-exact rate that a tensor has to reach."""
    limit: float
    """The least share of tensors that is needed."""


@dataclass(frozen=True)
class SharesTiny(Reason):
    """A recipe that takes next to nothing of all models but one."""

    shares: Mapping[str, float | None]
    """By model its share; None where no one number exists."""
    limit: float
    """The least share that counts."""


@dataclass(frozen=True)
class OneParentEnough(Reason):
    """One parent alone gives almost all elements."""

    parent: str
    """The parent."""
    share: float
    """The share of informative elements that are exactly its own."""
    limit: float
    """The greatest share that is allowed."""


@dataclass(frozen=True)
class SearchReachesOthers(Reason):
    """The same search gives much back where nothing was merged."""

    name: str
    """The control, or what was shuffled."""
    rate: float
    """The share that is given back there."""
    limit: float
    """The greatest share that is allowed."""


@dataclass(frozen=True)
class NothingBeside(Reason):
    """Neither a control nor shuffled elements say what chance gives."""


@dataclass(frozen=True)
class BaseQuantised(Reason):
    """A trace of a donor whose numbers are in large part the base's, quantised and
    written back, as everybody has them who loaded the base so.
    """

    donor: str
    """The donor."""
    base: str
    """The base."""
    share: float
    """The share of the donor's numbers other than the base's that are those."""
    outside: float
    """The share of the others that can lie on the trace."""
    limit: float
    """The share that is needed."""


@dataclass(frozen=True)
class SharesOutside(Reason):
    """Traces of a recipe that takes less than nothing of a donor, or next to all."""

    shares: Mapping[str, float]
    """By donor its share."""
    greatest: float
    """The greatest share that is judged by traces alone."""


@dataclass(frozen=True)
class Trace:
    """What speaks for a blend of one donor, or for the donor itself."""

    donor: str
    """The donor."""
    alpha: float | None
    """Its blend weight; None of the donor's own values."""
    share: float
    """The share of informative elements that lie on the trace."""
    informative: int
    """The number of informative elements."""


@dataclass(frozen=True)
class TraceStopped(Reason):
    """A trace from which nothing follows."""

    trace: Trace
    """The trace."""
    against: Reason
    """What stands against it."""


@dataclass(frozen=True)
class TraceTooThin(Reason):
    """Too few elements lie on a trace."""

    limit: float
    """The least share that is needed."""


@dataclass(frozen=True)
class ChanceTooClose(Reason):
    """Shuffled elements or a control come too close to a trace."""

    name: str
    """What comes closest."""
    share: float
    """The share of elements that lies on a trace there."""
    times: float
    """How many times that share is needed."""


@dataclass(frozen=True)
class TooMuchMoved(Reason):
    """More elements moved on which donor and base agree than do in a merge, or in light
    training after one.
    """

    donor: str
    """The donor."""
    base: str
    """The base."""
    moved: float
    """The share of these elements that moved."""
    limit: float
    """The greatest share that is allowed."""
    trained: bool
    """Whether training is allowed for."""


@dataclass(frozen=True)
class NothingMoved(Reason):
    """Elements stayed that training moves."""

    donor: str
    """The donor."""
    base: str
    """The base."""


@dataclass(frozen=True)
class WeightsDiffer(Reason):
    """The blend weight differs between tensors."""

    spread: float | None
    """The median distance of the tensors' weights from their median; None where it is
    not known.
    """
    limit: float
    """The greatest distance that is allowed."""


@dataclass(frozen=True)
class NeverRounded(Reason):
    """A model whose numbers miss a blend's to the side where the blend lies: it was not
    rounded as the blend before anything else happened to it.
    """

    parents: tuple[str, ...]
    """The models that the blend is of."""
    misses: int
    """The number of elements that could show it."""
    leaning: float
    """The share of them that is missed to that side."""
    limit: float
    """The greatest share that is allowed."""


@dataclass(frozen=True)
class WeightAtEnd(Reason):
    """A blend weight that leaves next to nothing to one of two models."""

    least: float
    """The least share of each that is judged by traces alone."""


@dataclass(frozen=True)
class ValuesOfOneParent(Reason):
    """Much of a trace is one parent's own values."""

    parent: str
    """The parent."""
    share: float
    """The share of informative elements that are exactly its own."""
    limit: float
    """The greatest share that is allowed."""


@dataclass(frozen=True)
class BlendExplainsMore(Reason):
    """A blend explains more than the donor's own values."""

    coverage: float
    """The share of informative elements that the best blend explains."""


@dataclass(frozen=True)
class DropStopped(Reason):
    """Dropped changes from which nothing follows."""

    base: str
    """The base."""
    donors: tuple[str, ...]
    """The donors whose changes were dropped or kept."""
    stayed: float
    """The share of elements that are exactly the base's."""
    survivors: float
    """The share of the others that hold a donor's change."""
    against: Reason
    """What stands against it."""


@dataclass(frozen=True)
class DropByChance(Reason):
    """Shuffled elements or a control hold nearly as many changes."""

    name: str
    """What comes closest."""
    share: float
    """The share of changes that is held there."""
    apart: float
    """By how much more is needed."""


@dataclass(frozen=True)
class ChosenStopped(Reason):
    """Elements that are the base's or a donor's, from which nothing follows."""

    base: str
    """The base."""
    of_base: float
    """The share of informative elements that are exactly the base's."""
    donor: str
    """The donor."""
    of_donor: float
    """The share of informative elements that are exactly the donor's."""
    against: Reason
    """What stands against it."""


@dataclass(frozen=True)
class FewAgree(Reason):
    """Donor and base agree on too few elements to say whether these moved."""

    donor: str
    """The donor."""
    base: str
    """The base."""
    elements: int
    """The number of elements on which the two agree."""
    needed: int
    """The number that is needed."""


@dataclass(frozen=True)
class FollowingStopped(Reason):
    """Numbers that follow from those of the parents, from which nothing follows."""

    parents: tuple[str, ...]
    """The parents."""
    repeated: int
    """The number of places that have a like one in their tensor."""
    dissent: float
    """The share of them that do not hold what most of their like hold."""
    against: Reason
    """What stands against it."""


@dataclass(frozen=True)
class ControlFollows(Reason):
    """A control's numbers follow from those of base and donor as well."""

    name: str
    """The control."""
    dissent: float
    """The share of its places that do not hold what most of their like hold."""


@dataclass(frozen=True)
class NoBlendOfAll(Reason):
    """No weighted sum of all the parents is near the model."""

    parents: tuple[str, ...]
    """The parents."""


@dataclass(frozen=True)
class CoarseSteps(Reason):
    """Numbers in steps so coarse that a parent and its light finetune give the same."""

    model: str
    """The audited model."""
    dtype: str
    """How most of its compared numbers are stored."""


@dataclass(frozen=True)
class BlendLeavesMore(Reason):
    """The nearest weighted sum leaves more than rounding."""

    within: float
    """The share of elements within rounding of it."""
    limit: float
    """The least share that is needed."""
