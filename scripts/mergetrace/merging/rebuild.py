"""The recipe applied to the whole parents, tensor by tensor, and compared with the
audited model's own bytes.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mergetrace.files.tensor_records import records_of
from mergetrace.merging.applying import Piece, apply_recipe, undecided_elements
from mergetrace.merging.facts import HeldFacts, StreamedFacts, gram_of, last_dimension
from mergetrace.merging.methods import METHODS, Needs
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.settings import layer_position
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.planning.slices import PlannedSlice, planned_slices
from mergetrace.sums.as_stored import codes_as_stored
from mergetrace.sums.evidence import Sample, joined, sample_of
from mergetrace.tensors.view import View
from mergetrace.tensors.weights import Weights

BLOCK = 1 << 20  # elements computed at once where a method looks at each alone
MOST_DIFFERENCES = 5  # shown of a model; fewer of one tensor, so that several are seen
MOST_OF_TENSOR = 2
OPEN_ELEMENTS: Mapping[Needs, str] = {
    "sums": (
        "Norms and angles of whole tensors are float32 sums whose order depends on the"
        " machine: that can move the last bit of some elements."
    ),
    "rows": (
        "The tool takes the quartiles of a tensor of over a million elements from a"
        " random million. `undecided` counts the differing elements near them, and every"
        " differing element of a tensor too large to be held whole."
    ),
    "sizes": (
        "When several deltas equal the threshold, which of them the tool keeps depends"
        " on its sort; `undecided` counts the differing elements at a threshold."
    ),
}
"""By what a method needs: why a few elements may differ although the recipe is right.
Not shown to be the cause of any one of them.
"""
COLUMNS = [
    "tensor",
    "layer",
    "component",
    "dtype",
    "elements",
    "compared",
    "exact",
    "undecided",
    "sha256",
    "sha256_rebuilt",
    "status",
    "note",
]


@dataclass(frozen=True)
class Unit:
    """One tensor of the audited model as its file holds it."""

    name: str
    layer: str
    component: str
    dtype: str
    elements: int
    """In the file."""
    parts: tuple[PlannedSlice, ...]
    """Its contiguous runs, in the file's order."""

    def put_back(self, suspect: str) -> bool:
        """Whether its elements are read in another order than the file's, or rounded:
        then what is compared are not the file's bytes.
        """
        return any(
            view.is_rearranged or bool(view.stored_dtype)
            for view in (part.members[suspect] for part in self.parts)
        )

    @property
    def compared(self) -> int:
        """The elements of its parts: fewer than its own where no parent has the rest."""
        return sum(part.elements for part in self.parts)


@dataclass
class Outcome:
    """What one tensor's comparison found; digests only where every byte of the tensor
    was rebuilt.

    differences: (index in the tensor, the stored number, the rebuilt one), the first few. undecided: differing elements that lie exactly at a
    threshold of the method. copies: parents whose numbers are those of the whole tensor.
    """

    exact: int = 0
    undecided: int = 0
    differences: list[tuple[int, float, float]] = field(default_factory=list)
    sha256: str | None = None
    sha256_rebuilt: str | None = None
    copies: tuple[str, ...] = ()


def units(
    plan: pd.DataFrame,
    tensors: pd.DataFrame,
    suspect: str,
    parents: Sequence[str],
    reasons: Mapping[str, str],
) -> tuple[list[Unit], list[dict[str, Any]]]:
    """The audited model's tensors that the plan pairs with every parent, and the others
    with the reason (rows as of `row`).

    plan: plan.parquet; tensors: the model's own table; reasons: why a tensor was not
    compared, by its name.
    """
    by_source: dict[tuple[str, str], list[PlannedSlice]] = {}
    for part in planned_slices(plan[plan["model"].isin({suspect, *parents})]):
        own = part.members.get(suspect)
        # a borrowed head is rebuilt as the embedding
        if own is not None and not own.borrowed:
            by_source.setdefault((own.source, own.shard), []).append(part)
    found = []
    left_out = []
    for record in records_of(tensors):
        elements = record.elements
        parts = sorted(
            by_source.get((record.name, record.shard), []),
            key=lambda part: part.members[suspect].start,
        )
        if parts:
            found.append(
                Unit(
                    record.name,
                    parts[0].layer,
                    parts[0].component,
                    record.dtype,
                    elements,
                    tuple(parts),
                )
            )
        else:
            about = {
                "tensor": record.name,
                "dtype": record.dtype,
                "elements": elements,
                **dict.fromkeys(("compared", "exact", "undecided"), 0),
            }
            left_out.append(
                {
                    **about,
                    "status": "not rebuilt",
                    "note": reasons.get(record.name, "no counterpart in the parents"),
                }
            )
    return found, left_out


