"""How much of a model was compared, as layout.json, plan.json and verdict.json say it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mergetrace.records.json_records import from_json


@dataclass(frozen=True)
class NotCompared:
    """Tensors of one model that were not compared, for one reason."""

    reason: str
    """Why they were not compared."""
    parameters: int
    """The number of their parameters."""
    tensors: int
    """The number of tensors."""
    components: Mapping[str, int]
    """By component the number of parameters, the greatest first."""


@dataclass(frozen=True)
class Beside(NotCompared):
    """Tensors that the files hold and that count nowhere: no loader uses them, or
    another form of them was compared.
    """

    names: tuple[str, ...] = ()
    """The names of some of the tensors."""


@dataclass(frozen=True)
class Coverage:
    """How much of one model was compared."""

    parameters: int
    """The number of parameters that its files store, each counted once."""
    compared: int
    """The number of these that were compared."""
    share: float
    """`compared` over `parameters`."""
    bytes: int
    """The bytes that the parameters take."""
    compared_bytes: int
    """The bytes of those that were compared."""
    bytes_share: float
    """`compared_bytes` over `bytes`."""
    cannot_vote: int
    """The number of parameters that were compared and lie in no slice that votes."""
    dtypes: Mapping[str, int]
    """By dtype, the number of compared parameters, the greatest first."""
    buffers: int
    """The number of tensors that are no weights."""
    not_compared: tuple[NotCompared, ...]
    """What was not compared, by reason, the greatest first."""
    beside: tuple[Beside, ...] = ()
    """What the files hold and what counts nowhere."""
    held_twice: int = 0
    """The parameters that the files hold a second time with other numbers, which some
    loader may take.
    """
    holds: Mapping[str, float] = field(default_factory=dict)
    """By other model, the share of that model's parameters that this one has."""

    @property
    def whole(self) -> bool:
        """Whether every parameter was compared, and there is one."""
        return self.compared == self.parameters > 0


def read_coverages(value: Mapping[str, Any] | None) -> dict[str, Coverage]:
    """By model its coverage, from the JSON object of a `compared` key; empty where that
    is not known.
    """
    return {
        model: from_json(Coverage, entry, f"compared.{model}")
        for model, entry in (value or {}).items()
    }
