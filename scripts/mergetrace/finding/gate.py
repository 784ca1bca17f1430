"""When a finding fails a run: for publishers who audit a release before others do."""

from collections.abc import Mapping
from typing import Any

from mergetrace.finding.lineage import Manifests, undeclared
from mergetrace.finding.wording import ACCUSING, finding
from mergetrace.readable import listing

GROUNDS = ("undeclared_parent", "accusation", "inconclusive")


def failures(
    verdict: Mapping[str, Any], manifests: Manifests, fail_on: list[str]
) -> list[str]:
    """Why the run fails, a sentence for each of the grounds in `fail_on` (some of
    GROUNDS) that the finding meets; empty where it passes.
    """
    found = {
        "undeclared_parent": _undeclared(verdict, manifests),
        "accusation": (
            finding(verdict).sentence if verdict["verdict"] in ACCUSING else ""
        ),
        "inconclusive": (
            finding(verdict).sentence if verdict["verdict"] == "inconclusive" else ""
        ),
    }
    return [f"{ground}: {found[ground]}" for ground in fail_on if found[ground]]


def _undeclared(verdict: Mapping[str, Any], manifests: Manifests) -> str:
    missing = undeclared(verdict, manifests)
    if not missing:
        return ""
    return (
        f"{finding(verdict).sentence} The card's base_model does not list"
        f" {listing(missing, word='or')}; the report has the lines that would."
    )
