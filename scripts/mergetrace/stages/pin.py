"""Resolve a Hub repository's revision to a commit, and list what is there."""

from dataclasses import dataclass
from pathlib import Path

from mergetrace.hub.history import dated
from mergetrace.hub.pinned import pin
from mergetrace.outputs import write_json
from mergetrace.running.log import say
from mergetrace.timestamps import describe_dates


@dataclass(frozen=True)
class Inputs:
    """Nothing on disk: the Hub is asked."""


@dataclass(frozen=True)
class Params:
    """Which repository."""

    repo: str
    """owner/name on the Hub."""
    revision: str
    """Branch, tag or commit."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    pinned: Path
    """JSON: the commit, its files with sizes and hashes, when it was published."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Ask the Hub once, so that everything later reads one commit."""
    pinned = dated(pin(params.repo, params.revision))
    write_json(outputs.pinned, pinned.as_json())
    gigabytes = sum(pinned.sizes.values()) / 1e9
    say(
        f"{pinned.repo}: {pinned.revision} is commit {pinned.commit},"
        f" {len(pinned.files)} files of {gigabytes:.3f} GB"
    )
    published = (
        describe_dates(None, pinned.published)
        or "at a time of which the Hub says nothing"
    )
    say(f"{pinned.repo}: published {published}")
    for remark in pinned.remarks:
        say(remark)
