"""verdict.json: the finding in the shape that outsiders rely on."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import isfinite
from typing import TYPE_CHECKING, Any

from mergetrace import __version__
from mergetrace.finding.base_choice import candidates, explained
from mergetrace.finding.dates import ages, notes
from mergetrace.finding.reading import files_read
from mergetrace.finding.traces import Case, Decision
from mergetrace.finding.undecoded import said_of
from mergetrace.finding.verdict import ACCUSING, decide
from mergetrace.merging.mergekit_yaml import mergekit_config
from mergetrace.merging.recipes import from_json
from mergetrace.search.remainder import smallest_seen
from mergetrace.tensors.views import ADAPTER

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


def compose(
    audit: str,
    summary: Mapping[str, Any],
    plan: Mapping[str, Any],
    manifests: Mapping[str, Mapping[str, Any]],
    scores: "pd.DataFrame | None",
    thresholds: Mapping[str, float],
    fetched: Sequence[Mapping[str, Any]] = (),
    layouts: Mapping[str, Mapping[str, Any]] | None = None,
    stated: Mapping[str, str] | None = None,
    compared: Mapping[str, Mapping[str, Any]] | None = None,
    packed: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Judge the suspect and every control by the same rules and state the finding.

    summary, plan: summary.json and plan.json; manifests: by model; scores: scores.csv or None where the probe is off.
    fetched: the records of the weight files that were fetched whole. layouts: what layout.json says of the audited models that were looked at.
    stated: dates of publication that the auditor states, by model.
    compared: how much of every model was compared (see models.coverage). packed: packed.json, what is known of bytes that were not decoded.
    """
    suspect = summary["suspect"]
    models = summary["models"]
    published = {
        model: {"stated": (stated or {}).get(model), "hub": manifest.get("published")}
        for model, manifest in manifests.items()
    }
    findings = {}
    for model, numbers in models.items():
        # A control is judged beside the other controls; the suspect is no sibling of
        # theirs to be measured against.
        others = {
            name: other
            for name, other in models.items()
            if name not in (model, suspect)
        }
        layout = (layouts or {}).get(model)
        dated = ages(model, [*summary["donors"], summary["base"]], published)
        decision = decide(
            Case(
                model,
                summary["base"],
                numbers,
                others,
                thresholds,
                layout,
                *dated,
                compared,
            )
        )
        findings[model] = _finding(
            decision,
            numbers,
            summary["base"],
            thresholds,
            (layout or {}).get("layers", {}),
        ) | {"layout": _layout(layout)}
        findings[model]["compared"] = _compared([model], compared, numbers)
    for model, own in findings.items():
        own["reasons"] += said_of(packed, model)
    finding = findings.pop(suspect)
    finding["compared"] = _compared(
        [suspect, *summary["bases"], *summary["donors"]], compared, models[suspect]
    )
    bases = candidates(summary, thresholds, compared)
    finding["reasons"] += [
        *explained(bases, suspect, thresholds),
        *_limits(summary, plan, scores, finding["verdict"] in ACCUSING),
        *_adapters(suspect, compared),
        *(note for manifest in manifests.values() for note in manifest["notes"]),
        *notes(published),
    ]
    declared = manifests[suspect]["declared"]
    return {
        "audit": audit,
        "suspect": suspect,
        **finding,
        "bases": bases,
        "controls": findings,
        "probe": None if scores is None else _probe(scores),
        "read": {
            "mode": plan["mode"],
            "bytes": plan["cost"][plan["mode"]]["read_bytes"],
            "elements": models[suspect]["elements_read"],
            **files_read(plan["mode"], manifests, fetched),
        },
        "published": published,
        "declared": declared,
        "versions": {
            "mergetrace": __version__,
            **{package: version(package) for package in PACKAGES},
        },
    }


