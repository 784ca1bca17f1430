"""The finding of an audit: the rules' word on the suspect and on every control, and what
lies beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import isfinite
from typing import TYPE_CHECKING

from mergetrace import __version__
from mergetrace.finding.base_choice import candidates, seen_from
from mergetrace.finding.case import ACCUSING, Case, siblings
from mergetrace.finding.dates import ages
from mergetrace.finding.declared import beside_found
from mergetrace.finding.judgement import coverage_of, judgement
from mergetrace.finding.lineage import base_declared, not_offered
from mergetrace.finding.reading import files_read
from mergetrace.finding.verdict import decide
from mergetrace.finding.wording_alone import base_declared_sentence
from mergetrace.finding.wording_bases import base_choice_sentences, both_roles_sentences
from mergetrace.finding.wording_dates import oddities
from mergetrace.finding.wording_declared import declared_sentences, missing_sentence
from mergetrace.finding.wording_packed import packed_sentences
from mergetrace.finding.wording_reach import adapter_sentences, reach_sentences
from mergetrace.records.coverage import Coverage
from mergetrace.records.json_records import from_json
from mergetrace.records.layout import LayoutFacts
from mergetrace.records.manifest import FetchedFile, Manifests, Plan
from mergetrace.records.packed import PackedComparison
from mergetrace.records.spectrum import Spectrum
from mergetrace.records.summary import Summary
from mergetrace.records.verdict import (
    BytesRead,
    Dates,
    Declared,
    DeclaredBeside,
    Judgement,
    NameCount,
    Verdict,
)
from mergetrace.thresholds import Thresholds

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = (
    "numpy",
    "pandas",
    "safetensors",
    "scipy",
    "snakemake",
    "torch",
    "transformers",
)
"""The packages whose versions a finding names."""

UNSETTLED = ("inconclusive", "unrelated")
"""The verdicts that a further parent might settle."""


@dataclass(frozen=True)
class Evidence:
    """What a finding is made of."""

    audit: str
    """The audit's name."""
    summary: Summary
    """Every number of the audit."""
    plan: Plan
    """plan.json."""
    manifests: Manifests
    """By model its manifest."""
    thresholds: Thresholds
    """The limits between verdicts."""
    scores: "pd.DataFrame | None" = None
    """scores.csv: whom the answers name; None where nobody asked."""
    fetched: Sequence[FetchedFile] = ()
    """The records of the weight files that were fetched whole."""
    layouts: Mapping[str, LayoutFacts] | None = None
    """By audited model which disguises were looked for."""
    stated: Mapping[str, str] | None = None
    """By model the date of publication that the auditor states."""
    compared: Mapping[str, Coverage] | None = None
    """By model how much of it was compared."""
    packed: Sequence[PackedComparison] = ()
    """What is known of bytes that were not decoded."""
    spectrum: Spectrum | None = None
    """The weights along every direction; None where nobody measured."""


def finding(evidence: Evidence) -> Verdict:
    """Judge the suspect and every control by the same rules and state the finding."""
    summary = evidence.summary
    compared = evidence.compared or {}
    published = _published(evidence)
    bases = candidates(summary, evidence.thresholds, compared)
    judged = {
        model: _judge(
            evidence,
            model,
            published,
            seen_from(bases) if model == summary.suspect else {},
        )
        for model in summary.models
    }
    suspect = judged.pop(summary.suspect)
    accused = suspect.verdict in ACCUSING
    mode = evidence.plan["mode"]
    declared = from_json(
        Declared,
        evidence.manifests[summary.suspect]["declared"],
        f"{summary.suspect}'s manifest",
    )
    recipes = summary.models[summary.suspect].recipe
    beside = beside_found(declared.merges, recipes, suspect, evidence.thresholds)
    notes = [
        *_declared_notes(evidence, suspect.verdict, declared, beside),
        *both_roles_sentences(summary.in_both_roles, len(summary.bases)),
        *base_choice_sentences(
            bases, summary.suspect, evidence.thresholds, alone=not summary.donors
        ),
        *reach_sentences(summary, mode, evidence.scores, accused),
        *adapter_sentences(summary.suspect, compared),
        *(note for entry in evidence.manifests.values() for note in entry["notes"]),
        *oddities(published),
    ]
    offered = list(dict.fromkeys([summary.suspect, *summary.bases, *summary.donors]))
    read = files_read(mode, evidence.manifests, evidence.fetched)
    verdict = Verdict(
        audit=evidence.audit,
        suspect=summary.suspect,
        verdict=suspect.verdict,
        family=suspect.family,
        reasons=(*suspect.reasons, *notes),
        parents=suspect.parents,
        base=suspect.base,
        order=suspect.order,
        evidence=suspect.evidence,
        recipe=suspect.recipe,
        after_merge=suspect.after_merge,
        layout=suspect.layout,
        compared=coverage_of(offered, compared, summary.models[summary.suspect]),
        bases=bases,
        controls=judged,
        probe=None if evidence.scores is None else _probe(evidence.scores),
        read=BytesRead(
            mode,
            evidence.plan["cost"][mode]["read_bytes"],
            summary.models[summary.suspect].elements_read,
            read.full_hash_verified,
            read.files,
        ),
        published=published,
        adapters=_adapters(evidence.manifests),
        declared=declared,
        declared_merges=beside,
        versions={
            "mergetrace": __version__,
            **{package: version(package) for package in PACKAGES},
        },
    )
    return _with_base_declared(verdict, evidence.manifests)


