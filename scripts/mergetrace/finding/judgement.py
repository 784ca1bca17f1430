"""A decision of the rules, with the numbers that go with it, as verdict.json says it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite

from mergetrace.finding.case import Case, Decision
from mergetrace.finding.cells import evidence
from mergetrace.finding.descent import RESTS_ON, at_most
from mergetrace.finding.descent import interval as of_spectrum
from mergetrace.finding.detection import smallest_seen
from mergetrace.finding.relatives import not_told_within
from mergetrace.finding.traces import best_recipe
from mergetrace.finding.wording_reasons import sentences
from mergetrace.merging.mergekit_yaml import mergekit_config, widest_dtype
from mergetrace.merging.recipes import recipe_from_json
from mergetrace.records.coverage import Coverage
from mergetrace.records.json_records import as_json
from mergetrace.records.layout import LayoutFacts
from mergetrace.records.summary import DonorShare, ModelSummary
from mergetrace.records.verdict import (
    AfterMerge,
    BaseShare,
    Disguises,
    Judgement,
    ParentFinding,
    RecipeFinding,
)

NORMAL_95 = 1.96
"""Standard errors to either side that hold 95 % of a normal distribution."""

Interval = tuple[float, ...] | None


def judgement(
    case: Case, decision: Decision, further_reasons: Sequence[str] = ()
) -> Judgement:
    """What the rules say of one audited model. further_reasons: sentences that follow
    the decision's own.
    """
    return Judgement(
        verdict=decision.verdict,
        evidence=_evidence(case, decision),
        family=decision.family,
        reasons=(*sentences(decision.reasons), *further_reasons),
        parents={
            donor: _parent(case, decision, donor) for donor in case.summary.donors
        },
        base=BaseShare(case.base, decision.base_share),
        order=decision.order,
        recipe=_recipe(case) if decision.verdict == "merge" else None,
        after_merge=_after_merge(case, decision.verdict),
        layout=_disguises(case.layout),
        compared=coverage_of([case.model], case.compared, case.summary),
    )


def _evidence(case: Case, decision: Decision) -> str | None:
    """What kind of evidence the verdict rests on."""
    if decision.rests_on == RESTS_ON:
        return "strong"
    return evidence(case, decision)


def coverage_of(
    models: Sequence[str], compared: Mapping[str, Coverage], numbers: ModelSummary
) -> dict[str, Coverage]:
    """How much of these models was compared, where that is known. What was compared and
    lies in no slice that votes is counted anew. numbers: of the audited model.
    """
    found = {}
    for model in models:
        if model in compared:
            coverage = compared[model]
            silent = max(coverage.compared - numbers.elements_voting, 0)
            found[model] = replace(coverage, cannot_vote=silent)
    return found


def _parent(case: Case, decision: Decision, donor: str) -> ParentFinding:
    """What was found of one donor."""
    numbers = case.summary.donors[donor]
    named = donor in decision.named
    alpha = decision.named[donor] if named else numbers.alpha_ols
    mixture = case.summary.mixture
    shared = mixture.donors[donor] if mixture else DonorShare(None, None, None)
    return ParentFinding(
        named=named,
        alpha=alpha,
        alpha_ci95=_interval(case, decision, donor, alpha),
        alpha_ols=numbers.alpha_ols,
        cos_fit=numbers.cos,
        share=shared.share,
        share_ci95=shared.ci95,
        inflation=shared.inflation,
        at_most=at_most(case, donor),
        not_told_within=not_told_within(case, decision, donor),
    )


def _interval(
    case: Case, decision: Decision, donor: str, alpha: float | None
) -> Interval:
    """What confines a donor's share: the stored numbers where the verdict rests on
    them, exact for a copy, else the least-squares error.

    Of one donor the weights that the tensors' replay intervals share; of several the
    room that the others leave it. Both are widened to hold the recipe's own (float32
    sums shave them).
    """
    if alpha is None:
        return None
    if donor in decision.named:
        if decision.verdict == "copy":
            return (alpha, alpha)
        if decision.rests_on == RESTS_ON:
            return of_spectrum(case, donor)
        if decision.verdict in ("merge", "merge_then_trained"):
            return _replay_interval(case, donor, alpha, len(decision.named) == 1)
    numbers = case.summary.donors[donor]
    if numbers.alpha_ols is None or numbers.alpha_se is None:
        return None
    half = NORMAL_95 * numbers.alpha_se
    return (numbers.alpha_ols - half, numbers.alpha_ols + half)


def _replay_interval(case: Case, donor: str, alpha: float, alone: bool) -> Interval:
    """The shares of a donor that the stored numbers allow. alone: whether no further
    donor is named.
    """
    if alone:
        ends = case.recipe.interval
    else:
        remainder = case.summary.remainder
        ends = remainder.share_intervals.get(donor) if remainder else None
    if not ends or not all(map(isfinite, ends)):
        return None
    return (min(ends[0], alpha), max(ends[1], alpha))


def _recipe(case: Case) -> RecipeFinding:
    """The recipe of a merge, as something to run."""
    best = best_recipe(case)
    search = case.recipe
    layers = case.layout.layers if case.layout else {}
    findings = case.layout.findings if case.layout else ()
    whole = search.completed if best == search.best and search.completed else best
    config = mergekit_config(
        recipe_from_json(as_json(whole)),
        widest_dtype(search.stored_dtypes),
        layers={int(layer): number for layer, number in layers.items()},
        experts_of_dense=any(
            finding.get("kind") == "experts_copied" for finding in findings
        ),
    )
    return RecipeFinding(
        method=best.method,
        parameters=best.parameters,
        dtype=best.dtype,
        out_dtype=search.out_dtype,
        bit_exact_rate=best.bit_exact_rate,
        informative_elements=search.informative_elements,
        mergekit_config=config,
        alternatives=search.alternatives,
    )


def _after_merge(case: Case, verdict: str) -> AfterMerge:
    """What was done after a merge, and how little would have been seen; all None where
    no merge is called or no recipe gives enough back.
    """
    if verdict not in ("merge", "merge_then_trained"):
        return AfterMerge()
    best = case.recipe.best
    residual = best.residual_share if best else None
    trained = verdict == "merge_then_trained"
    left = case.summary.remainder
    if left is None or not left.elements:
        return AfterMerge(residual_share=residual, trained=trained)
    unexplained = case.thresholds.max_unexplained
    changed_share = left.changed / left.elements
    return AfterMerge(
        residual_share=residual,
        trained=trained or changed_share > unexplained,
        elements=left.elements,
        changed_share=changed_share,
        where=left.where,
        rank=left.rank,
        rank_reason=left.rank_reason,
        smallest_seen=smallest_seen(left, unexplained),
        cells=bool(case.recipe.packed),
    )


def _disguises(layout: LayoutFacts | None) -> Disguises:
    """What was undone before anything was compared, what shows and was not, and what
    was looked for.
    """
    if layout is None:
        return Disguises()
    return Disguises(layout.undone, layout.not_undone, layout.looked_for)
