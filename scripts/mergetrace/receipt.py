"""verdict.json: the finding in the shape that outsiders rely on."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pandas as pd

from mergetrace import __version__
from mergetrace.mergekit_yaml import mergekit_config
from mergetrace.recipes import from_json
from mergetrace.verdict import Case, Decision, decide

PACKAGES = ("numpy", "pandas", "safetensors", "scipy", "snakemake", "torch", "transformers")


def compose(
    audit: str,
    summary: Mapping[str, Any],
    plan: Mapping[str, Any],
    manifests: Mapping[str, Mapping[str, Any]],
    scores: pd.DataFrame | None,
    thresholds: Mapping[str, float],
) -> dict[str, Any]:
    """Judge the suspect and every control by the same rules and state the finding.

    summary, plan: summary.json and plan.json; manifests: by model; scores: scores.csv or None where the probe is off.
    """
    suspect, models = summary["suspect"], summary["models"]
    findings = {}
    for model, numbers in models.items():
        # A control is judged beside the other controls; the suspect is no sibling of theirs to be measured against.
        others = {name: other for name, other in models.items() if name not in (model, suspect)}
        decision = decide(Case(model, summary["base"], numbers, others, thresholds))
        findings[model] = _finding(decision, numbers, summary["base"])
    finding = findings.pop(suspect)
    finding["reasons"] += [*_limits(summary, plan, scores), *(note for manifest in manifests.values() for note in manifest["notes"])]
    declared = manifests[suspect]["declared"]
    return {
        "audit": audit,
        "suspect": suspect,
        **finding,
        "controls": findings,
        "probe": None if scores is None else _probe(scores),
        "read": {
            "mode": plan["mode"],
            "bytes": plan["cost"]["full_bytes" if plan["mode"] == "full" else "sample_bytes"],
            "elements": models[suspect]["elements_read"],
            "full_hash_verified": False,
        },
        "declared": declared,
        "versions": {"mergetrace": __version__, **{package: version(package) for package in PACKAGES}},
    }


def _finding(decision: Decision, numbers: Mapping[str, Any], base: str) -> dict[str, Any]:
    recipe = numbers["recipe"]
    exact = decision.verdict == "merge"
    parents = {}
    for donor, entry in numbers["donors"].items():
        replayed = exact and donor == recipe["donor"]
        alpha = (
            recipe["best"]["parameters"]["alpha"]
            if replayed
            else 1.0
            if decision.verdict == "copy" and donor in decision.named
            else entry["alpha_ols"]
        )
        parents[donor] = {
            "named": donor in decision.named,
            "alpha": alpha,
            "alpha_ci95": _replay_interval(recipe) if replayed else _interval(entry),
            "alpha_ols": entry["alpha_ols"],
            "cos_fit": entry["cos"],
        }
    return {
        "verdict": decision.verdict,
        "reasons": list(decision.reasons),
        "parents": parents,
        "base": {"name": base, "share": decision.base_share},
        "recipe": _recipe(recipe, base) if exact else None,
        "after_merge": {"residual_share": recipe["best"]["residual_share"] if exact else None, "trained": False if exact else None},
    }


def _recipe(recipe: Mapping[str, Any], base: str) -> dict[str, Any]:
    best = recipe["best"]
    return {
        "method": best["method"],
        "parameters": best["parameters"],
        "dtype": best["dtype"],
        "out_dtype": recipe["out_dtype"],
        "bit_exact_rate": best["bit_exact_rate"],
        "informative_elements": recipe["informative_elements"],
        "mergekit_config": mergekit_config(from_json(best), recipe["out_dtype"]),
        "alternatives": recipe["alternatives"],
    }


def _replay_interval(recipe: Mapping[str, Any]) -> list[float]:
    """The weights that the tensors' replay intervals share, widened to hold the recipe's own (fp32 sums shave them)."""
    alpha = recipe["best"]["parameters"]["alpha"]
    return [min(recipe["interval"][0], alpha), max(recipe["interval"][1], alpha)]


def _interval(entry: Mapping[str, Any]) -> list[float] | None:
    if entry["alpha_ols"] is None or entry["alpha_se"] is None:
        return None
    return [entry["alpha_ols"] - 1.96 * entry["alpha_se"], entry["alpha_ols"] + 1.96 * entry["alpha_se"]]


def _limits(summary: Mapping[str, Any], plan: Mapping[str, Any], scores: pd.DataFrame | None) -> list[str]:
    """What the reader must know about the finding's reach, and why numbers are missing."""
    suspect = summary["models"][summary["suspect"]]
    limits = []
    if plan["mode"] == "sample":
        limits.append("Only the evidence sample was read: what lies outside it is inferred.")
    if suspect["nonfinite"]:
        limits.append(f"{suspect['nonfinite']:,} elements are NaN or infinite in some model and were left out.")
    if len(summary["bases"]) > 1:
        limits.append(f"Of the base candidates {', '.join(summary['bases'])}, {summary['base']} fits.")
    if suspect["recipe"]["best"] is None:
        limits.append("No recipe: no element confines a blend weight (the deltas are zero or below the number lattice).")
    if scores is None:
        limits.append("The probe is switched off: nobody asked the models who they are.")
    elif scores["reason"].notna().any():
        limits += sorted({f"Probe, {row.model} {row.condition}: {row.reason}" for row in scores[scores["reason"].notna()].itertuples()})
    return limits


def _probe(scores: pd.DataFrame) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for row in scores.itertuples():
        known = pd.notna(row.ci95_low)
        cell = {"hits": int(row.hits), "n": int(row.n), "ci95": [row.ci95_low, row.ci95_high] if known else None}
        tree.setdefault(row.model, {}).setdefault(row.condition, {})[row.identity] = cell
    return tree
