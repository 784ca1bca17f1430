"""The verdict in words that somebody follows who has never merged a model. Used by the
report and in the terminal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mergetrace.planning import unread
from mergetrace.readable import count, interval, known, listing, percent, plural, rate

Verdict = Mapping[str, Any]

ACCUSING = ("copy", "merge", "other_merge", "merge_then_trained", "finetune_of_donor")
LABELS = {
    "copy": "a copy",
    "merge": "a merge",
    "other_merge": "a merge by selection",
    "merge_then_trained": "a merge, trained further",
    "finetune_of_donor": "a finetune of a donor",
    "finetune_of_base": "a finetune of the base",
    "unrelated": "unrelated",
    "inconclusive": "we cannot tell",
}
# of the greatest possible rank; adapters usually have 4 to 64 of some thousands
LOW_RANK = 0.25
MOST_PLACES = 6
CONDITIONS = {
    "shipped": "as shipped",
    "stripped": "without the text its template adds",
    "neutral": "after a neutral system message",
    "adversarial": "told that it is somebody else",
}


@dataclass(frozen=True)
class Finding:
    """What a page says first: the verdict's short label, one sentence, one or two that
    explain it, and whether it accuses (found, clear, open).
    """

    label: str
    sentence: str
    explanation: str
    tone: str


def finding(verdict: Verdict) -> Finding:
    """The plain words for verdict.json."""
    kind = verdict["verdict"]
    sentence, explanation = _WORDS.get(kind, _other)(verdict)
    tone = (
        "found" if kind in ACCUSING else "open" if kind == "inconclusive" else "clear"
    )
    return Finding(
        LABELS.get(kind, kind.replace("_", " ")), sentence, explanation, tone
    )


def named(verdict: Verdict) -> list[str]:
    """The donors that the verdict names, in the order they were offered."""
    return [donor for donor, entry in verdict["parents"].items() if entry["named"]]


def shares(verdict: Verdict) -> list[tuple[str, float]]:
    """(model, share) of the named donors and the base, largest donor first; empty where
    they are no shares of a whole.
    """
    donors = [(donor, verdict["parents"][donor]["alpha"]) for donor in named(verdict)]
    parts = [
        *sorted(donors, key=lambda part: -(part[1] or 0)),
        (verdict["base"]["name"], verdict["base"]["share"]),
    ]
    whole = all(known(share) and share >= 0 for _, share in parts)
    return (
        parts
        if donors and whole and abs(sum(share for _, share in parts) - 1) < 0.005
        else []
    )


def controls(verdict: Verdict) -> str:
    """What the same rules say of the controls."""
    judged = {name: entry["verdict"] for name, entry in verdict["controls"].items()}
    if not judged:
        return "No control was given: nobody innocent was judged beside it."
    accused = [name for name, kind in judged.items() if kind in ACCUSING]
    if accused:
        return (
            f"Caution: the same rules also accuse {listing(accused)}, offered as"
            " innocent. Trust neither finding before that is explained."
        )
    outcomes = listing(
        [f"{name} ({kind.replace('_', ' ')})" for name, kind in judged.items()]
    )
    who = (
        "The control, judged by the same rules, is not accused"
        if len(judged) == 1
        else f"None of {len(judged)} controls, judged by the same rules, is accused"
    )
    return f"{who}: {outcomes}."


def order(verdict: Verdict) -> str:
    """Which came first, the suspect or the parents that are named, what says so, and
    what would establish it; empty where nobody is named.
    """
    found = verdict.get("order") or {}
    suspect = verdict["suspect"]
    who = named(verdict) or (
        [verdict["base"]["name"]] if verdict["verdict"] == "copy" else []
    )
    dated = [
        parent
        for parent in who
        if parent in found
        and found[parent]["before"]
        and found[parent]["by"] != "reverse replay"
    ]
    undated = [parent for parent in who if parent in found and parent not in dated]
    said = []
    if dated:
        sources = {
            "hub": "the dates of the Hub",
            "stated": "dates that the auditor stated",
        }
        by = listing(dict.fromkeys(sources[found[parent]["by"]] for parent in dated))
        said.append(f"{listing(dated)} came before {suspect}, by {by}.")
    if undated:
        rests = (
            "It rests on the weights alone"
            if any(found[parent]["by"] for parent in undated)
            else "Equal weights do not say it"
        )
        settle = (
            "the dates of first publication would establish it, the Hub's or stated by"
            " the auditor"
        )
        said.append(
            f"That {listing(undated)} came before {suspect} is not established."
            f" {rests}; {settle}."
        )
    return " ".join(said)


def compared(verdict: Verdict) -> list[str]:
    """How much of the suspect was compared, and of those parents of which not all was,
    in sentences; empty where it is not known.
    """
    known_of = verdict.get("compared") or {}
    own = known_of.get(verdict["suspect"])
    if not own:
        return []
    verb = (
        "were compared"
        if verdict["read"]["mode"] == "full"
        else "lie in tensors of which a sample was compared"
    )
    said = [unread.said(verdict["suspect"], own, verb)]
    parts = [
        f"{unread.share_of(entry)} of {model}'s {unread.amount(entry['parameters'])}"
        for model, entry in known_of.items()
        if model != verdict["suspect"] and not unread.whole(entry)
    ]
    return [*said, *([f"Of the parents: {listing(parts)}."] if parts else [])]


def compared_share(verdict: Verdict) -> str:
    """The share of the suspect's parameters that was compared."""
    own = (verdict.get("compared") or {}).get(verdict["suspect"])
    return unread.share_of(own) if own else "not known"


