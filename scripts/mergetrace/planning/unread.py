"""How much of a model was compared, in words, and what would make the rest readable.
See coverage for the numbers.
"""

import re
from collections.abc import Mapping
from typing import Any

from mergetrace.readable import count, listing, plural, rate, visible

Coverage = Mapping[str, Any]

MOST_REASONS = 3
MOST_PARTS = 3
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
    return rate(coverage["share"])


def whole(coverage: Coverage) -> bool:
    """Whether every weight was compared, and there is one."""
    return coverage["compared"] == coverage["parameters"] > 0


def said(model: str, coverage: Coverage, verb: str = "were compared") -> str:
    """One sentence: the share, of how many parameters, and the largest parts that are
    missing with their reasons.
    """
    if not coverage["parameters"]:
        return f"{model} holds no weights that could be compared."
    of = f"{model}'s {amount(coverage['parameters'])} parameters"
    if whole(coverage):
        return f"All of {of} {verb}."
    return f"{share_of(coverage)} of {of} {verb}; not: {missing(coverage)}."


def missing(coverage: Coverage) -> str:
    """What was not compared: by reason its parts and how large they are."""
    entries = coverage["not_compared"]
    told = [
        f"{parts(entry)} {amount(entry['parameters'])}"
        f" ({visible(entry['reason'], 200)})"
        for entry in entries[:MOST_REASONS]
    ]
    further = len(entries) - MOST_REASONS
    return "; ".join(
        [*told, *([f"{plural(further, 'further reason')}"] if further > 0 else [])]
    )


def beside(coverage: Coverage) -> list[str]:
    """What the file holds and loaders do not use, or use in the place of what was
    compared, one sentence for each reason.
    """
    said = []
    for entry in coverage.get("beside", []):
        further = entry["tensors"] - len(entry["names"])
        names = [
            *(visible(name, 100) for name in entry["names"]),
            *([f"{further:,} more"] if further > 0 else []),
        ]
        said.append(
            f"Not judged: {listing(names)}, {amount(entry['parameters'])} parameters"
            f" ({visible(entry['reason'], 300)})."
        )
    return said


def parts(entry: Mapping[str, Any]) -> str:
    """The components of an entry in words, the largest first."""
    names = [NAMES.get(name, name.replace("_", " ")) for name in entry["components"]]
    further = len(names) - MOST_PARTS
    return listing([*names[:MOST_PARTS], *([f"{further} more"] if further > 0 else [])])


def remedies(model: str, coverage: Coverage) -> list[str]:
    """What would make readable what was not read, one sentence per kind of reason, the
    largest first.
    """
    found: dict[str, None] = {}
    for entry in coverage["not_compared"]:
        for pattern, remedy in REMEDIES:
            if match := re.search(pattern, entry["reason"]):
                found[
                    remedy.format(
                        model=model,
                        found=visible(match[1], 100) if match.groups() else "",
                    )
                ] = None
                break
    return list(found)


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
