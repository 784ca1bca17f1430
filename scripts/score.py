"""Counts which identity each model gave itself, per condition, with 95 % intervals."""

import argparse
from pathlib import Path

from frontdoor import key_value, run, say

from mergetrace.outputs import whole
from mergetrace.probe.answers import read_answers
from mergetrace.probe.breakdowns import mentioned, reasoning, strata, watermarks
from mergetrace.probe.comparisons import compare
from mergetrace.probe.conduct import conduct
from mergetrace.probe.identity import load_identities, score

FURTHER = {
    "comparisons": "what changes between conditions and between models",
    "conduct": "how many answers were cut, empty, repeating or refusals",
    "strata": "the count by kind of question and by language",
    "reasoning": "the count in what thinking models said to themselves",
    "watermarks": "how many answers hold each backstory sentence",
    "mentions": "every place where a name stands, with the words around it",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--answers",
        type=key_value,
        nargs="+",
        required=True,
        metavar="MODEL=PATH",
        help="answer files, several per model",
    )
    parser.add_argument(
        "--identities",
        required=True,
        help='JSON, or a file of it: {"Nex": ["Nex", "Nex-AGI"]}',
    )
    parser.add_argument(
        "--phrases",
        default="{}",
        help="JSON, or a file of it: backstory sentences per identity",
    )
    parser.add_argument(
        "--adversarial-name",
        help="who the adversarial condition names, counted as an identity of its own",
    )
    parser.add_argument("--suspect", help="the model to compare every other with")
    parser.add_argument("--output", type=Path, required=True, help="the table, as CSV")
    for name, what in FURTHER.items():
        parser.add_argument(f"--{name}", type=Path, help=f"{what}, as CSV")
    arguments = parser.parse_args()

    answers = [(model, read_answers(path)) for model, path in arguments.answers]
    identities = load_identities(arguments.identities)
    phrases = load_identities(arguments.phrases)
    told = arguments.adversarial_name
    if (
        identities
        and told
        and any(
            record["condition"] == "adversarial"
            for _, records in answers
            for record in records
        )
    ):
        identities = identities | {told: [*identities.get(told, []), told]}
    table = score(answers, identities)
    further = {
        "comparisons": lambda: compare(answers, identities, arguments.suspect),
        "conduct": lambda: conduct(answers),
        "strata": lambda: strata(answers, identities),
        "reasoning": lambda: reasoning(answers, identities),
        "watermarks": lambda: watermarks(answers, phrases),
        "mentions": lambda: mentioned(answers, identities),
    }
    tables = {arguments.output: table} | {
        getattr(arguments, name): make()
        for name, make in further.items()
        if getattr(arguments, name)
    }
    for path, each in tables.items():
        with whole(path) as partial:
            each.to_csv(partial, index=False)
    for row in table.itertuples():
        say(
            f"{row.model}, {row.condition}: {row.identity} {row.hits} of"
            f" {row.n}{f' ({row.reason})' if row.reason else ''}"
        )


if __name__ == "__main__":
    run(main)