def limits(verdict: Verdict, not_compared: int, offered_elements: int) -> list[str]:
    """What the finding does not say, in sentences.

    not_compared: tensors that found no counterpart; offered_elements: elements that all
    models share.
    """
    read = verdict["read"]
    if read["mode"] == "sample":
        part = (
            percent(read["elements"] / offered_elements)
            if offered_elements
            else "a part"
        )
        said = [
            f"A sample was read, {count(read['elements'])} numbers or {part} of what"
            " could be compared; the rest is inferred."
        ]
    else:
        said = [
            f"All {count(read['elements'])} numbers of what was compared were read."
        ]
    said = [*compared(verdict), *said]
    if not_compared:
        said.append(
            f"{plural(not_compared, 'tensor')} could not be compared and are listed"
            " below."
        )
    said.append(
        "The verdict says how the weights came about, not who made them, when, or with"
        " what right."
        if verdict["verdict"] in ACCUSING
        else ""
    )
    if verdict["probe"]:
        said.append(
            "What the models call themselves is shown below and decided nothing."
        )
    return [sentence for sentence in said if sentence]


def after_merge(verdict: Verdict) -> list[str]:
    """What was done after the merge, where and of what kind, and how little would have
    been seen.
    """
    after = verdict["after_merge"]
    if after["trained"] is None:
        return [
            "Whether anything was done after a merge: not computed, since no merge is"
            " established."
        ]
    left = percent(after["residual_share"], "no replay to compare with", digits=4)
    if not after["elements"]:
        return [
            f"What the recipe does not give back makes up {left} of the difference to"
            " the base."
        ]
    changed = after["changed_share"] * after["elements"]
    if after["trained"]:
        said = [
            (
                f"There are changes on top that the recipe does not explain: {left} of"
                " the difference to the base."
            ),
            *left_over(after | {"changed": changed}),
        ]
    elif changed:
        part = percent(after["changed_share"], digits=4)
        said = [
            f"{part} of {count(after['elements'])} elements lie beyond rounding of the"
            " recipe, too few to mean that it was trained on."
        ]
    else:
        said = [
            f"All of {count(after['elements'])} elements lie within rounding of the"
            " recipe: nothing is left that training would have to explain."
        ]
    if seen := after["smallest_seen"]:
        said.append(
            "Later training would have been seen, with 95 % certainty, had it changed"
            f" {percent(seen['share'], digits=4)} of the elements anywhere in the"
            f" model, or moved every weight by {seen['move']:.1g}. What touches fewer,"
            " such as single rows, may lie outside what was read."
        )
    return said