def _with_base_declared(verdict: Verdict, manifests: Manifests) -> Verdict:
    """Where the base was all that was asked for, whether the suspect's files name it."""
    declared = base_declared(verdict, manifests)
    if declared is None:
        return verdict
    names = verdict.declared.base_model or ()
    base = verdict.base.name
    facts = verdict.order.get(base)
    older = facts is not None and bool(facts.before)
    said = base_declared_sentence(verdict.suspect, base, declared, names, older)
    reasons = (*verdict.reasons, said)
    return replace(verdict, reasons=reasons, base_declared=declared)


def _judge(
    evidence: Evidence,
    model: str,
    published: Mapping[str, Dates],
    from_others: Mapping[str, str],
) -> Judgement:
    """What the rules say of one audited model. from_others: the verdict with every base
    candidate that was not chosen.
    """
    summary = evidence.summary
    # A control is judged beside the other controls; the suspect is no sibling of theirs
    # to be measured against.
    controls = siblings(summary.models, model, summary.suspect)
    case = Case(
        model,
        summary.base,
        summary.models[model],
        controls,
        evidence.thresholds,
        layout=(evidence.layouts or {}).get(model),
        ages=ages(model, [*summary.donors, summary.base], published),
        compared=evidence.compared or {},
        spectrum=evidence.spectrum,
        seen_from=from_others,
    )
    return judgement(case, decide(case), packed_sentences(evidence.packed, model))


def _declared_notes(
    evidence: Evidence,
    verdict: str,
    declared: Declared,
    beside: Sequence[DeclaredBeside],
) -> list[str]:
    """What became of the declared merges; where nothing was found, the parents that the
    card names and that were not offered, since they might settle it.
    """
    summary = evidence.summary
    sentences = declared_sentences(summary.suspect, beside)
    if verdict not in UNSETTLED:
        return sentences
    said = {name for merge in beside for name in merge.missing}
    parents = dict.fromkeys([*summary.bases, *summary.donors])
    names = not_offered(declared.base_model or (), evidence.manifests, parents)
    missing = [name for name in names if name not in said]
    if missing:
        where = f"{summary.suspect}'s card names"
        sentences.append(missing_sentence(where, missing))
    return sentences


def _published(evidence: Evidence) -> dict[str, Dates]:
    """By model when it was published: as stated, and as the Hub lists it."""
    stated = evidence.stated or {}
    return {
        model: {"stated": stated.get(model), "hub": manifest.get("published")}
        for model, manifest in evidence.manifests.items()
    }


def _adapters(manifests: Manifests) -> dict[str, str]:
    """By model that is an adapter merged into another, what that one is called."""
    sources = {model: manifest["source"] for model, manifest in manifests.items()}
    return {
        model: source["base"]["model"]
        for model, source in sources.items()
        if source.get("base")
    }


def _probe(scores: "pd.DataFrame") -> dict[str, dict[str, dict[str, NameCount]]]:
    """By model, condition and name, how many answers give it."""
    counts: dict[str, dict[str, dict[str, NameCount]]] = {}
    for row in scores.to_dict("records"):
        low = float(row["ci95_low"])
        ends = (low, float(row["ci95_high"])) if isfinite(low) else None
        count = NameCount(int(row["hits"]), int(row["n"]), ends)
        by_condition = counts.setdefault(row["model"], {})
        by_condition.setdefault(row["condition"], {})[row["identity"]] = count
    return counts
