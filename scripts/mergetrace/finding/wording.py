"""What a page or the terminal says beside the verdict: the parents, their order, the
controls, what was compared, and what the finding does not say.
"""

from mergetrace.finding.case import ACCUSING
from mergetrace.planning import unread
from mergetrace.readable import count, interval, known, listing, percent, plural
from mergetrace.records.verdict import OrderFacts, Verdict

CONDITION_WORDS = {
    "shipped": "as shipped",
    "stripped": "without the text its template adds",
    "neutral": "after a neutral system message",
    "adversarial": "told that it is somebody else",
}
"""How each condition of the probe is called."""

DATE_SOURCES = {
    "hub": "the dates of the Hub",
    "stated": "dates that the auditor stated",
}


def condition_words(condition: str) -> str:
    """How a condition of the probe is called."""
    return CONDITION_WORDS.get(condition, condition)


def parent(verdict: Verdict, donor: str) -> str:
    """One donor's share with its interval, or why there is none."""
    entry = verdict.parents[donor]
    if not known(entry.alpha):
        return f"{donor}: no single share"
    ends = interval(entry.alpha_ci95, "no interval")
    return f"{donor} {percent(entry.alpha)} ({ends})"


def controls(verdict: Verdict) -> str:
    """What the same rules say of the controls."""
    judged = {name: entry.verdict for name, entry in verdict.controls.items()}
    if not judged:
        return "No independent control was given: nobody innocent was judged beside it."
    accused = [name for name, kind in judged.items() if kind in ACCUSING]
    if accused:
        return (
            f"Caution: the same rules also accuse {listing(accused)}, offered as"
            " innocent. Trust neither finding before that is explained."
        )
    outcomes = [f"{name} ({kind.replace('_', ' ')})" for name, kind in judged.items()]
    who = "The control, judged by the same rules, is not accused"
    if len(judged) > 1:
        who = f"None of {len(judged)} controls, judged by the same rules, is accused"
    return f"{who}: {listing(outcomes)}.{_siblings(verdict)}"


def _siblings(verdict: Verdict) -> str:
    """How many controls are siblings by what was measured, and no stranger's."""
    kinds = [entry.verdict for entry in verdict.controls.values()]
    found = kinds.count("finetune_of_base")
    if found < 2:
        return ""
    return (
        f" {found} of them are siblings, finetunes of {verdict.base.name} by what was"
        " measured."
    )


def order(verdict: Verdict) -> str:
    """Which came first, the suspect or the parents that are named, what says so, and
    what would establish it; empty where nobody is named.
    """
    about = verdict.named
    if not about and verdict.verdict == "copy":
        about = [verdict.base.name]
    facts = {model: verdict.order[model] for model in about if model in verdict.order}
    dated = {model: entry for model, entry in facts.items() if _by_date(entry)}
    undated = {model: entry for model, entry in facts.items() if model not in dated}
    sentences = []
    if dated:
        sources = {DATE_SOURCES[entry.by or ""]: None for entry in dated.values()}
        sentences.append(
            f"{listing(dated)} came before {verdict.suspect}, by {listing(sources)}."
        )
    if undated:
        rests = "Equal weights do not say it"
        if any(entry.by for entry in undated.values()):
            rests = "It rests on the weights alone"
        sentences.append(
            f"That {listing(undated)} came before {verdict.suspect} is not established."
            f" {rests}; the dates of first publication would establish it, the Hub's or"
            " stated by the auditor."
        )
    return " ".join(sentences)


def compared(verdict: Verdict) -> list[str]:
    """How much of the suspect was compared, and of those parents of which not all was,
    in sentences; empty where it is not known.
    """
    coverage = verdict.compared.get(verdict.suspect)
    if coverage is None:
        return []
    verb = "were compared"
    if verdict.read.mode != "full":
        verb = "lie in tensors of which a sample was compared"
    sentences = [unread.said(verdict.suspect, coverage, verb)]
    in_part = [
        f"{unread.share_of(entry)} of {model}'s {unread.amount(entry.parameters)}"
        for model, entry in verdict.compared.items()
        if model != verdict.suspect and not entry.whole
    ]
    if in_part:
        sentences.append(f"Of the parents: {listing(in_part)}.")
    return sentences


def compared_share(verdict: Verdict) -> str:
    """The share of the suspect's parameters that was compared."""
    coverage = verdict.compared.get(verdict.suspect)
    return unread.share_of(coverage) if coverage else "not known"


def limits(verdict: Verdict, not_compared: int, offered_elements: int) -> list[str]:
    """What the finding does not say, in sentences.

    not_compared: tensors that found no counterpart. offered_elements: elements that all
    models share.
    """
    sentences = [*compared(verdict), _read(verdict, offered_elements)]
    if not_compared:
        sentences.append(
            f"{plural(not_compared, 'tensor')} could not be compared and are listed"
            " below."
        )
    if verdict.verdict in ACCUSING:
        sentences.append(
            "The verdict says how the weights came about, not who made them, when, or"
            " with what right."
        )
    if verdict.probe:
        sentences.append(
            "What the models call themselves is shown below and decided nothing."
        )
    return sentences


def names_said(verdict: Verdict) -> str:
    """Which name the suspect gives most often, under each condition; empty where nobody
    asked.
    """
    names = []
    for condition, counts in (verdict.probe or {}).get(verdict.suspect, {}).items():
        asked = {name: cell for name, cell in counts.items() if cell.n}
        if not asked:
            continue
        first = max(asked, key=lambda name: asked[name].hits)
        cell = asked[first]
        names.append(
            f"{first} {condition_words(condition)} ({cell.hits} of {cell.n} answers)"
        )
    if not names:
        return ""
    return (
        f"Asked who it is, {verdict.suspect} most often gives the name"
        f" {listing(names)}."
    )


def _by_date(facts: OrderFacts) -> bool:
    """Whether dates say that the parent came first."""
    return bool(facts.before) and facts.by in DATE_SOURCES


def _read(verdict: Verdict, offered_elements: int) -> str:
    """How many numbers were read."""
    read = verdict.read
    if read.mode != "sample":
        return f"All {count(read.elements)} numbers of what was compared were read."
    part = "a part"
    if offered_elements:
        part = percent(read.elements / offered_elements)
    return (
        f"A sample was read, {count(read.elements)} numbers or {part} of what could be"
        " compared; the rest is inferred."
    )
