"""The verdict in words that somebody follows who has never merged a model. Used by the
report and in the terminal.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mergetrace.finding.case import ACCUSING
from mergetrace.finding.cells import THROUGH_CELLS
from mergetrace.finding.wording_alone import headline_words
from mergetrace.finding.wording_shares import are_changes, are_parts, changes_added
from mergetrace.readable import known, listing, percent, rate
from mergetrace.records.verdict import Judgement, Verdict

LABELS = {
    "copy": "a copy",
    "merge": "a merge",
    "other_merge": "another merge",
    "merge_then_trained": "a merge, changed since",
    "finetune_of_donor": "a finetune of a donor",
    "finetune_of_base": "a finetune of the base",
    "unrelated": "unrelated",
    "inconclusive": "we cannot tell",
}
"""What a page calls each verdict."""


@dataclass(frozen=True)
class Headline:
    """What a page says first."""

    label: str
    """The verdict's short label."""
    sentence: str
    """The verdict in one sentence."""
    explanation: str
    """One or two sentences that explain it."""
    tone: str
    """Whether it accuses: `found`, `clear` or `open`."""


def headline(verdict: Verdict) -> Headline:
    """The plain words for a finding."""
    kind = verdict.verdict
    sentence, explanation = _WORDS.get(kind, _other)(verdict)
    label = LABELS.get(kind, kind.replace("_", " "))
    if kind == "finetune_of_base" and not verdict.parents:
        label = "the base's origin"
    if kind == "merge_then_trained" and verdict.evidence == "strong":
        label = "a merge, and more than that"
    return Headline(label, sentence, explanation, _tone(kind))


def parts(verdict: Judgement) -> list[tuple[str, float]]:
    """(model, share) of the named donors and the base, largest donor first; empty where
    they are no shares of a whole.
    """
    shares = _known_shares(verdict)
    return list(shares.items()) if shares and are_parts(shares.values()) else []


def task_vectors(verdict: Judgement) -> str:
    """The base and what was added to it of each named donor's change, or taken away;
    empty where shares are parts of a whole, or no single numbers.
    """
    shares = _known_shares(verdict)
    if not shares or not are_changes(shares.values()):
        return ""
    donors = {model: shares[model] for model in verdict.named}
    base = verdict.base.name
    return changes_added(base, shares[base], donors)


def _known_shares(verdict: Judgement) -> dict[str, float]:
    """By named donor, the largest first, and of the base the share; empty where one is
    not known.
    """
    donors = [(donor, verdict.parents[donor].alpha) for donor in verdict.named]
    donors.sort(key=lambda part: -(part[1] or 0))
    shares = {
        model: share
        for model, share in [*donors, (verdict.base.name, verdict.base.share)]
        if share is not None and known(share)
    }
    return shares if donors and len(shares) == len(donors) + 1 else {}


def _tone(kind: str) -> str:
    if kind in ACCUSING:
        return "found"
    return "open" if kind == "inconclusive" else "clear"


def _copy(verdict: Verdict) -> tuple[str, str]:
    suspect = verdict.suspect
    source = listing(verdict.named, verdict.base.name)
    sampled = "" if verdict.read.mode == "full" else " That rests on a sample."
    sampled = _merged_adapters(verdict, [source, suspect]) + sampled
    if verdict.family == "requantised":
        return (
            f"{suspect} is {source}, quantised.",
            f"Every number of {source} that was compared lies in the cell of the one"
            f" that {suspect} stores, as if it had been quantised anew; what was changed"
            f" by less than a cell cannot be seen.{sampled}",
        )
    if verdict.family == "recast":
        return (
            f"{suspect} is {source}, recast to another number format.",
            f"Every number that was compared is the one in {source}, rounded once to"
            f" the format in which {suspect} is stored.{sampled}",
        )
    equal = f"Every number that was compared is the same in both.{sampled}"
    if _unordered(verdict):
        return (
            f"{suspect} and {source} are copies of one another.",
            f"{equal} Which of them was first is not known.",
        )
    return f"{suspect} is a copy of {source}.", equal


def _merged_adapters(verdict: Verdict, models: Iterable[str]) -> str:
    """What those of the models are that are adapters merged into others."""
    return "".join(
        f" {model} is {verdict.adapters[model]} with an adapter merged into it."
        for model in models
        if model in verdict.adapters
    )


def _unordered(verdict: Verdict) -> bool:
    """Whether a donor is named of which nobody knows that it came first."""
    if not verdict.order:
        return False
    known_of = [verdict.order.get(donor) for donor in verdict.named]
    return any(facts is None or facts.before is None for facts in known_of)


def _merge(verdict: Verdict) -> tuple[str, str]:
    # Of a blend of two finetunes the base is no part, though it was offered.
    shares = [
        f"{percent(share)} {model}"
        for model, share in parts(verdict)
        if round(share, 3) != 0
    ]
    of = listing(shares) if shares else _parents(verdict)
    proof = "The recipe below gives its weights back bit for bit."
    exact = verdict.recipe.bit_exact_rate if verdict.recipe else None
    if exact is not None and known(exact) and exact < 1:
        proof = (
            f"The recipe below gives {rate(exact)} of the weights that can tell recipes"
            " apart back bit for bit."
        )
    if verdict.evidence == THROUGH_CELLS:
        share = rate(exact) if exact is not None and known(exact) else "most"
        proof = (
            f"It is stored in few bits. Of the numbers that can tell recipes apart"
            f" through that, the recipe below puts {share} where they have to lie."
        )
    vectors = task_vectors(verdict)
    return (
        f"{verdict.suspect} is {vectors or f'a blend: {of}'}.",
        f"{proof} No model that was trained on its own comes out like that, unless"
        " these were made from it.",
    )


