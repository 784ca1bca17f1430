"""What changes in the answers between two conditions, and between the suspect and the
others: the same prompts, pair by pair.
"""

import itertools
from typing import Any

import pandas as pd

from mergetrace.probe.identity import mentions
from mergetrace.probe.intervals import difference95, mcnemar

COLUMNS = [
    "identity",
    "first",
    "first_condition",
    "second",
    "second_condition",
    "hits_first",
    "hits_second",
    "pairs",
    "only_first",
    "only_second",
]
COLUMNS += ["p", "difference", "ci95_low", "ci95_high"]
_Answers = dict[tuple[str, int], str]  # by prompt and sample


def compare(
    answers: list[tuple[str, list[dict[str, Any]]]],
    identities: dict[str, list[str]],
    suspect: str | None,
) -> pd.DataFrame:
    """Every model under each two conditions, and `suspect` beside every other model
    under the same one.

    Only the first answer to each prompt is compared: pairs must be independent. `p` is
    McNemar's exact two-sided p-value, never corrected for the number of comparisons;
    `difference` is first less second.
    """
    texts: dict[tuple[str, str], _Answers] = {}
    for model, records in answers:
        for record in records:
            if "answer" in record and not record.get("sample"):
                texts.setdefault((model, record["condition"]), {})[
                    record.get("prompt", "")
                ] = record["answer"]
    pairs = [
        (one, two) for one, two in itertools.combinations(texts, 2) if one[0] == two[0]
    ]
    pairs += [
        (one, two)
        for one in texts
        for two in texts
        if one[0] == suspect != two[0] and one[1] == two[1]
    ]
    named = {
        (place, identity): {
            prompt: bool(mentions(text, spellings).given)
            for prompt, text in said.items()
        }
        for place, said in texts.items()
        for identity, spellings in identities.items()
    }
    rows = [
        _row(identity, one, two, named[one, identity], named[two, identity])
        for one, two in pairs
        for identity in identities
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(
    identity: str,
    one: tuple[str, str],
    two: tuple[str, str],
    first: dict[str, bool],
    second: dict[str, bool],
) -> tuple[Any, ...]:
    both = [(first[prompt], second[prompt]) for prompt in first if prompt in second]
    counts = [
        both.count(kind)
        for kind in ((True, True), (True, False), (False, True), (False, False))
    ]
    _, only_first, only_second, _ = counts
    difference = (only_first - only_second) / len(both) if both else None
    hits = counts[0] + only_first, counts[0] + only_second
    ends = difference95(*counts)
    return (
        identity,
        *one,
        *two,
        *hits,
        len(both),
        only_first,
        only_second,
        mcnemar(only_first, only_second),
        difference,
        *ends,
    )
