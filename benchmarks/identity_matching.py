"""How well names are matched in answers: a confusion table over answers written and
labelled by hand.

`python -m benchmarks.identity_matching` writes benchmarks/identity/README.md.
"""

import json
from collections import Counter
from pathlib import Path

from mergetrace.outputs import write_text
from mergetrace.probe.identity import mentions
from mergetrace.probe.intervals import wilson95

HERE = Path(__file__).parent

LANGUAGES = {"en": "English", "pt": "Portuguese", "zh": "Chinese", "es": "Spanish"}
KINDS = (
    "claimed and hit",
    "claimed and missed",
    "not claimed but hit",
    "denied, told apart",
    "attributed, told apart",
    "not there",
)

HEAD = """# Matching of names, measured

`python -m benchmarks.identity_matching` writes this page.

`answers.jsonl` holds {count} answers written and labelled by hand, {each} in each of four
languages. `claims` lists the identities that the answer gives as the speaker's own name, maker,
family or origin; names that are only denied, quoted, compared with, or hidden in longer words
are not claimed. Every answer is looked at for all {identities} identities of `identities.json`,
in all their spellings. The answers marked `tuning` were looked at while the rules were written,
those marked `reporting` never were: theirs are the figures to quote.
"""
TAIL = """
A hit is wrong where an answer says something of another model without any sign that the rules
know ("Qwen is a family of models; I know little about it"). This is one reason why the probe
alone decides nothing. What the rules take for denied or attributed is counted in columns of its
own in `scores.csv`, beside the hits.
"""


def labelled() -> list[dict]:
    """The labelled answers."""
    return [
        json.loads(line)
        for line in (
            (HERE / "identity/answers.jsonl").read_text(encoding="utf-8").splitlines()
        )
    ]


def judge(row: dict, identities: dict[str, list[str]]) -> list[tuple[str, str]]:
    """(identity, one of KINDS) for every identity."""
    result = []
    for identity, spellings in identities.items():
        found = mentions(row["answer"], spellings)
        if identity in row["claims"]:
            kind = KINDS[0] if found.given else KINDS[1]
        elif found.given:
            kind = KINDS[2]
        else:
            kind = (
                KINDS[3] if found.denied else KINDS[4] if found.attributed else KINDS[5]
            )
        result.append((identity, kind))
    return result


def table(title: str, groups: dict[str, Counter]) -> str:
    lines = [
        (
            f"| {title} | {' | '.join(KINDS)} | hits that are right | claims that are"
            " found |"
        ),
        "|---|" + "---:|" * (len(KINDS) + 2),
    ]
    for name, counts in groups.items():
        if not counts:
            continue
        right, missed, wrong = (counts[kind] for kind in KINDS[:3])
        shares = (_share(right, right + wrong), _share(right, right + missed))
        lines.append(
            f"| {name} | {' | '.join(str(counts[kind]) for kind in KINDS)} |"
            f" {' | '.join(shares)} |"
        )
    return "\n".join(lines)


def _share(hits: int, n: int) -> str:
    low, high = wilson95(hits, n)
    return f"{hits} of {n} ({100 * low:.0f} to {100 * high:.0f} %)" if n else "none"


def main() -> None:
    rows = labelled()
    identities = json.loads(
        (HERE / "identity/identities.json").read_text(encoding="utf-8")
    )
    sets = {
        name: [row for row in rows if row["set"] == name]
        for name in ("reporting", "tuning")
    }
    count = {
        key: Counter(kind for row in chosen for _, kind in judge(row, identities))
        for key, chosen in sets.items()
    }
    unseen = sets["reporting"]
    by = {
        field: {
            name: Counter(
                kind
                for row in unseen
                if row[field] == key
                for _, kind in judge(row, identities)
            )
            for key, name in names.items()
        }
        for field, names in (
            ("language", LANGUAGES),
            (
                "kind",
                {
                    kind: kind.replace("_", " ")
                    for kind in dict.fromkeys(row["kind"] for row in rows)
                },
            ),
        )
    }
    page = [
        HEAD.format(
            count=len(rows),
            each=len(rows) // len(LANGUAGES),
            identities=len(identities),
        ),
        table("answers", count),
    ]
    page += [
        "\nThe reporting answers by language and by kind:\n",
        table("language", by["language"]),
        "",
        table("kind", by["kind"]),
    ]
    wrong = [
        f"- `{row['id']}`: {identity} {kind}"
        for row in unseen
        for identity, kind in judge(row, identities)
        if kind in KINDS[1:3]
    ]
    page += [TAIL, "Every error among the reporting answers:\n", *wrong, ""]
    write_text(HERE / "identity/README.md", "\n".join(page))
    print("\n".join(page))


if __name__ == "__main__":
    main()