def _other_merge(verdict: Verdict) -> tuple[str, str]:
    return (
        f"{verdict.suspect} is put together from {_parents(verdict)}.",
        _HOW_PUT_TOGETHER.get(verdict.family or "", _AT_RANDOM),
    )


def _merge_then_trained(verdict: Verdict) -> tuple[str, str]:
    if verdict.evidence == "strong":
        return (
            f"{verdict.suspect} is very probably a blend of {verdict.base.name} with"
            f" {_with_shares(verdict)}, and more than that.",
            "It was trained since, or somebody else is in it too. That is"
            " strong evidence, not exact: no number is equal any more, but the fine"
            " grain of the donor's change is there with one weight everywhere. A near"
            " relative of the donor, such as another checkpoint of its run, may have been"
            " blended in its place; what else is left open stands below.",
        )
    left = verdict.after_merge.residual_share
    explanation = (
        "The traces of the blend are still there, with changes on top that rounding"
        " does not explain. Training leaves such changes, and so do edits of the finished"
        " weights."
    )
    if known(left):
        explanation += (
            f" They make up {percent(left)} of the difference to {verdict.base.name}."
        )
    near = [verdict.parents[donor].not_told_within for donor in verdict.named]
    distances = [part for part in near if part is not None]
    if distances:
        explanation += (
            " A near relative of the donor, no further from it than"
            f" {percent(max(distances))} of its change, would look the same."
        )
    return (
        f"{verdict.suspect} began as a blend of {_parents(verdict)} and was changed"
        " since.",
        explanation,
    )


def _with_shares(verdict: Verdict) -> str:
    """The donors, with their shares where these are stated."""
    shares = {donor: verdict.parents[donor].alpha for donor in verdict.named}
    return listing(
        donor if share is None else f"{percent(share)} {donor}"
        for donor, share in shares.items()
    )


def _finetune_of_donor(verdict: Verdict) -> tuple[str, str]:
    donor = listing(verdict.named, "an offered donor")
    return (
        f"{verdict.suspect} was made by training {donor} further.",
        f"Exact values of {donor} persist in it. Of {verdict.base.name} it holds nothing"
        f" beyond what {donor} already holds.",
    )


def _finetune_of_base(verdict: Verdict) -> tuple[str, str]:
    if not verdict.parents:
        return headline_words(verdict)
    donors = listing(verdict.parents, word="or")
    limits = [
        f"{percent(entry.at_most)} of {donor}"
        for donor, entry in verdict.parents.items()
        if entry.at_most is not None
    ]
    explanation = (
        "Its changes do not follow those of any other model that was offered for"
        " comparison."
    )
    if verdict.evidence == "strong":
        explanation = (
            "Its changes point the way a donor's do, as training on the same task makes"
            " them, but the donor's fine grain is not in them."
        )
    if limits and len(limits) == len(verdict.parents):
        explanation += f" It holds at most {listing(limits)} (95 %)."
    return (
        f"{verdict.suspect} was made from {verdict.base.name}, and nothing in its"
        f" weights points to {donors}.",
        explanation,
    )


def _unrelated(verdict: Verdict) -> tuple[str, str]:
    offered = listing([verdict.base.name, *verdict.parents], word="or")
    theirs = "theirs" if verdict.parents else "its weights"
    return (
        f"{verdict.suspect} does not descend from {offered}.",
        f"Its weights share no origin with {theirs}, and nothing suggests a disguise.",
    )


def _inconclusive(verdict: Verdict) -> tuple[str, str]:
    offered = listing(verdict.parents, word="or")
    question = f"We cannot tell whether {verdict.suspect} contains {offered}"
    if not verdict.parents:
        question = f"We cannot tell whether {verdict.suspect} comes from"
        question += f" {verdict.base.name}"
    if verdict.family == "unread":
        return (
            f"{question}: too little of it was compared.",
            "What was not read may be anything. This is no accusation and no acquittal;"
            " the reasons below say what would make it readable.",
        )
    return (
        f"{question}.",
        "What was measured fits more than one explanation, innocent ones among them."
        " This is no accusation; the reasons below say what would settle it.",
    )


def _other(verdict: Verdict) -> tuple[str, str]:
    return f"{verdict.suspect}: {verdict.verdict.replace('_', ' ')}.", ""


def _parents(verdict: Verdict) -> str:
    return listing([*verdict.named, verdict.base.name])


_AT_RANDOM = (
    "The method picks or drops single numbers, partly by chance, so it cannot be"
    " repeated exactly and there is no one percentage; but which numbers come from whom"
    " shows how it was done."
)
_HOW_PUT_TOGETHER = {
    "blend": (
        "Its numbers follow from theirs but for rounding. The exact arithmetic of the"
        " blend was not identified, so it cannot be repeated to the last bit."
    ),
    "passthrough": "Whole parts of it are taken unchanged, some from each.",
    "selection": (
        "Nearly every number is one of theirs, unchanged. By what rule each was chosen"
        " is not known, so it cannot be repeated exactly."
    ),
}
"""How a merge that no recipe repeats was put together, by family; of the others numbers
were dropped.
"""
_WORDS: Mapping[str, Callable[[Verdict], tuple[str, str]]] = {
    "copy": _copy,
    "merge": _merge,
    "other_merge": _other_merge,
    "merge_then_trained": _merge_then_trained,
    "finetune_of_donor": _finetune_of_donor,
    "finetune_of_base": _finetune_of_base,
    "unrelated": _unrelated,
    "inconclusive": _inconclusive,
}
