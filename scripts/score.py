"""Counts which identity each model gave itself, per condition, with 95 % intervals."""

import argparse
from pathlib import Path

from frontdoor import run, say
from mergetrace.answers import read_answers
from mergetrace.errors import AuditError
from mergetrace.files import whole
from mergetrace.identity import load_identities, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", action="append", required=True, metavar="MODEL=PATH", help="answers of one model; repeat for more")
    parser.add_argument("--identities", required=True, help='JSON, or a file of it: {"Nex": ["Nex", "Nex-AGI"]}')
    parser.add_argument("--output", type=Path, required=True, help="the table, as CSV")
    arguments = parser.parse_args()

    answers = []
    for given in arguments.answers:
        model, equals, path = given.partition("=")
        if not (model and equals and path):
            raise AuditError(f"--answers {given}: MODEL=PATH is needed")
        answers.append((model, read_answers(path)))
    table = score(answers, load_identities(arguments.identities))
    with whole(arguments.output) as partial:
        table.to_csv(partial, index=False)
    for row in table.itertuples():
        say(f"{row.model}, {row.condition}: {row.identity} {row.hits} of {row.n}{f' ({row.reason})' if row.reason else ''}")


if __name__ == "__main__":
    run(main)
