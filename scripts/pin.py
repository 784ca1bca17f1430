"""Resolve a Hub repository's revision to a commit, and list what is there."""

import argparse
from pathlib import Path

from frontdoor import run, say

from mergetrace.hub.history import dated
from mergetrace.hub.pinned import pin
from mergetrace.outputs import write_json
from mergetrace.timestamps import told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repo", required=True, help="owner/name")
    parser.add_argument("--revision", required=True, help="branch, tag or commit")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    pinned = dated(pin(arguments.repo, arguments.revision))
    write_json(arguments.output, pinned.as_json())
    say(
        f"{pinned.repo}: {pinned.revision} is commit {pinned.commit},"
        f" {len(pinned.files)} files of {sum(pinned.sizes.values()) / 1e9:.3f} GB"
    )
    say(
        f"{pinned.repo}: published"
        f" {told(None, pinned.published) or 'at a time of which the Hub says nothing'}"
    )
    for remark in pinned.remarks:
        say(remark)


if __name__ == "__main__":
    run(main)
