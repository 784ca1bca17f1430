"""Counts which identity each model gave itself, per condition, with 95 % intervals."""

import argparse
from pathlib import Path

from frontdoor import key_value, run, say
from mergetrace.answers import read_answers
from mergetrace.comparisons import compare
from mergetrace.conduct import conduct
from mergetrace.files import whole
from mergetrace.identity import load_identities, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=key_value, nargs="+", required=True, metavar="MODEL=PATH", help="answer files, several per model")
    parser.add_argument("--identities", required=True, help='JSON, or a file of it: {"Nex": ["Nex", "Nex-AGI"]}')
    parser.add_argument("--adversarial-name", help="who the adversarial condition names, counted as an identity of its own")
    parser.add_argument("--output", type=Path, required=True, help="the table, as CSV")
    parser.add_argument("--suspect", help="the model to compare every other with")
    parser.add_argument("--comparisons", type=Path, help="what changes between conditions and between models, as CSV")
    parser.add_argument("--conduct", type=Path, help="how many answers were cut, empty, repeating or refusals, as CSV")
    arguments = parser.parse_args()

    answers = [(model, read_answers(path)) for model, path in arguments.answers]
    identities = load_identities(arguments.identities)
    told = arguments.adversarial_name
    if identities and told and any(record["condition"] == "adversarial" for _, records in answers for record in records):
        identities = identities | {told: [*identities.get(told, []), told]}
    table = score(answers, identities)
    tables = {arguments.output: table}
    tables |= {arguments.comparisons: compare(answers, identities, arguments.suspect)} if arguments.comparisons else {}
    tables |= {arguments.conduct: conduct(answers)} if arguments.conduct else {}
    for path, each in tables.items():
        with whole(path) as partial:
            each.to_csv(partial, index=False)
    for row in table.itertuples():
        say(f"{row.model}, {row.condition}: {row.identity} {row.hits} of {row.n}{f' ({row.reason})' if row.reason else ''}")


if __name__ == "__main__":
    run(main)
