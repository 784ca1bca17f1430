"""Serve a computed family until interrupted: `python -m mergetrace.testing.hubserver
397b` prints the endpoint, for HF_ENDPOINT.

On SIGTERM or Ctrl-C what was served is written to --report: requests and bytes by place
and repository, and the seconds of CPU it took.
"""

import argparse
import json
import resource
import signal
import threading
from collections import Counter
from pathlib import Path

from mergetrace.testing.hubserver.computed import FAMILY, SHARDS, family
from mergetrace.testing.hubserver.server import Hub


def main() -> None:
    parser = argparse.ArgumentParser(prog="hubserver", description=__doc__)
    parser.add_argument("layout", choices=list(SHARDS))
    parser.add_argument(
        "--models", nargs="+", choices=list(FAMILY), default=list(FAMILY)
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard-size", type=int, help="bytes")
    parser.add_argument(
        "--latency", type=float, default=0.0, help="seconds before every reply"
    )
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    repos = family(
        arguments.layout,
        arguments.seed,
        {name: FAMILY[name] for name in arguments.models},
        arguments.shard_size,
    )
    for repo in (
        repos.values()
    ):  # hashes are wanted by the first question, which should not wait for them
        for content in repo.files.values():
            _ = content.sha256
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    before = _seconds()
    with Hub(repos, latency=arguments.latency) as hub:
        print(hub.endpoint, flush=True)
        over.wait()
    if arguments.report:
        arguments.report.write_text(
            json.dumps({"cpu_s": _seconds() - before, **served(hub)}, indent=1) + "\n"
        )


def served(hub: Hub) -> dict[str, dict[str, int]]:
    """Requests by place, and bytes of the weights by repository."""
    return {
        "requests": dict(Counter(seen.place for seen in hub.seen)),
        "bytes": dict(_bytes(hub)),
    }


def _bytes(hub: Hub) -> Counter[str]:
    sent: Counter[str] = Counter()
    for seen in hub.seen:
        sent[seen.repo] += seen.sent
    return sent


def _seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
