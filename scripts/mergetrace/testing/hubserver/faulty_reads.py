"""One file of one repository, a reader of its ranges, and every fault that may meet it
on the way, with how the reader should end.
"""

import hashlib

from mergetrace.hub.ranges import Patience, RangeReader
from mergetrace.testing.hubserver.faults import Fault
from mergetrace.testing.hubserver.server import Hub

DATA = hashlib.shake_256(b"weights").digest(300_000)
NAME = "model.safetensors"
QUICK = Patience(attempts=3, stall_s=0.3, first_wait_s=0.01, longest_wait_s=5)
TOKEN = "hf_secret"

RECOVERED = "recovered"
FAULTS = {
    # what happens: (faults, recovered, or the text of the refusal)
    "too many requests, wait a little": ([Fault("429", wait=0.2)], RECOVERED),
    "too many requests at the endpoint": (
        [Fault("429", "resolve", wait=0.2)],
        RECOVERED,
    ),
    "too many requests, wait an hour": (
        [Fault("429", wait=3600)],
        "the server asks to wait 3600 s",
    ),
    "busy once": ([Fault("503")], RECOVERED),
    "busy for ever": (
        [Fault("503", times=99)],
        "could not be read in 3 attempts, at last because status 503",
    ),
    "defect at the server": ([Fault("500", times=2)], RECOVERED),
    "cut in the middle": ([Fault("cut", times=2)], RECOVERED),
    "cut before a reply": ([Fault("drop", times=2)], RECOVERED),
    "cut every time": (
        [Fault("drop", times=99)],
        "the connection was lost, or the reply was not HTTP",
    ),
    "silence in the middle": ([Fault("stall")], RECOVERED),
    "silence every time": ([Fault("stall", times=99)], "nothing moved for 0.3 s"),
    "range ignored once": ([Fault("ignore-range")], RECOVERED),
    "range ignored always": (
        [Fault("ignore-range", times=99)],
        "status 200 came, as if for the whole file",
    ),
    "another range than asked": (
        [Fault("wrong-range", times=99)],
        "Content-Range 'bytes 1001-3000/300000' came",
    ),
    "a range of another file": (
        [Fault("other-size", times=99)],
        "Content-Range 'bytes 1000-2999/300007' came",
    ),
    "fewer bytes than asked": (
        [Fault("short", times=99)],
        "Content-Range 'bytes 1000-1999/300000' came",
    ),
    "more bytes than asked": ([Fault("long", times=99)], "more than the 2000 bytes"),
    "address expired": ([Fault("expired")], RECOVERED),
    "address expires every time": (
        [Fault("expired", times=99)],
        "the signed address was refused (403)",
    ),
    "a web page instead": (
        [Fault("page", times=99)],
        "status 200 came, as if for the whole file",
    ),
    "no HTTP at all": ([Fault("garbled", times=99)], "the reply was not HTTP"),
    "redirect to nowhere": ([Fault("no-redirect-target", "resolve")], RECOVERED),
    "redirect to a local file": (
        [Fault("to-file", "resolve")],
        "points to an address that is not https",
    ),
    "redirect to itself": (
        [Fault("loop", "resolve", times=99)],
        "from one address to the next without end",
    ),
    "another commit answers": (
        [Fault("other-commit", "resolve")],
        "answers for commit '0000000000",
    ),
}


def reader(
    hub: Hub, patience: Patience = QUICK, token: str = TOKEN, connections: int = 4
) -> RangeReader:
    repo = hub.repos["o/m"]
    sizes = {name: content.size for name, content in repo.files.items()}
    return RangeReader(
        hub.endpoint,
        "o/m",
        repo.commit,
        sizes,
        {"authorization": f"Bearer {token}", "user-agent": "test"},
        connections,
        patience,
    )
