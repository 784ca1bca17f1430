"""A scan in words. It accuses nobody: its word is "candidate"."""

from collections.abc import Sequence

from mergetrace import readable
from mergetrace.records.scan import (
    Carrier,
    LeftOut,
    Proposed,
    Ranked,
    Reason,
    Scan,
    Siblings,
    Trace,
    Watched,
)

LEFT_OUT = {
    "adapter": "an adapter, which holds no weights of its own",
    "child": "names the suspect as its base",
    "gated": "access must be asked for, and this token has none",
    "missing": "no such repository, or a private one",
    "no_model": "there is no model: no folder with *.safetensors, and no GGUF file",
    "not_understood": "what the Hub says of it cannot be understood",
    "no_safetensors": "no weights in safetensors",
    "refused": "the Hub does not hand it out: disabled, or closed to this token",
    "over_budget": "beyond the megabytes that may be read",
    "over_most": "beyond the number of models that are compared",
    "unknown_layout": "none of its tensors has a name that a print knows",
    "unreachable": "its files could not be read; `--forcerun prints` tries again",
    "unreadable": "its weight files are broken, incomplete or of another kind",
    "younger": "its repository is younger than the suspect's weights",
}
"""Why a model was not compared, by code."""

SOURCES = {
    "ancestor": "base of {}",
    "audit": "offered in an audit of the suspect",
    "card": "listed as a base in {}",
    "child": "names {} as its base",
    "history": "named in {}",
    "index": "in a published index",
    "listing": "of the suspect's size ({})",
    "names": "named in {}",
    "path": "a local folder",
}
"""Why a model was looked at, by source."""

TRACES = {
    "same_files": "{place} has the same weight files, by the sha256 that the Hub lists"
    " ({detail}): every number in them is the same.",
    "same_tokenizer": "{place} has the same tokenizer.json, byte for byte, as"
    " {detail} relatives have.",
    "declared_parent": "{place} is listed as a base in the suspect's card.",
    "declared_child": "{place} names the suspect as its base.",
    "merge_file": "{place} is named in what a merge tool left in the suspect's folder.",
    "name_left": "{place} is named in the suspect's {detail}.",
    "old_card": "{place} was named in {detail}, an older commit of the suspect.",
}
"""What was left behind, by kind."""

PROPOSED = {
    "ancestor": "{branches} independent branches of relatives start at it",
    "possible_base": "may be the base: too few relatives are known to tell which model"
    " the others were made from",
    "explains": "about {weight} of the blend that explains most; {own} of its own"
    " numbers are in the suspect",
    "nearest": "the nearest relative ({share} of the numbers equal); nothing points to a"
    " donor",
    "sibling": "a sibling that nothing ties to the donors (cosine {cosine}): judged by"
    " the same rules, it should not be accused",
}
"""Why a model has a part in the proposed audit, by code."""


def headline(scan: Scan) -> str:
    """What the scan found, in a sentence or two."""
    if not scan.compared:
        return (
            "Nothing to audit: no model was compared with the suspect. Who was left out,"
            " and why, stands below; offer other models, or look at more sources."
        )
    if not scan.relatives:
        return (
            f"Nothing to audit: of {readable.plural(scan.compared, 'model')} none has"
            " more of the suspect's numbers than chance gives. No candidate was found"
            " here; offer other models."
        )
    bases = [each for each in scan.proposed if each.part == "base"]
    donors = [each for each in scan.proposed if each.code == "explains"]
    base = "None is proposed as its base"
    if bases:
        several = f"of {len(bases)} candidates" if len(bases) > 1 else "candidate"
        base = f"{bases[0].place} is the first {several} for its base"
    if not donors:
        return (
            f"{base}; no candidate for a donor stands out among"
            f" {readable.plural(scan.relatives, 'relative')}."
        )
    names = readable.listing([each.place for each in donors], "")
    return (
        f"{base}, and {names} for {'a donor' if len(donors) == 1 else 'donors'}:"
        f" together they explain {readable.percent(scan.explained)} of its change from"
        " the base. Whether it is made of them only the audit can say."
    )


def left_out(each: LeftOut) -> str:
    """Why a model was not compared."""
    return LEFT_OUT[each.code]


def counted(models: Sequence[LeftOut]) -> list[tuple[str, int, list[str]]]:
    """Why models were left out, how many each, and the first few of them."""
    rows = []
    for code in sorted({each.code for each in models}):
        places = sorted(each.place for each in models if each.code == code)
        rows.append((LEFT_OUT[code], len(places), places[:5]))
    return rows


def reason(each: Reason) -> str:
    """Why a model was looked at."""
    return SOURCES[each.source].format(readable.visible(each.detail))


def reasons(row: Ranked) -> str:
    """Why a model was looked at, all reasons."""
    return "; ".join(map(reason, row.reasons)) or SOURCES["index"]


def trace(each: Trace) -> str:
    """What was left behind."""
    return TRACES[each.kind].format(place=each.place, detail=each.detail)


def proposed(each: Proposed) -> str:
    """Why a model has its part in the audit."""
    numbers = dict(each.numbers)
    words = {
        "branches": readable.count(numbers.get("branches")),
        "cosine": readable.decimal(numbers.get("cosine", 0.0), digits=2),
        "own": readable.percent(numbers.get("own")),
        "share": readable.percent(numbers.get("share")),
        "weight": readable.percent(numbers.get("weight")),
    }
    return PROPOSED[each.code].format(**words)


def chosen(found: Siblings) -> str:
    """Which siblings an audit takes as its controls, and how they were chosen."""
    if not found.siblings:
        return (
            f"A scan found no sibling of {found.base or 'the suspect'} that nothing ties"
            " to a donor, so that no control is taken from it."
        )
    rest = (
        ""
        if found.offered
        else " The base that the audit names has no print of its own."
    )
    return (
        f"A scan chose the controls: of {readable.plural(found.relatives, 'relative')}"
        f" the {len(found.siblings)} whose change from {found.base} points most along"
        f" the suspect's, of those that nothing ties to a donor.{rest}"
    )


def watched(found: Watched) -> str:
    """What a watch found, in a sentence or two."""
    if not found.base:
        return (
            f"No base of {found.place} is known among"
            f" {readable.plural(found.compared, 'model')}, so nothing can be said of"
            " who carries it."
        )
    looked = readable.plural(found.younger, "younger relative")
    if not found.carriers:
        return f"None of {looked} stands out as carrying {found.place}."
    names = readable.plural(len(found.carriers), "candidate")
    return (
        f"{names} among {looked} may carry {found.place},"
        f" {len(found.new) or 'none'} of them new since the last run. Whether one is"
        " made of it only an audit can say."
    )


def carrier(each: Carrier) -> str:
    """Why a younger model is listed."""
    declared = "names it as a parent" if each.declares else "does not name it"
    return (
        f"{declared}; its change from the base points along by a cosine of"
        f" {readable.decimal(each.cosine, digits=2)},"
        f" {readable.decimal(each.errors, digits=0)} standard deviations above what"
        f" relatives show; it has {readable.percent(each.own)} of its own numbers, where"
        f" a usual relative has {readable.percent(each.usual_own)}"
    )