def _finding(
    decision: Decision,
    numbers: Mapping[str, Any],
    base: str,
    thresholds: Mapping[str, float],
    layers: Mapping[str, int],
) -> dict[str, Any]:
    """One model's finding. layers: where a layer is another one in the parents, its
    number there.
    """
    recipe = numbers["recipe"]
    parents = {}
    for donor, entry in numbers["donors"].items():
        named = donor in decision.named
        alpha = decision.named[donor] if named else entry["alpha_ols"]
        parents[donor] = {
            "named": named,
            "alpha": alpha,
            "alpha_ci95": (
                _interval(decision, numbers, donor) if alpha is not None else None
            ),
            "alpha_ols": entry["alpha_ols"],
            "cos_fit": entry["cos"],
            **_mixed(numbers.get("mixture"), donor),
        }
    return {
        "verdict": decision.verdict,
        "family": decision.family,
        "reasons": list(decision.reasons),
        "parents": parents,
        "base": {"name": base, "share": decision.base_share},
        "order": dict(decision.order),
        "recipe": (
            _recipe(recipe, {int(own): theirs for own, theirs in layers.items()})
            if decision.verdict == "merge"
            else None
        ),
        "after_merge": _after_merge(
            decision.verdict,
            recipe["best"],
            numbers["remainder"],
            thresholds["max_unexplained"],
        ),
    }


def _compared(
    wanted: Sequence[str],
    compared: Mapping[str, Mapping[str, Any]] | None,
    numbers: Mapping[str, Any],
) -> dict[str, Mapping[str, Any]]:
    """How much of these models was compared; what cannot vote is what was compared and
    lies in no slice that did. numbers: of the audited one.
    """
    known = compared or {}
    voting = numbers.get("elements_voting", 0)
    found = {model: known[model] for model in wanted if model in known}
    return {
        model: {**entry, "cannot_vote": max(entry["compared"] - voting, 0)}
        for model, entry in found.items()
    }


def _after_merge(
    verdict: str,
    best: Mapping[str, Any] | None,
    left: Mapping[str, Any] | None,
    unexplained: float,
) -> dict[str, Any]:
    """What was done after a merge, and how little would have been seen; all null where
    no merge is called or no recipe gives enough back.
    """
    merged = verdict in ("merge", "merge_then_trained")
    found: dict[str, Any] = {
        "residual_share": best["residual_share"] if merged and best else None,
        "trained": None,
    }
    found |= dict.fromkeys(
        ("elements", "changed_share", "where", "rank", "rank_reason", "smallest_seen")
    )
    if not merged:
        return found
    found["trained"] = verdict == "merge_then_trained"
    if not left or not left["elements"]:
        return found
    share = left["changed"] / left["elements"]
    found |= {
        key: left[key] for key in ("elements", "where", "rank", "rank_reason")
    } | {"changed_share": share}
    return found | {
        "trained": found["trained"] or share > unexplained,
        "smallest_seen": smallest_seen(left, unexplained),
    }


def _layout(layout: Mapping[str, Any] | None) -> dict[str, Any]:
    """What was undone before anything was compared, what shows and was not, and what
    was looked for.
    """
    return {
        key: list(layout[key]) if layout else []
        for key in ("undone", "not_undone", "looked_for")
    }


def _recipe(recipe: Mapping[str, Any], layers: Mapping[int, int]) -> dict[str, Any]:
    best = recipe["best"]
    return {
        "method": best["method"],
        "parameters": best["parameters"],
        "dtype": best["dtype"],
        "out_dtype": recipe["out_dtype"],
        "bit_exact_rate": best["bit_exact_rate"],
        "informative_elements": recipe["informative_elements"],
        "mergekit_config": mergekit_config(
            from_json(best), recipe["out_dtype"], layers=layers
        ),
        "alternatives": recipe["alternatives"],
    }


def _mixed(mixture: Mapping[str, Any] | None, donor: str) -> dict[str, Any]:
    """A donor's part in the change when all donors share it and none takes less than
    nothing (see mixture.mixture).
    """
    found = (
        mixture["donors"][donor]
        if mixture
        else dict.fromkeys(("share", "ci95", "inflation"))
    )
    return {
        "share": found["share"],
        "share_ci95": found["ci95"],
        "inflation": found["inflation"],
    }


