"""When a finding fails a run: for publishers who audit a release before others do."""

from collections.abc import Callable, Mapping, Sequence

from mergetrace.finding.case import ACCUSING
from mergetrace.finding.lineage import undeclared
from mergetrace.finding.wording_headline import headline
from mergetrace.readable import listing
from mergetrace.records.manifest import Manifests
from mergetrace.records.verdict import Verdict


def failures(
    verdict: Verdict, manifests: Manifests, fail_on: Sequence[str]
) -> list[str]:
    """Why the run fails, a sentence for each of the grounds in `fail_on` (some of
    GROUNDS) that the finding meets; empty where it passes.
    """
    texts = {ground: _CHECKS[ground](verdict, manifests) for ground in fail_on}
    return [f"{ground}: {text}" for ground, text in texts.items() if text]


def _undeclared_parent(verdict: Verdict, manifests: Manifests) -> str:
    missing = undeclared(verdict, manifests)
    if not missing:
        return ""
    return (
        f"{headline(verdict).sentence} Neither the card's base_model nor a merge's"
        f" configuration beside it lists {listing(missing, word='or')}; the report has"
        " the lines that would."
    )


def _accusation(verdict: Verdict, _: Manifests) -> str:
    return headline(verdict).sentence if verdict.verdict in ACCUSING else ""


def _inconclusive(verdict: Verdict, _: Manifests) -> str:
    return headline(verdict).sentence if verdict.verdict == "inconclusive" else ""


_CHECKS: Mapping[str, Callable[[Verdict, Manifests], str]] = {
    "undeclared_parent": _undeclared_parent,
    "accusation": _accusation,
    "inconclusive": _inconclusive,
}

GROUNDS = tuple(_CHECKS)
"""What a configuration may name in verdict.fail_on."""
