"""What the audited model's folder says of its merge, as recipes of one frame: hypotheses
like all others, that are tried first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mergetrace.merging.mergekit_reading import Named, recipes_of
from mergetrace.merging.model_names import Offered, matched
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.setting_reading import NotReplayableError
from mergetrace.records.declared_merge import DeclaredMerge
from mergetrace.sums.frames import Frame


@dataclass(frozen=True)
class Hypothesis:
    """One declared merge under one frame."""

    number: int
    """Which of the folder's declared merges it is, from 0."""
    matched: Mapping[str, str]
    """By declared name the offered model."""
    missing: tuple[str, ...]
    """The declared names that no offered model has, or several."""
    problem: str | None = None
    """Why no recipe came of it: `missing`, `frame` for models that are base candidates
    of other frames, or a code of NotReplayableError.
    """
    detail: str = ""
    """What of it that is."""
    recipes: tuple[Recipe, ...] = ()
    """What it may stand for, the most literal first."""


def read_hypotheses(
    merges: Iterable[DeclaredMerge],
    offered: Sequence[Offered],
    frame: Frame,
    tensors: Sequence[str],
    moved: Mapping[int, int],
) -> tuple[Hypothesis, ...]:
    """The declared merges under one frame. offered: the models that may be parents.
    tensors: the tensors' names. moved: by layer that is another one in the parents, its
    number there.
    """
    found = []
    for number, merge in enumerate(merges):
        models = matched(merge.models, offered)
        missing = tuple(name for name in merge.models if name not in models)
        named = Named(models, tensors, moved)
        found.append(_hypothesis(number, merge, named, missing, frame))
    return tuple(found)


def _hypothesis(
    number: int,
    merge: DeclaredMerge,
    named: Named,
    missing: tuple[str, ...],
    frame: Frame,
) -> Hypothesis:
    models = dict(named.models)
    elsewhere = [model for model in models.values() if model not in frame.parents]
    if missing:
        return Hypothesis(number, models, missing, "missing")
    if elsewhere:
        return Hypothesis(number, models, missing, "frame", elsewhere[0])
    try:
        recipes = tuple(recipes_of(merge, named))
    except NotReplayableError as error:
        return Hypothesis(number, models, missing, error.code, error.detail)
    return Hypothesis(number, models, missing, recipes=recipes)
