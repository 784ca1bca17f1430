"""What changes in the answers between two conditions, and between the suspect and the
others: the same prompts, pair by pair.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mergetrace.probe.identity import mentions
from mergetrace.probe.intervals import difference95, mcnemar
from mergetrace.probe.records import Answers, Identities

COMPARISON_COLUMNS = [
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
    "p",
    "difference",
    "ci95_low",
    "ci95_high",
]

_Place = tuple[str, str]
"""(model, condition)."""


def compare(
    answers: Answers, identities: Identities, suspect: str | None
) -> pd.DataFrame:
    """Compare every model under each two conditions, and `suspect` with every other
    model under the same one.

    Only the first answer to each prompt is compared: pairs must be independent. `p` is
    McNemar's exact two-sided p-value, never corrected for the number of comparisons;
    `difference` is first less second.
    """
    texts = _first_answers(answers)
    pairs = [
        (first, second)
        for first, second in itertools.combinations(texts, 2)
        if first[0] == second[0]
    ]
    pairs += [
        (first, second)
        for first in texts
        for second in texts
        if first[0] == suspect != second[0] and first[1] == second[1]
    ]
    rows = []
    for first, second in pairs:
        for identity, spellings in identities.items():
            hits_first = _hits(texts[first], spellings)
            hits_second = _hits(texts[second], spellings)
            counts = _paired(hits_first, hits_second)
            rows.append((identity, *first, *second, *counts))
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


def _first_answers(answers: Answers) -> dict[_Place, dict[str, str]]:
    """The first answer to each prompt, by model and condition, then by prompt."""
    texts: dict[_Place, dict[str, str]] = {}
    for model, records in answers:
        for record in records:
            if "answer" in record and not record.get("sample"):
                by_prompt = texts.setdefault((model, record["condition"]), {})
                by_prompt[record.get("prompt", "")] = record["answer"]
    return texts


def _hits(texts: Mapping[str, str], spellings: Sequence[str]) -> dict[str, bool]:
    """Whether the answer gives one of the spellings, by prompt."""
    return {
        prompt: bool(mentions(text, spellings).given) for prompt, text in texts.items()
    }


def _paired(first: Mapping[str, bool], second: Mapping[str, bool]) -> tuple[Any, ...]:
    """The columns of COMPARISON_COLUMNS from `hits_first` on."""
    pairs = [(first[prompt], second[prompt]) for prompt in first if prompt in second]
    both = pairs.count((True, True))
    only_first = pairs.count((True, False))
    only_second = pairs.count((False, True))
    neither = pairs.count((False, False))
    difference = (only_first - only_second) / len(pairs) if pairs else None
    return (
        both + only_first,
        both + only_second,
        len(pairs),
        only_first,
        only_second,
        mcnemar(only_first, only_second),
        difference,
        *difference95(both, only_first, only_second, neither),
    )
