"""What happens when the Hub, the network or a stranger misbehaves: `python -m
benchmarks.hub.faults` writes faults.md.

Against the local Hub, by the program's own reader and the real client. Whatever goes
wrong, bytes are right or refused in one line.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import constants

from benchmarks.hub.stage import page
from mergetrace.errors import AuditError
from mergetrace.hub.pinned import fetch_small_files, open_reader, pin
from mergetrace.hub.ranges import RangeReader
from mergetrace.testing.hubserver import Fault, Hub, InMemory, Repo
from mergetrace.testing.hubserver.faulty_reads import (
    DATA,
    FAULTS,
    NAME,
    QUICK,
    TOKEN,
    reader,
)

WANTED = (NAME, 1000, 2000)


def main() -> None:
    with page(Path(__file__).with_suffix(".md")) as say:
        say(
            "`python -m benchmarks.hub.faults`. Most of these are tests too"
            " (tests/unit/test_ranges.py, test_hub.py).\n"
        )
        say("| what happens | and then |\n|---|---|")
        for what, (faults, _) in FAULTS.items():
            say(
                f"| {what} |"
                f" {_outcome(lambda hub, faults=faults: _with_faults(hub, faults))} |"
            )
        for what, happening in REPOSITORY.items():
            say(f"| {what} | {_outcome(happening)} |")
        say(
            "\nOne flipped bit in a sampled range cannot be seen: the Hub lists hashes"
            " of whole files. It is TLS that guards it, and one element of tens of"
            " thousands that it would change; the files are reported as `sampled`. In"
            " full mode it is found and named (killed.md, full.md)."
        )


def _outcome(happening: Callable[[Hub], bytes]) -> str:
    """What a reader got, compared with the truth; the text of the refusal otherwise."""
    with Hub(
        {"o/m": Repo({NAME: InMemory(DATA), "config.json": InMemory(b"{}")})}
    ) as hub:
        before = constants.ENDPOINT
        constants.ENDPOINT = hub.endpoint
        try:
            found = happening(hub)
        except AuditError as error:
            return f"refused: {_checked(str(error))}"
        finally:
            constants.ENDPOINT = before
        assert found == DATA[1000:3000]
        return "recovered, the bytes are right"


def _checked(message: str) -> str:
    """A refusal is one line, and says nothing that is secret."""
    if "\n" in message or TOKEN in message:
        raise ValueError(message)
    return message


def _with_faults(hub: Hub, faults: list[Fault]) -> bytes:
    hub.faults = [Fault(**vars(fault)) for fault in faults]
    return _read(hub)


def _read(hub: Hub) -> bytes:
    with reader(hub) as files:
        return files.read(*WANTED)


def _after(change: Callable[[Hub, RangeReader], None]) -> Callable[[Hub], bytes]:
    """A change between the first read and the second."""

    def happening(hub: Hub) -> bytes:
        with reader(hub) as files:
            files.read(NAME, 0, 10)
            change(hub, files)
            return files.read(*WANTED)

    return happening


def _moved(hub: Hub, _: RangeReader) -> None:
    hub.repos["o/m"].push({NAME: InMemory(bytes(len(DATA)))})
    hub.expire()


def _shrunk(hub: Hub, files: RangeReader) -> None:
    hub.repos["o/m"].files[NAME].data = DATA[:1500]
    hub.expire()


def _renamed(hub: Hub) -> bytes:
    hub.repos["o/old"] = Repo({}, renamed_to="o/m")
    with reader(hub) as files:
        files.repo = "o/old"
        return files.read(*WANTED)


def _pinned(**changes: object) -> Callable[[Hub], bytes]:
    def happening(hub: Hub) -> bytes:
        vars(hub.repos["o/m"]).update(changes)
        pin("o/m", "main")
        return _read(hub)

    return happening


def _no_network(hub: Hub) -> bytes:
    constants.ENDPOINT = "http://127.0.0.1:9"
    pin("o/m", "main")
    return b""


def _damaged_configuration(hub: Hub) -> bytes:
    pinned = pin("o/m", "main")
    hub.faults = [Fault("flip", "resolve", skip=1)]
    with (
        open_reader(pinned.source, pinned.sizes, 1, QUICK) as files,
        tempfile.TemporaryDirectory() as folder,
    ):
        fetch_small_files(files, pinned, ("config.json",), 1000, Path(folder))
    return b""


def _traversal(hub: Hub) -> bytes:
    with reader(hub) as files:
        files.sizes["../../etc/passwd"] = 100
        return files.read("../../etc/passwd", 0, 100)


REPOSITORY = {
    "the branch moves during the audit, addresses expire": _after(_moved),
    "all addresses expire": _after(lambda hub, _: hub.expire()),
    "the file shrinks during the audit": _after(_shrunk),
    "the repository was renamed": _renamed,
    "gated, without leave": _pinned(gated=True),
    "private, without a token": _pinned(private=True),
    "no such revision": _pinned(commit="gone"),
    "a size that cannot be": _pinned(announce={NAME: {"size": 1 << 60}}),
    "the API asks to wait": lambda hub: (
        _with_faults(hub, [Fault("429", "api", wait=0.2)])
        if pin("o/m", "main")
        else b""
    ),
    "no network": _no_network,
    "a bit of a small file flips": _damaged_configuration,
    "a file name that is a path": _traversal,
}


if __name__ == "__main__":
    main()