def rebuild(
    weights: Weights,
    unit: Unit,
    recipe: Recipe,
    suspect: str,
    layers: int,
    most_whole: int,
) -> Outcome:
    """Apply the recipe to one tensor. layers: the number of the last layer. most_whole: methods that need facts of the whole tensor get it
    in one piece up to this many elements; beyond, the facts are summed block by block, which leaves the last bit of float32 sums open.
    """
    parents = tuple(dict.fromkeys(recipe.parents))
    alone = METHODS[recipe.method].needs == "elements"
    whole = not alone and unit.compared <= most_whole
    lattice = _lattice(weights, unit, suspect)
    columns = last_dimension(_any_view(unit.parts[0]).cols, unit.compared)
    facts = StreamedFacts(
        base=parents[0],
        donors=parents[1:],
        elements=unit.compared,
        blocks=lambda: (
            values for _, _, values, _ in _blocks(weights, unit, parents, suspect)
        ),
    )
    outcome = Outcome()
    copies = dict.fromkeys(parents, True)
    digests = (
        hashlib.sha256(),
        hashlib.sha256(),
    )  # of the stored bytes and of the rebuilt ones
    runs = (
        [_joined(_blocks(weights, unit, parents, suspect))]
        if whole
        else _blocks(weights, unit, parents, suspect)
    )
    for start, view, values, audited in runs:
        if whole:
            facts = HeldFacts(
                base=parents[0],
                donors=parents[1:],
                gram=gram_of(values, parents),
                values=values,
                elements=unit.compared,
                columns=columns,
            )
        piece = Piece(
            view.tensor, layer_position(unit.layer, layers), values, audited, facts
        )
        codes = _stored(apply_recipe(recipe, piece), audited, lattice)
        stored = audited.raw.view(codes.dtype)
        same = stored == codes
        outcome.exact += int(same.sum())
        if not same.all():
            outcome.undecided += int((undecided_elements(recipe, piece) & ~same).sum())
            first = np.flatnonzero(~same)[: MOST_OF_TENSOR - len(outcome.differences)]
            numbers = zip(
                audited.values()[first].tolist(),
                _numbers(codes, audited)[first].tolist(),
                strict=True,
            )
            outcome.differences += [
                (start + int(index), *pair)
                for index, pair in zip(first, numbers, strict=True)
            ]
        stored_values = audited.values()
        copies = {
            parent: alike and np.array_equal(values[parent], stored_values)
            for parent, alike in copies.items()
        }
        digests[0].update(audited.raw)
        digests[1].update(codes)
    if unit.compared == unit.elements and not unit.put_back(suspect):
        outcome.sha256, outcome.sha256_rebuilt = (
            digest.hexdigest() for digest in digests
        )
        outcome.copies = tuple(parent for parent, alike in copies.items() if alike)
    return outcome


def row(unit: Unit, outcome: Outcome) -> dict[str, Any]:
    """One line of rebuild.csv: tensor, layer, component, dtype, elements, compared,
    exact, undecided, sha256, sha256_rebuilt, status, note.

    status: identical (every byte), differs, copied (not what the recipe gives, but a
    parent's numbers), partial (a part was compared).
    """
    about = {
        "tensor": unit.name,
        "layer": unit.layer,
        "component": unit.component,
        "dtype": unit.dtype,
        "elements": unit.elements,
    }
    counts = {
        "compared": unit.compared,
        "exact": outcome.exact,
        "undecided": outcome.undecided,
    }
    digests = {"sha256": outcome.sha256, "sha256_rebuilt": outcome.sha256_rebuilt}
    if outcome.sha256 is None and unit.compared == unit.elements:
        status = "identical" if outcome.exact == unit.compared else "differs"
        note = "compared as the layout was put back, not as the file holds it"
    elif outcome.sha256 is None:
        status = "partial"
        note = (
            f"{unit.elements - unit.compared:,} elements have no counterpart in the"
            " parents"
        )
    elif outcome.sha256 == outcome.sha256_rebuilt:
        status = "identical"
        note = None
    elif outcome.copies:
        status = "copied"
        note = f"every number is that of {outcome.copies[0]}"
    else:
        status = "differs"
        note = None
    return {**about, **counts, **digests, "status": status, "note": note}


