"""One layer of a bundle recomputed: its fits from the sums, the sums from the evidence,
the recipe on the evidence.
"""

import math
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mergetrace.bundle.checks import LayerResult
from mergetrace.bundle.material import LayerSums, Material, SliceFacts
from mergetrace.fit.estimators import Fit
from mergetrace.fit.fits import fit_slice
from mergetrace.fit.replays import replay_slice
from mergetrace.merging.applying import Piece
from mergetrace.merging.facts import HeldFacts, last_dimension
from mergetrace.merging.methods import METHODS
from mergetrace.merging.settings import layer_position
from mergetrace.planning.voting import votes
from mergetrace.search.counting import count_exact
from mergetrace.search.token_rows import TOKEN_TABLES, without_own_rows
from mergetrace.sums.block_sums import BlockSums
from mergetrace.sums.evidence import Sample, only_usable, read_blocks, read_evidence
from mergetrace.sums.frames import Frame
from mergetrace.sums.gram import run_sums
from mergetrace.sums.gram_arrays import ArrayKernel
from mergetrace.sums.records import records
from mergetrace.sums.stored import Stored
from mergetrace.tensors.naming import slice_name

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
            blocks = sums.blocks.get((slice_id, frame.audited))
            if blocks is None:
                continue
            recomputation = SliceRecomputation(
                material, result, frame, about, samples, blocks
            )
            recomputation.sums(kept[slice_id], sums.columns)
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
        blocks: BlockSums,
    ) -> None:
        """result: what takes the comparisons. samples: the kept elements of all models.
        blocks: the sums of the slice.
        """
        self.material = material
        self.result = result
        self.frame = frame
        self.about = about
        self.samples = samples
        self.blocks = blocks
        self.model = frame.audited
        self.where = f"{self.model}, {about.tensor}"
        if about.part:
            self.where += f" [{about.part}]"
        self.row = material.published[self.model, about.tensor, about.part]
        self.fit = fit_slice(blocks)

    def votes(self) -> bool:
        """Whether the slice's numbers enter those of the whole model."""
        about = self.about
        least = self.material.thresholds.min_vote_elements
        return votes(about.component, about.dimensions, about.elements, least)

    def sums(self, kept: NDArray[np.int64], columns: frozenset[str]) -> None:
        """What follows from the sums; and the sums again, from raw elements, where the
        evidence holds as many.

        kept: int64 [blocks, 2] (start, length), where the evidence lies in the slice.
        columns: what the bundle holds of the sums.
        """
        found = self.fit.least_squares
        self._check("alpha, from the sums", "alpha", found.total_alpha)
        self._check("alpha_se, from the sums", "alpha_se", found.total_alpha_se)
        self._check("cos_fit, from the sums", "cos_fit", found.cos_fit)
        state = self.result.check("state of the slice")
        state.add(self.where, self.row["status"], self.fit.status)
        again = _sums_again(self.frame, self.samples, kept)
        from_evidence = again.total()
        published = self.fit.totals
        if _elements(from_evidence) != _elements(published):
            self._alpha_near(fit_slice(again).least_squares)
            return
        check = self.result.check("sums and counts, from raw elements")
        recomputed = from_evidence.columns(self.frame.donors)
        for name, value in published.columns(self.frame.donors).items():
            if name in columns:
                check.add(
                    f"{self.where}, {name}", value.item(), recomputed[name].item()
                )

    def replay(self) -> None:
        """What follows from the evidence."""
        usable = only_usable(self.samples, self.frame.models)
        width = self.material.thresholds.replay_width
        replayed = replay_slice(usable, self.frame, width, self.material.seed)
        for name in FROM_EVIDENCE:
            recomputed = getattr(replayed.pure, name)
            self._check(f"{name}, from the evidence", name, recomputed)

    def pool(self) -> None:
        """Keep the sums for the numbers of the whole model."""
        expanded = self.fit.totals.expanded(self.about.weight)
        self.result.pooled[self.model].append(expanded)

    def recipe(self, whole: BlockSums) -> None:
        """Apply the best recipe to the evidence. whole: the sums of the whole tensor."""
        recipe = self.material.recipes[self.model]
        usable = self._compared()
        audited = usable[self.model].on_lattice()
        if recipe is None or audited.dtype == "F64":
            return
        part_of_tensor = self.about.part or self.about.weight != 1
        if METHODS[recipe.method].needs != "elements" and part_of_tensor:
            self.result.left_out[self.model] += 1
            return
        parents = (self.frame.base, *self.frame.donors)
        values = {name: usable[name].values() for name in parents}
        elements = _elements(whole)
        facts = HeldFacts(
            base=self.frame.base,
            donors=self.frame.donors,
            gram=whole.gram(),
            values=values,
            elements=elements,
            columns=last_dimension(self.about.columns, elements),
        )
        position = layer_position(self.about.layer, self.material.last_layer)
        name = slice_name(self.about.tensor, self.about.part)
        piece = Piece(name, position, values, audited, facts)
        width = self.material.thresholds.replay_width
        count = count_exact(recipe, piece, self.frame.base, width)
        self.result.counts[self.model].append(count)
        rate = count.exact / count.informative if count.informative else None
        what = "bit-exact rate of the recipe, from the evidence"
        self._check(what, "bit_exact_rate", rate)

    def _compared(self) -> Samples:
        """What the recipe has to give back (see search.joining)."""
        usable = only_usable(self.samples, self.frame.models)
        if self.about.component not in TOKEN_TABLES:
            return usable
        return without_own_rows(usable, self.frame, self.about.columns)[0]

    def _check(self, what: str, column: str, recomputed: float | None) -> None:
        """Compare a number with the one in a column of the published row."""
        text = self.row[column]
        published = float(text) if text else math.nan
        self.result.check(what).add(self.where, published, recomputed)

    def _alpha_near(self, estimate: Fit) -> None:
        """Compare alpha of the evidence with that of all elements, of which the evidence
        holds a sample. Where either has no error, nothing can be said.
        """
        found = self.fit.least_squares
        error = math.hypot(estimate.total_alpha_se, found.total_alpha_se)
        apart = abs(estimate.total_alpha - found.total_alpha)
        if not math.isfinite(apart) or not math.isfinite(error):
            return
        check = self.result.check(
            f"alpha of all elements, within {MAX_STANDARD_ERRORS:g} standard errors of"
            " the evidence's"
        )
        check.add(
            self.where,
            found.total_alpha,
            estimate.total_alpha,
            agrees=apart <= MAX_STANDARD_ERRORS * error + 1e-9,
        )


def _sums_of_tensors(
    material: Material, sums: LayerSums
) -> dict[tuple[str, str], BlockSums]:
    """By tensor and audited model the sums of all its slices."""
    parts = defaultdict(list)
    for (slice_id, model), blocks in sums.blocks.items():
        parts[material.slices[slice_id].tensor, model].append(blocks.total())
    return {key: BlockSums.added(totals) for key, totals in parts.items()}


def _sums_again(frame: Frame, samples: Samples, kept: NDArray[np.int64]) -> BlockSums:
    """The sums of one slice's blocks, from its evidence. kept: int64 [blocks, 2]
    (start, length).
    """
    held = {name: samples[name] for name in frame.models}
    stored = {
        name: Stored(sample.raw, sample.dtype, sample.scales, sample.shifts)
        for name, sample in held.items()
    }
    edges = np.concatenate([[0], np.cumsum(kept[:, 1])])
    sums = run_sums([frame], stored, edges, ArrayKernel())
    rows = list(records([frame], sums, np.diff(edges)))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return BlockSums.of(columns, frame.donors)


def _elements(totals: BlockSums) -> int:
    """The number of elements that sums were made of."""
    return int(totals.n + totals.nonfinite)