def _interval(
    decision: Decision, numbers: Mapping[str, Any], donor: str
) -> list[float] | None:
    """What confines a donor's share: the stored numbers where the verdict rests on
    them, exact for a copy, else the least-squares error.

    Of one donor the weights that the tensors' replay intervals share; of several the room that the others leave it. Both are widened to hold
    the recipe's own (fp32 sums shave them).
    """
    recipe = numbers["recipe"]
    entry = numbers["donors"][donor]
    alpha = decision.named.get(donor)
    if decision.verdict == "copy" and donor in decision.named:
        return [alpha, alpha]
    if decision.verdict in ("merge", "merge_then_trained") and donor in decision.named:
        several = ((numbers.get("remainder") or {}).get("share_intervals") or {}).get(
            donor
        )
        found = recipe["interval"] if len(decision.named) == 1 else several
        return (
            [min(found[0], alpha), max(found[1], alpha)]
            if found and all(map(isfinite, found))
            else None
        )
    if entry["alpha_ols"] is None or entry["alpha_se"] is None:
        return None
    return [
        entry["alpha_ols"] - 1.96 * entry["alpha_se"],
        entry["alpha_ols"] + 1.96 * entry["alpha_se"],
    ]


def _limits(
    summary: Mapping[str, Any],
    plan: Mapping[str, Any],
    scores: "pd.DataFrame | None",
    accused: bool,
) -> list[str]:
    """What the reader must know about the finding's reach, and why numbers are missing.
    accused: then the rule itself says what no control means.
    """
    suspect = summary["models"][summary["suspect"]]
    limits = []
    if plan["mode"] == "sample":
        limits.append(
            "Only the evidence sample was read: what lies outside it is inferred."
        )
        if found := summary.get("sampling"):
            limits.append(
                "What all elements would give for the share of one component in one"
                f" layer lies within {found['median']:.2g} of what the sample gives in"
                f" half of {found['groups']} such places, and within"
                f" {found['most']:.2g} in all (95 % intervals, precision.csv)."
            )
    if suspect["nonfinite"]:
        named = suspect["nonfinite_tensors"]
        more = f" and {len(named) - 3} more tensors" if len(named) > 3 else ""
        what = (
            f"are NaN or infinite in {summary['suspect']} or a parent, too large to be"
            " weights, or under a scale that is none, and were left out"
        )
        limits.append(
            f"{suspect['nonfinite']:,} elements of {', '.join(named[:3])}{more} {what}."
        )
    if len(summary["models"]) == 1 and not accused:
        limits.append(
            "No control was given: how near to these limits an innocent sibling of"
            " these models comes was not measured."
        )
    if suspect["recipe"]["best"] is None:
        limits.append(
            "No recipe: no element confines a blend weight (the deltas are zero or"
            " below the number lattice)."
        )
    if scores is None:
        limits.append(
            "The probe is switched off: nobody asked the models who they are."
        )
    elif scores["reason"].notna().any():
        limits += sorted(
            {
                f"Probe, {row.model} {row.condition}: {row.reason}"
                for row in scores[scores["reason"].notna()].itertuples()
            }
        )
    return limits


def _adapters(
    suspect: str, compared: Mapping[str, Mapping[str, Any]] | None
) -> list[str]:
    """That a model was compared without the adapters that its files hold beside it."""
    entries = (compared or {}).get(suspect, {}).get("not_compared", ())
    return [
        f"{suspect}, {entry['tensors']} tensors: {entry['reason']}."
        for entry in entries
        if entry["reason"] == ADAPTER
    ]


def _probe(scores: "pd.DataFrame") -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for row in scores.itertuples():
        known = isfinite(row.ci95_low)
        cell = {
            "hits": int(row.hits),
            "n": int(row.n),
            "ci95": [row.ci95_low, row.ci95_high] if known else None,
        }
        tree.setdefault(row.model, {}).setdefault(row.condition, {})[row.identity] = (
            cell
        )
    return tree
