"""One layer of a bundle recomputed: its fits from the sums, the sums from the evidence,
the recipe on the evidence.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.bundle.checks import LayerResult
from mergetrace.bundle.material import Columns, Material, SliceFacts
from mergetrace.fit.fits import KEYS, fit_slice, replay_slice
from mergetrace.merging.applying import Piece
from mergetrace.merging.facts import HeldFacts, gram_of_sums, last_dimension
from mergetrace.merging.methods import METHODS
from mergetrace.merging.settings import layer_position
from mergetrace.planning.voting import votes
from mergetrace.search.counting import count_exact
from mergetrace.sums.evidence import Sample, only_usable, read_blocks, read_evidence
from mergetrace.sums.frames import Frame
from mergetrace.sums.gram import run_sums
from mergetrace.sums.gram_arrays import ArrayKernel
from mergetrace.sums.records import records
from mergetrace.sums.stored import Stored

FROM_SUMS = ("alpha", "alpha_se", "cos_fit")
"""The published numbers that follow from the sums."""
FROM_EVIDENCE = ("alpha_replay", "coverage", "alpha_expected", "cos_expected")
"""The published numbers that follow from the evidence."""
MAX_STANDARD_ERRORS = 5.0
"""Between the evidence's alpha and that of all elements; from there on they contradict
each other.
"""

Samples = Mapping[str, Sample]
"""By model the kept elements of one slice."""


def recompute_layer(material: Material, layer: str) -> LayerResult:
    """Recompute every slice of one layer for every audited model."""
    result = LayerResult()
    sums = material.sums(layer)
    kept = read_blocks(material.evidence(layer))
    whole_tensors = _sums_of_tensors(material, sums)
    for slice_id, samples in read_evidence(material.evidence(layer)):
        about = material.slices[slice_id]
        for frame in material.frames:
            columns = sums.get((slice_id, frame.audited))
            if columns is None:
                continue
            recomputation = SliceRecomputation(
                material, result, frame, about, samples, columns
            )
            recomputation.sums(kept[slice_id])
            recomputation.replay()
            if recomputation.votes():
                recomputation.pool()
                recomputation.recipe(whole_tensors[about.tensor, frame.audited])
    return result


class SliceRecomputation:
    """One slice of one audited model, compared with what was published."""

    def __init__(
        self,
        material: Material,
        result: LayerResult,
        frame: Frame,
        about: SliceFacts,
        samples: Samples,
        columns: Columns,
    ) -> None:
        """result: what takes the comparisons. samples: the kept elements of all models.
        columns: the sums of the slice.
        """
        self.material = material
        self.result = result
        self.frame = frame
        self.about = about
        self.samples = samples
        self.columns = columns
        self.model = frame.audited
        self.where = f"{self.model}, {about.tensor}"
        if about.part:
            self.where += f" [{about.part}]"
        self.row = material.published[self.model, about.tensor, about.part]
        self.numbers = fit_slice(columns, frame.donors)

    def votes(self) -> bool:
        """Whether the slice's numbers enter those of the whole model."""
        about = self.about
        least = self.material.thresholds.min_vote_elements
        return votes(about.component, about.dimensions, about.elements, least)

    def sums(self, kept: NDArray[np.int64]) -> None:
        """What follows from the sums; and the sums again, from raw elements, where the
        evidence holds as many.

        kept: int64 [blocks, 2] (start, length), where the evidence lies in the slice.
        """
        for name in FROM_SUMS:
            self._check(f"{name}, from the sums", name, self.numbers[name])
        state = self.result.check("state of the slice")
        state.add(self.where, self.row["status"], self.numbers["status"])
        again = _sums_again(self.frame, self.samples, kept)
        from_evidence = _totals(again)
        published = _totals(self.columns)
        if _elements(from_evidence) == _elements(published):
            check = self.result.check("sums and counts, from raw elements")
            for name, value in published.items():
                check.add(f"{self.where}, {name}", value, from_evidence[name])
        else:
            self._alpha_near(fit_slice(again, self.frame.donors))

    def replay(self) -> None:
        """What follows from the evidence."""
        usable = only_usable(self.samples, self.frame.models)
        width = self.material.thresholds.replay_width
        replayed = replay_slice(usable, self.frame, width, self.material.seed)
        for name in FROM_EVIDENCE:
            self._check(f"{name}, from the evidence", name, replayed[name])

    def pool(self) -> None:
        """Keep the sums for the numbers of the whole model."""
        self.result.pooled[self.model].append(weighted(self.numbers, self.about.weight))

    def recipe(self, whole: Mapping[str, float]) -> None:
        """Apply the best recipe to the evidence. whole: the sums of the whole tensor."""
        recipe = self.material.recipes[self.model]
        usable = only_usable(self.samples, self.frame.models)
        audited = usable[self.model].on_lattice()
        if recipe is None or audited.dtype == "F64":
            return
        part_of_tensor = self.about.part or self.about.weight != 1
        if METHODS[recipe.method].needs != "elements" and part_of_tensor:
            self.result.left_out[self.model] += 1
            return
        parents = (self.frame.base, *self.frame.donors)
        values = {name: usable[name].values() for name in parents}
        elements = int(_elements(whole))
        facts = HeldFacts(
            base=self.frame.base,
            donors=self.frame.donors,
            gram=gram_of_sums(whole, self.frame.donors),
            values=values,
            elements=elements,
            columns=last_dimension(self.about.columns, elements),
        )
        position = layer_position(self.about.layer, self.material.last_layer)
        piece = Piece(self.about.tensor, position, values, audited, facts)
        width = self.material.thresholds.replay_width
        count = count_exact(recipe, piece, self.frame.base, width)
        self.result.counts[self.model].append(count)
        rate = count.exact / count.informative if count.informative else None
        what = "bit-exact rate of the recipe, from the evidence"
        self._check(what, "bit_exact_rate", rate)

    def _check(self, what: str, column: str, recomputed: float | None) -> None:
        """Compare a number with the one in a column of the published row."""
        text = self.row[column]
        published = float(text) if text else math.nan
        self.result.check(what).add(self.where, published, recomputed)

    def _alpha_near(self, estimate: Mapping[str, Any]) -> None:
        """Compare alpha of the evidence with that of all elements, of which the evidence
        holds a sample. Where either has no error, nothing can be said.
        """
        error = math.hypot(estimate["alpha_se"], self.numbers["alpha_se"])
        apart = abs(estimate["alpha"] - self.numbers["alpha"])
        if not math.isfinite(apart) or not math.isfinite(error):
            return
        check = self.result.check(
            f"alpha of all elements, within {MAX_STANDARD_ERRORS:g} standard errors of"
            " the evidence's"
        )
        check.add(
            self.where,
            self.numbers["alpha"],
            estimate["alpha"],
            agrees=apart <= MAX_STANDARD_ERRORS * error + 1e-9,
        )