def left_over(remainder: Mapping[str, Any]) -> list[str]:
    """The remainder in sentences: how sparse, where, of what rank. Empty where nothing
    lies beyond rounding.
    """
    where = remainder["where"]
    rank = remainder["rank"]
    if not where["changed_slices"]:
        return []
    place = (
        "everywhere"
        if where["changed_slices"] == where["slices"]
        else f"in {where['changed_slices']:,} of {where['slices']:,} tensors"
    )
    named = [
        ", ".join(
            f"{name.replace('_', ' ')} {percent(share, digits=0)}"
            for name, share in list(where[key].items())[:MOST_PLACES]
        )
        for key in ("layers", "components")
    ]
    further = len(where["layers"]) - MOST_PLACES
    found = [
        f"{percent(remainder['changed'] / remainder['elements'], digits=2)} of"
        f" {remainder['elements']:,} elements lie beyond rounding, {place}; of their"
        f" energy by layer {named[0]}{f' and {further} more' if further > 0 else ''},"
        f" by part {named[1]}."
    ]
    if rank is None:
        return [*found, f"Its rank is not known: {remainder['rank_reason']}."]
    low = rank["median"] <= LOW_RANK * rank["possible"]
    kind = (
        "few directions, as a low-rank adapter (LoRA) leaves"
        if low
        else "many directions, as training of whole matrices leaves"
    )
    return [
        *found,
        (
            f"The changed matrices have a rank of {rank['median']:g} of"
            f" {rank['possible']:g} above rounding (median): {kind}."
        ),
    ]


def names_said(verdict: Verdict) -> str:
    """Which name the suspect gives most often, under each condition; empty where nobody
    asked.
    """
    said = []
    for condition, tally in (
        (verdict["probe"] or {}).get(verdict["suspect"]) or {}
    ).items():
        asked = {identity: cell for identity, cell in tally.items() if cell["n"]}
        if asked:
            first = max(asked, key=lambda identity: asked[identity]["hits"])
            own = asked[first]
            said.append(
                f"{first} {CONDITIONS.get(condition, condition)} ({own['hits']} of"
                f" {own['n']} answers)"
            )
    return (
        f"Asked who it is, {verdict['suspect']} most often gives the name"
        f" {listing(said)}."
        if said
        else ""
    )


def parent(verdict: Verdict, donor: str) -> str:
    """One donor's share with its interval, or why there is none."""
    entry = verdict["parents"][donor]
    if not known(entry["alpha"]):
        return f"{donor}: no single share"
    return (
        f"{donor} {percent(entry['alpha'])}"
        f" ({interval(entry['alpha_ci95'], 'no interval')})"
    )


def _copy(verdict: Verdict) -> tuple[str, str]:
    source = listing(named(verdict), verdict["base"]["name"])
    sampled = "" if verdict["read"]["mode"] == "full" else " That rests on a sample."
    unordered = [
        donor
        for donor in named(verdict)
        if (verdict.get("order") or {}).get(donor, {}).get("before") is None
    ]
    if verdict.get("family") == "recast":
        return (
            f"{verdict['suspect']} is {source}, recast to another number format.",
            (
                f"Every number that was compared is the one in {source}, rounded once"
                f" to the format in which {verdict['suspect']} is stored.{sampled}"
            ),
        )
    if unordered and verdict.get("order"):
        return (
            f"{verdict['suspect']} and {source} are copies of one another.",
            (
                f"Every number that was compared is the same in both.{sampled} Which of"
                " them was first is not known."
            ),
        )
    return (
        f"{verdict['suspect']} is a copy of {source}.",
        f"Every number that was compared is the same in both.{sampled}",
    )


