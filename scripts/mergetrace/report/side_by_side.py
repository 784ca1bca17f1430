"""The report's tables of offered parents beside each other: donors, and base
candidates.
"""

from collections.abc import Mapping
from typing import Any

from mergetrace.readable import decimal, interval, percent, rate

Row = dict[str, Any]


def donors(parents: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The offered donors beside each other, the largest share first; empty where there
    is only one.
    """
    blurred = "the other donors make up its direction"
    rows = [
        {
            "name": name,
            "named": entry["named"],
            "share": percent(entry.get("share"), blurred, digits=2),
            "interval": interval(
                entry.get("share_ci95"),
                "too few layers or tensors, or no share of its own",
            ),
            "cos_fit": decimal(entry["cos_fit"], "a difference to the base is zero"),
            "inflation": decimal(entry.get("inflation"), blurred, digits=1),
        }
        for name, entry in sorted(
            parents.items(), key=lambda pair: -(pair[1].get("share") or 0.0)
        )
    ]
    return rows if len(rows) > 1 else []


def bases(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The base candidates in words, the chosen one first; empty where there is only
    one.
    """
    rows = [
        {
            "name": name,
            "chosen": entry["chosen"],
            "verdict": (entry["verdict"] or "not judged").replace("_", " "),
            "times": decimal(
                entry["times"], "the suspect equals the chosen base", digits=1
            ),
            "exact": rate(entry["bit_exact_rate"], "no informative element"),
            "cos_fit": decimal(entry["cos_fit"], "a difference to the base is zero"),
            "control": decimal(entry["control_cos_fit"], "no control"),
        }
        for name, entry in sorted(found.items(), key=lambda pair: not pair[1]["chosen"])
    ]
    return rows if len(rows) > 1 else []