def added(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Numbers of the same name added over all rows."""
    names = [name for name, value in rows[0].items() if not isinstance(value, str)]
    return {name: sum(row[name] for row in rows) for name in names}


def weighted(numbers: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """The sums of a slice as they stand for its whole tensor, of which only a part was
    read (see sampling_error.expanded).
    """
    return {
        name: value * weight if _is_sum(name) else value
        for name, value in numbers.items()
    }


def _is_sum(name: str) -> bool:
    """Whether a column is a sum over elements that grows with their number."""
    return name == "uu" or name.startswith(("uv.", "vv."))


def _sums_of_tensors(
    material: Material, sums: Mapping[tuple[int, str], Columns]
) -> dict[tuple[str, str], dict[str, float]]:
    """By tensor and audited model the sums of all its slices."""
    parts = defaultdict(list)
    for (slice_id, model), columns in sums.items():
        parts[material.slices[slice_id].tensor, model].append(_totals(columns))
    return {key: added(rows) for key, rows in parts.items()}


def _sums_again(
    frame: Frame, samples: Samples, kept: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """The columns of the sums for one slice, from its evidence. kept: int64 [blocks, 2]
    (start, length).
    """
    stored = {
        name: Stored(samples[name].raw, samples[name].dtype, samples[name].scales)
        for name in frame.models
    }
    edges = np.concatenate([[0], np.cumsum(kept[:, 1])])
    sums = run_sums([frame], stored, edges, ArrayKernel())
    rows = list(records([frame], sums, np.diff(edges)))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _totals(columns: Columns) -> dict[str, float]:
    """The sums of a slice over its blocks."""
    return {
        name: float(np.sum(values))
        for name, values in columns.items()
        if name not in KEYS
    }


def _elements(totals: Mapping[str, float]) -> float:
    """The number of elements that sums were made of."""
    return totals["n"] + totals["nonfinite"]