def _merge(verdict: Verdict) -> tuple[str, str]:
    parts = shares(verdict)
    recipe = verdict["recipe"]
    of = (
        listing([f"{percent(share)} {model}" for model, share in parts])
        if parts
        else _parents(verdict)
    )
    proof = "The recipe below gives its weights back bit for bit."
    if recipe and known(recipe["bit_exact_rate"]) and recipe["bit_exact_rate"] < 1:
        proof = (
            f"The recipe below gives {rate(recipe['bit_exact_rate'])} of the weights"
            " that can tell recipes apart back bit for bit."
        )
    return (
        f"{verdict['suspect']} is a blend: {of}.",
        (
            f"{proof} No model that was trained on its own comes out like that, unless"
            " these were made from it."
        ),
    )


def _other_merge(verdict: Verdict) -> tuple[str, str]:
    method = f" ({verdict['recipe']['method']})" if verdict["recipe"] else ""
    return (
        f"{verdict['suspect']} is put together from {_parents(verdict)}.",
        (
            f"The method{method} picks or drops single numbers, partly by chance, so it"
            " cannot be repeated exactly and there is no one percentage; but which"
            " numbers come from whom shows how it was done."
        ),
    )


def _merge_then_trained(verdict: Verdict) -> tuple[str, str]:
    left = verdict["after_merge"]["residual_share"]
    more = (
        f" They make up {percent(left)} of the difference to {verdict['base']['name']}."
        if known(left)
        else ""
    )
    return (
        (
            f"{verdict['suspect']} began as a blend of {_parents(verdict)} and was"
            " trained further."
        ),
        (
            "The traces of the blend are still there, with changes on top that"
            f" rounding does not explain.{more}"
        ),
    )


def _finetune_of_donor(verdict: Verdict) -> tuple[str, str]:
    donor = listing(named(verdict), "an offered donor")
    return (
        f"{verdict['suspect']} was made by training {donor} further.",
        (
            f"Exact values of {donor} persist in it. Of {verdict['base']['name']} it"
            f" holds nothing beyond what {donor} already holds."
        ),
    )


def _finetune_of_base(verdict: Verdict) -> tuple[str, str]:
    donors = listing(verdict["parents"], word="or")
    return (
        (
            f"{verdict['suspect']} was made from {verdict['base']['name']}, and nothing"
            f" in its weights points to {donors}."
        ),
        (
            "Its changes do not follow those of any other model that was offered for"
            " comparison."
        ),
    )


def _unrelated(verdict: Verdict) -> tuple[str, str]:
    offered = listing([verdict["base"]["name"], *verdict["parents"]], word="or")
    return (
        f"{verdict['suspect']} does not descend from {offered}.",
        "Its weights share no origin with theirs, and nothing suggests a disguise.",
    )


def _inconclusive(verdict: Verdict) -> tuple[str, str]:
    offered = listing(verdict["parents"], word="or")
    if verdict.get("family") == "unread":
        return (
            (
                f"We cannot tell whether {verdict['suspect']} contains {offered}: too"
                " little of it was compared."
            ),
            (
                "What was not read may be anything. This is no accusation and no"
                " acquittal; the reasons below say what would make it readable."
            ),
        )
    return (
        f"We cannot tell whether {verdict['suspect']} contains {offered}.",
        (
            "What was measured fits more than one explanation, innocent ones among"
            " them. This is no accusation; the reasons below say what would settle it."
        ),
    )


def _other(verdict: Verdict) -> tuple[str, str]:
    return f"{verdict['suspect']}: {verdict['verdict'].replace('_', ' ')}.", ""


def _parents(verdict: Verdict) -> str:
    return listing([*named(verdict), verdict["base"]["name"]])


_WORDS = {
    "copy": _copy,
    "merge": _merge,
    "other_merge": _other_merge,
    "merge_then_trained": _merge_then_trained,
    "finetune_of_donor": _finetune_of_donor,
    "finetune_of_base": _finetune_of_base,
    "unrelated": _unrelated,
    "inconclusive": _inconclusive,
}
