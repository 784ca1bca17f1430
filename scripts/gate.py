"""Fail where a finding meets one of the grounds that the configuration names in
verdict.fail_on; write what was looked at where it does not.
"""

import argparse
from pathlib import Path

from frontdoor import run, say

from mergetrace.errors import AuditError
from mergetrace.finding.gate import GROUNDS, failures
from mergetrace.outputs import read_json, write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verdict", type=Path, required=True)
    parser.add_argument("--manifests", type=Path, nargs="+", required=True)
    parser.add_argument("--fail-on", choices=GROUNDS, nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    verdict = read_json(arguments.verdict)
    manifests = {
        manifest["model"]: manifest for manifest in map(read_json, arguments.manifests)
    }
    reasons = failures(verdict, manifests, arguments.fail_on)
    if reasons:
        raise AuditError(
            f"audit {verdict['audit']} fails by verdict.fail_on\n" + "\n".join(reasons)
        )
    passed = (
        f"{verdict['suspect']}, {verdict['verdict']}: none of"
        f" {', '.join(arguments.fail_on)}"
    )
    write_text(arguments.output, passed + "\n")
    say(passed)


if __name__ == "__main__":
    run(main)
