"""How far a run is, from the files it has finished: which stages, how many of how many,
how fast, how long it will still take.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mergetrace.readable import duration, visible

LOG_TAIL = 2000
"""Bytes at the end of a log that its last line is looked for in."""


@dataclass(frozen=True)
class StageProgress:
    """How far one stage of an audit is."""

    audit: str
    name: str
    """What the stage does, in words."""
    total: int
    """Outputs that it makes."""
    finished: tuple[float, ...]
    """When each output was finished that is there: seconds since 1970, ascending."""

    @property
    def done(self) -> int:
        """How many outputs are there."""
        return len(self.finished)

    @property
    def rate(self) -> float | None:
        """Outputs per second, between the first and the last that were finished; None
        before there are two.
        """
        if self.done < 2:
            return None
        seconds = self.finished[-1] - self.finished[0]
        return (self.done - 1) / seconds if seconds > 0 else None

    def left(self, now: float) -> float | None:
        """Seconds still to go at that rate, counted from `now`; None where there is no
        rate or nothing to do.
        """
        if self.rate is None or self.done >= self.total:
            return None
        since_last = now - self.finished[-1]
        return max(0.0, (self.total - self.done) / self.rate - since_last)


def stages(results: Path, audit: str) -> list[StageProgress]:
    """The stages of an audit after `layout`, which says how many batches of layers
    there are, in the order of the work.
    """
    folder = results / audit
    layout = json.loads((folder / "layout.json").read_text(encoding="utf-8"))
    batches = layout["batches"]
    outputs = {
        "weights read": [f"deltas/{batch}.parquet" for batch in batches],
        "slices fitted": [f"fits/{batch}.parquet" for batch in batches],
        "recipe, verdict": [
            "recipes.json",
            "remainder.json",
            "summary.json",
            "verdict.json",
        ],
        "report, evidence": ["report.html", "bundle.zip"],
    }
    return [
        StageProgress(audit, name, len(names), _times(folder, names))
        for name, names in outputs.items()
    ]


def line(stage: StageProgress, now: float) -> str:
    """A stage as a line: `demo: weights read 12 of 61, 4.1 a minute, 12 min left`."""
    text = f"{stage.audit}: {stage.name} {stage.done:,} of {stage.total:,}"
    left = stage.left(now)
    if stage.rate is None or left is None:
        return text
    return f"{text}, {60 * stage.rate:.3g} a minute, {duration(left)} left"


def latest(results: Path, now: float, fresh: float = 120.0) -> str | None:
    """The last line of the log that was written to last, within `fresh` seconds: what
    the running job says of itself.
    """
    folder = results / "logs"
    logs = [
        (path.stat().st_mtime, path)
        for path in folder.rglob("*.log")
        if path.stat().st_size
    ]
    if not logs:
        return None
    written, path = max(logs)
    if now - written > fresh:
        return None
    with open(path, "rb") as handle:
        handle.seek(max(0, path.stat().st_size - LOG_TAIL))
        lines = handle.read().decode("utf-8", "replace").splitlines()
    if not lines:
        return None
    return f"{path.relative_to(folder).with_suffix('').as_posix()}: {lines[-1]}"


def _times(folder: Path, names: Iterable[str]) -> tuple[float, ...]:
    """When those of the files were written that are there, ascending."""
    paths = [folder / name for name in names]
    return tuple(sorted(path.stat().st_mtime for path in paths if path.exists()))


def overview(results: Path, now: float) -> list[str]:
    """A line for every stage of every audit that is begun and not finished, and what the
    running job says of itself.

    now: seconds since 1970.
    """
    unfinished = []
    for layout in sorted(results.glob("*/layout.json")):
        for stage in stages(results, layout.parent.name):
            if stage.done < stage.total:
                unfinished.append(line(stage, now))
    if not unfinished:
        unfinished.append(
            "All planned outputs exist. (A run that makes an output anew deletes it just"
            " before.)"
        )
    said = latest(results, now)
    if said is not None:
        unfinished.append(" ".join(visible(said, 300).split()))
    return unfinished


def main() -> None:
    """Print how far a run is, once or again and again until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument(
        "--every", type=float, metavar="SECONDS", help="say it again, until interrupted"
    )
    arguments = parser.parse_args()
    while True:
        width = os.get_terminal_size().columns if os.isatty(1) else None
        lines = overview(arguments.results, time.time())
        sys.stdout.write("".join(f"{each[:width]}\n" for each in lines))
        sys.stdout.flush()
        if not arguments.every:
            return
        time.sleep(arguments.every)
