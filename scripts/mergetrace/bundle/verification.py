"""The numbers of a finding, recomputed from its evidence bundle alone: with numpy,
without network, without the models.

By the same formulas that made them, from two kinds of material. The evidence is raw
numbers of every model. The sums (Gram matrices and counts) were made while all weights
were read, which nobody can redo without the weights; where the evidence holds the same
elements they are redone from it, elsewhere the evidence gives an estimate beside them.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np

from mergetrace.bundle.checks import Check, LayerResult
from mergetrace.bundle.material import Material
from mergetrace.bundle.recomputation import recompute_layer
from mergetrace.finding.base_choice import candidates, seen_from
from mergetrace.finding.case import Case, siblings
from mergetrace.finding.dates import ages
from mergetrace.finding.verdict import decide
from mergetrace.fit.estimators import cosine, solve
from mergetrace.probe.identity import mentions
from mergetrace.records.summary import ModelSummary
from mergetrace.search.counting import add_counts, exact_rate
from mergetrace.sums.block_sums import BlockSums

NOT_RECOMPUTED = (
    (
        "Whether the evidence and the sums are the models' own: for that read the"
        " models (models/*/manifest.json has commits and hashes, tables/plan.parquet"
        " the byte ranges)."
    ),
    (
        "Whether another recipe gives back more: only the recipe that is stated was"
        " applied again, the search was not repeated."
    ),
    (
        "Whether the models answer like this: for that ask them"
        " (models/*/template.json, probe/prompts.jsonl, the seeds in probe/)."
    ),
)
"""What no bundle can show."""


class Verification:
    """A bundle's finding, and its recomputation layer by layer: `layers`, then
    `finish`; `result` is what they gave so far.
    """

    def __init__(self, root: Path) -> None:
        """root: the bundle's folder."""
        self.material = Material(root)
        self.result = LayerResult()

    def layers(self, processes: int) -> Iterator[str]:
        """Recompute every layer, that many at a time; yields the name of each that is
        done, in order.
        """
        names = self.material.layer_names()
        workers = max(1, min(processes, len(names)))
        recompute = partial(_recomputed, self.material.root)
        with ProcessPoolExecutor(workers) as pool:
            results = pool.map(recompute, names)
            for name, result in zip(names, results, strict=True):
                self.result.extend(result)
                yield name

    def finish(self) -> list[Check]:
        """Pool what the layers gave, judge it by the rules, count the answers; returns
        all comparisons, those of the layers first.
        """
        for model, numbers in self.material.summary.models.items():
            self._recipe(model, numbers)
            self._pool(model, numbers)
            self._judge(model, numbers)
        self._count_answers()
        return list(self.result.checks.values())

    def _recipe(self, model: str, numbers: ModelSummary) -> None:
        """What the best recipe gives back of all that votes."""
        best = numbers.recipe.best
        if best is None or model in self.result.left_out:
            return
        count = add_counts(self.result.counts[model])
        informative = numbers.recipe.informative_elements
        self.result.check("informative elements, in all").add(
            model, informative, count.informative
        )
        rate = None
        if count.informative:
            least = self.material.thresholds.min_informative_share
            rate = exact_rate(count, least)
        self.result.check("bit-exact rate of the recipe, in all").add(
            model, best.bit_exact_rate, rate
        )

    def _pool(self, model: str, numbers: ModelSummary) -> None:
        """alpha and cos towards every donor over all that votes."""
        rows = self.result.pooled[model]
        if not rows:
            return
        donors = self.material.summary.donors
        pooled = BlockSums.added(rows)
        alpha = np.full(len(donors), np.nan)
        if pooled.uu > 0:
            alpha = solve(pooled.vv, pooled.uv)
        for i, donor in enumerate(donors):
            where = f"{model}, {donor}"
            published = numbers.donors[donor]
            self.result.check("alpha, over all that votes").add(
                where, published.alpha_ols, alpha[i]
            )
            self.result.check("cosine, over all that votes").add(
                where,
                published.cos,
                cosine(pooled.uv[i], float(pooled.uu), pooled.vv[i, i]),
            )

    def _judge(self, model: str, numbers: ModelSummary) -> None:
        """The verdict by the rules."""
        material = self.material
        summary = material.summary
        verdict = material.verdict
        controls = siblings(summary.models, model, summary.suspect)
        parents = [*summary.donors, summary.base]
        is_suspect = model == summary.suspect
        bases = candidates(summary, material.thresholds, material.compared)
        case = Case(
            model,
            summary.base,
            numbers,
            controls,
            material.thresholds,
            layout=material.layouts.get(model),
            ages=ages(model, parents, verdict.published),
            compared=material.compared,
            spectrum=material.spectrum,
            seen_from=seen_from(bases) if is_suspect else {},
        )
        published = verdict if is_suspect else verdict.controls[model]
        self.result.check("verdict, by the rules").add(
            model, published.verdict, decide(case).verdict
        )

    def _count_answers(self) -> None:
        """Every tally of the probe, counted again in the answers."""
        material = self.material
        audit = material.configuration["audits"][material.verdict.audit]
        told_name = material.configuration["probe"]["adversarial_name"]
        check = self.result.check("answers that give a name")
        for model, by_condition in (material.verdict.probe or {}).items():
            for condition, counts in by_condition.items():
                answers = material.answers(model, condition)
                for name, published in counts.items():
                    spellings = list(audit["identities"].get(name, []))
                    if name == told_name:
                        spellings.append(told_name)
                    hits = sum(
                        bool(mentions(answer, spellings).given) for answer in answers
                    )
                    check.add(
                        f"{model}, {condition}, {name}",
                        f"{published.hits} of {published.n}",
                        f"{hits} of {len(answers)}",
                    )
        if not check.compared:
            del self.result.checks[check.what]


@cache
def _material(root: Path) -> Material:
    """Read once in each process, whatever the number of layers it recomputes."""
    return Material(root)


def _recomputed(root: Path, layer: str) -> LayerResult:
    return recompute_layer(_material(root), layer)