def result(
    recipe: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    differences: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """rebuild.json of a rebuilt model. recipe: an entry of recipes.json; rows: of `row`; differences: tensor, index, suspect, rebuilt, null where a
    number is NaN or infinite.
    """
    table = pd.DataFrame(rows)
    statuses = table["status"].value_counts()
    elements, compared, exact, at_threshold = (
        int(table[column].sum())
        for column in ("elements", "compared", "exact", "undecided")
    )
    return {
        "rebuilt": True,
        "reason": None,
        "recipe": {key: recipe[key] for key in ("method", "dtype", "parameters")},
        "tensors": len(table),
        **{
            status.replace(" ", "_"): int(statuses.get(status, 0))
            for status in ("identical", "copied", "differs", "partial", "not rebuilt")
        },
        "elements": elements,
        "compared": compared,
        "exact": exact,
        "exact_rate": exact / compared if compared else None,
        "undecided": at_threshold,
        "remainder": OPEN_ELEMENTS.get(METHODS[recipe["method"]].needs)
        if exact < compared
        else None,
        "first_differences": [
            {key: _json_number(value) for key, value in entry.items()}
            for entry in differences[:MOST_DIFFERENCES]
        ],
    }


def not_rebuilt(reason: str) -> dict[str, Any]:
    """rebuild.json where nothing was rebuilt, with the reason."""
    return {"rebuilt": False, "reason": reason}


def why_not(
    when: str,
    mode: str,
    verdict: str,
    best: Mapping[str, Any] | None,
    remote: Sequence[str] = (),
) -> str | None:
    """The reason not to rebuild, else None. when: `rebuild.enabled` of the configuration; best: the best recipe found, if any; remote: the
    models whose weights are not here.
    """
    if remote:
        return (
            f"The weights of {', '.join(remote)} are on the Hub and are not kept here;"
            " with local copies (path) they are merged again."
        )
    if best is None:
        return "No recipe was found that could be applied."
    if when == "auto" and mode != "full":
        return (
            "Only a sample was read (mode: sample); with rebuild.enabled: always the"
            " whole parents are read and merged again."
        )
    if when == "auto" and verdict != "merge":
        return (
            f"The verdict is `{verdict}`, which rests on no recipe that should give the"
            " suspect back; rebuild.enabled: always rebuilds all the same."
        )
    return None


def _json_number(value: Any) -> Any:
    """The value, None in place of what JSON has no number for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _any_view(part: PlannedSlice) -> View:
    return next(iter(part.members.values()))


def _blocks(
    weights: Weights, unit: Unit, parents: Sequence[str], suspect: str
) -> Iterator[tuple[int, View, dict[str, Array], Sample]]:
    """Runs of at most BLOCK elements: where each starts in the tensor, its view, the
    parents' numbers, the audited model's bytes.
    """
    offset = 0
    for part in unit.parts:
        own = part.members[suspect]
        for first in range(0, part.elements, BLOCK):
            size = min(BLOCK, part.elements - first)
            audited = sample_of(weights, own, [(first, size)])
            values = {
                parent: weights.values(part.members[parent], first, size)
                for parent in parents
            }
            yield offset + first, own, values, audited
        offset += part.elements


def _joined(
    blocks: Iterator[tuple[int, View, dict[str, Array], Sample]],
) -> tuple[int, View, dict[str, Array], Sample]:
    """All runs of a tensor as one."""
    _, views, values, audited = zip(*blocks, strict=True)
    together = {
        parent: np.concatenate([block[parent] for block in values])
        for parent in values[0]
    }
    return 0, views[0], together, joined(audited)


def _lattice(weights: Weights, unit: Unit, suspect: str) -> str:
    """The format the tensor was rounded to: a merge rounded to bf16 may be stored as
    float32.
    """
    if unit.dtype not in ("F32", "F64"):
        return unit.dtype
    found = {
        sample.on_lattice().dtype
        for _, _, _, sample in _blocks(weights, unit, (), suspect)
    }
    return found.pop() if len(found) == 1 else unit.dtype


def _stored(values: Array, audited: Sample, lattice: str) -> NDArray:
    """The codes of merged numbers as the audited model would hold them."""
    codes = codes_as_stored(values, audited, lattice)
    return (
        codes
        if lattice == audited.dtype
        else encode(decode(codes, lattice), audited.dtype)
    )


def _numbers(codes: NDArray, audited: Sample) -> Array:
    return Sample(codes.view(np.uint8), audited.dtype, audited.scales).values()
