"""How much of a model was compared, in words, and what would make the rest readable.
See coverage for the numbers.
"""

import re

from mergetrace.readable import count, listing, plural, rate, visible
from mergetrace.records.coverage import Coverage, NotCompared

MOST_REASONS_SAID = 3
MOST_NAMES_SAID = 3
NAMES = {
    "vision": "vision tower",
    "mtp": "multi-token prediction",
    "lm_head": "head",
    "norm": "norms",
    "embedding": "embedding",
    "routed_experts": "routed experts",
    "other": "other parts",
}


def amount(parameters: float) -> str:
    """A number of parameters in the unit that suits it: `397 B`, `0.41 B` would be `410
    M`, `65,536`.
    """
    for unit, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if parameters >= factor:
            return f"{parameters / factor:.3g}\u00a0{unit}"
    return count(parameters)


def share_of(coverage: Coverage) -> str:
    """The share of the parameters that was compared; never rounded up to all."""
    return rate(coverage.share)


def said(model: str, coverage: Coverage, verb: str = "were compared") -> str:
    """One sentence: the share, of how many parameters, and the largest parts that are
    missing with their reasons.
    """
    if not coverage.parameters:
        return f"{model} holds no weights that could be compared."
    of = f"{model}'s {amount(coverage.parameters)} parameters"
    if coverage.whole:
        return f"All of {of} {verb}."
    return f"{share_of(coverage)} of {of} {verb}; not: {missing(coverage)}."


def missing(coverage: Coverage) -> str:
    """What was not compared: by reason its parts and how large they are."""
    entries = coverage.not_compared
    reasons = [
        f"{parts(entry)} {amount(entry.parameters)} ({visible(entry.reason, 200)})"
        for entry in entries[:MOST_REASONS_SAID]
    ]
    further = len(entries) - MOST_REASONS_SAID
    if further > 0:
        reasons.append(plural(further, "further reason"))
    return "; ".join(reasons)


def beside(coverage: Coverage) -> list[str]:
    """What the file holds and loaders do not use, or use in the place of what was
    compared, one sentence for each reason.
    """
    sentences = []
    for entry in coverage.beside:
        names = [visible(name, 100) for name in entry.names]
        further = entry.tensors - len(entry.names)
        if further > 0:
            names.append(f"{further:,} more")
        sentences.append(
            f"Not judged: {listing(names)}, {amount(entry.parameters)} parameters"
            f" ({visible(entry.reason, 300)})."
        )
    return sentences


def parts(entry: NotCompared) -> str:
    """The components of an entry in words, the largest first."""
    names = [NAMES.get(name, name.replace("_", " ")) for name in entry.components]
    further = len(names) - MOST_NAMES_SAID
    if further > 0:
        names = [*names[:MOST_NAMES_SAID], f"{further} more"]
    return listing(names)


def remedies(model: str, coverage: Coverage) -> list[str]:
    """What would make readable what was not read, one sentence per kind of reason, the
    largest first.
    """
    sentences = [_remedy(model, entry) for entry in coverage.not_compared]
    return list(dict.fromkeys(text for text in sentences if text))


def _remedy(model: str, entry: NotCompared) -> str:
    """What would make these tensors readable; empty where nothing is known to."""
    for pattern, remedy in REMEDIES:
        match = re.search(pattern, entry.reason)
        if match:
            other = visible(match[1], 100) if match.groups() else ""
            return remedy.format(model=model, found=other)
    return ""


REMEDIES = (
    (
        r"^not read in (\S+): (?:packed|dtype [IUF]\d)",
        "Offer the 16-bit original that {found} was packed from, if there is one.",
    ),
    (
        r"^not read in (\S+): .*\bscales?\b",
        "A copy of {found} in 16 bits would do without these scales.",
    ),
    (
        r"^packed|^goes with weights packed|^dtype [IUF]\d",
        "Audit the 16-bit original that {model} was packed from, if there is one.",
    ),
    (r"\bscales?\b", "A copy of {model} in 16 bits would do without these scales."),
    (
        r"^not in (.+)$",
        "Offer parents that hold these tensors; they are not in {found}.",
    ),
    (
        r"^another shape than in (.+)$",
        "Offer parents of the same shape; {found}'s is another one.",
    ),
    (r"^rows beyond", "Offer parents whose vocabulary is as long."),
    (r"^no counterpart", "Offer parents that hold these tensors in the same shape."),
)
"""A pattern of the reason, and what helps."""
