"""Byte ranges of a repository's files at one commit, checked: what is returned is what
was asked for, of the file it was asked of.

The endpoint is asked once per file where its bytes are (a signed address on another
host, or the endpoint itself); ranges are then read there. Only the endpoint ever sees
the token. Replies that are late, cut, wrong or refused for now are asked for again,
after the time the server names or an exponential back-off with jitter; what stays wrong
is an NetworkError. Addresses and tokens appear in no message.
"""

import random
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Self
from urllib.parse import quote, urljoin, urlsplit

import httpx

from mergetrace.errors import NetworkError
from mergetrace.files.further_templates import FOLDER, PLAIN_NAME
from mergetrace.files.sampled import Range
from mergetrace.files.strict_json import shown
from mergetrace.hub.waiting import requested_wait

MAX_HOPS = 5  # a renamed repository redirects once
# bytes: an attempt that brought this many starts the count of failures anew
RENEWING_BYTES = 1 << 20
# bytes per second: a reply slower than this over its whole length counts as stalled
MIN_RATE = 20_000


@dataclass(frozen=True)
class Patience:
    """How much trouble with a server is put up with, before a range is given up."""

    attempts: int = 8  # per range, in a row without RENEWING_BYTES
    stall_s: float = 60.0  # seconds without a byte
    first_wait_s: float = 0.5  # before the second attempt; it doubles each time
    longest_wait_s: float = 600.0  # a server that asks for more is given up


@dataclass(frozen=True)
class _Place:
    """Where a file's bytes are, and whether that is the endpoint, which may see the
    token.
    """

    url: str
    trusted: bool


class _AgainError(Exception):
    """A reply that another attempt may mend: why, and the wait the server asked for."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class RangeReader:
    """Reads files of `repo` at `commit`. Safe to share by threads.

    bytes_read, requests: received and sent, failures included. resolved: how many of
    the requests asked the endpoint where a file is.
    """

    def __init__(
        self,
        endpoint: str,
        repo: str,
        commit: str,
        sizes: Mapping[str, int],
        headers: Mapping[str, str],
        connections: int,
        patience: Patience,
    ) -> None:
        """sizes: of every file, in bytes. headers: sent to the endpoint, the token
        among them, and without it (only User-Agent) elsewhere.
        """
        self.endpoint = endpoint
        self.repo = repo
        self.commit = commit
        self.sizes = sizes
        self.patience = patience
        self.connections = connections
        self.bytes_read = 0
        self.requests = 0
        self.resolved = 0
        self._trusted = dict(headers)
        self._stranger = {
            key: value for key, value in headers.items() if key.lower() == "user-agent"
        }
        timeout = httpx.Timeout(
            min(30.0, patience.stall_s), read=patience.stall_s, pool=None
        )
        self._client = httpx.Client(
            timeout=timeout,
            limits=httpx.Limits(
                max_connections=connections, max_keepalive_connections=connections
            ),
        )
        self._places: dict[str, _Place] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._over = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._client.close()

    def read(self, name: str, start: int, length: int) -> bytes:
        """Bytes start..start+length of a file. NetworkError where they cannot be had."""
        return b"".join(self.stream(name, start, length))

    def read_many(self, ranges: Iterable[Range]) -> Iterator[tuple[Range, bytes]]:
        """Read many ranges at a time, at most `connections`; yields each as it arrives."""
        todo = iter(ranges)
        running: dict[Future[bytes], Range] = {}
        pool = ThreadPoolExecutor(self.connections)
        try:
            while True:
                for wanted in islice(todo, self.connections - len(running)):
                    running[pool.submit(self.read, *wanted)] = wanted
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), done.result()
        finally:
            if running:
                self._over.set()
            pool.shutdown(cancel_futures=True)

    def stream(self, name: str, start: int, length: int) -> Iterator[bytes]:
        """Bytes start..start+length of a file, piece by piece; after an interruption it
        goes on at the byte where it stopped.
        """
        size = self.sizes.get(name)
        if size is None or not 0 <= start <= start + length <= size:
            raise NetworkError(
                f"{self._label(name)}: bytes {start} to {start + length} were asked of"
                f" a file of {size} bytes"
            )
        done = 0
        failures = 0
        done_at_failure = 0
        while done < length:
            try:
                for piece in self._once(name, start + done, length - done, size):
                    done += len(piece)
                    yield piece
            except (_AgainError, httpx.TransportError, httpx.InvalidURL) as error:
                if done - done_at_failure >= RENEWING_BYTES:
                    failures = 0
                failures += 1
                done_at_failure = done
                self._wait_or_give_up(name, start + done, failures, error)

    def _once(self, name: str, start: int, length: int, size: int) -> Iterator[bytes]:
        """One attempt at a range, piece by piece. Raises _AgainError where the reply is
        not what was asked for.
        """
        place = self._place(name)
        self._pause()
        headers = {
            **(self._trusted if place.trusted else self._stranger),
            "Range": f"bytes={start}-{start + length - 1}",
            "Accept-Encoding": "identity",
        }
        with self._lock:
            self.requests += 1
        began = time.monotonic()
        got = 0
        with self._client.stream("GET", place.url, headers=headers) as response:
            self._check_status(response, name, place)
            _check_range(response, start, length, size)
            for piece in response.iter_raw():
                got += len(piece)
                with self._lock:
                    self.bytes_read += len(piece)
                if got > length:
                    raise _AgainError(f"more than the {length} bytes asked for came")
                if time.monotonic() - began > self.patience.stall_s + got / MIN_RATE:
                    raise _AgainError(f"fewer than {MIN_RATE} bytes per second came")
                yield piece
        if got < length:
            raise _AgainError(f"{got} of {length} bytes came")

    def _place(self, name: str) -> _Place:
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._places:
                self._places[name] = self._resolve(name)
            return self._places[name]

    def _resolve(self, name: str) -> _Place:
        """Ask the endpoint where a file of the pinned commit is, over at most MAX_HOPS
        redirects of its own.
        """
        if not re.fullmatch(rf"(?:{FOLDER}/)?{PLAIN_NAME}", name):
            raise NetworkError(
                f"{self.repo}: {shown(name)} is not the name of a file in the"
                " repository's top folder"
            )
        url = f"{self.endpoint}/{quote(self.repo)}/resolve/{self.commit}/{quote(name)}"
        for _ in range(MAX_HOPS):
            self._pause()
            with self._lock:
                self.requests += 1
                self.resolved += 1
            response = self._client.head(
                url, headers={**self._trusted, "Accept-Encoding": "identity"}
            )
            self._check_status(response, name, None)
            self._check_file(response, name)
            if response.status_code // 100 == 2:
                return _Place(url, trusted=True)
            target = self._redirect(response, name, url)
            if _origin(target) != _origin(self.endpoint):
                return _Place(target, trusted=False)
            url = target
        raise NetworkError(
            f"{self._label(name)}: the server sends from one address to the next"
            " without end"
        )

    def _check_file(self, response: httpx.Response, name: str) -> None:
        """Refuse an answer for another commit, or for a file of another size."""
        commit = response.headers.get("x-repo-commit", self.commit)
        if commit != self.commit:
            raise NetworkError(
                f"{self._label(name)}: the server answers for commit"
                f" {shown(commit)}; run again, or name another endpoint"
                " (HF_ENDPOINT)"
            )
        size = response.headers.get("x-linked-size", "")
        if size and size != str(self.sizes[name]):
            raise NetworkError(
                f"{self._label(name)}: {shown(size)} bytes now, {self.sizes[name]}"
                " when it was listed; do not trust this server"
            )

    def _redirect(self, response: httpx.Response, name: str, url: str) -> str:
        """The address that a redirect names; an https endpoint may not leave https."""
        if "location" not in response.headers:
            raise _AgainError(f"status {response.status_code} came without an address")
        target = urljoin(url, response.headers["location"])
        allowed = {"https"}
        if not self.endpoint.startswith("https:"):
            allowed.add("http")
        if urlsplit(target).scheme not in allowed:
            raise NetworkError(
                f"{self._label(name)}: the server points to an address that is not"
                " https, where nothing is read"
            )
        return target

    def _check_status(
        self, response: httpx.Response, name: str, place: _Place | None
    ) -> None:
        """Raise unless the status is one that can be used.

        place: where the file was read; None for the endpoint's answer to where it is.
        """
        status = response.status_code
        if status < 400 and (place is None or status < 300):
            return
        if place is not None:
            # whatever it is, the next attempt asks for a new address
            self._places.pop(name, None)
        if status in (401, 403) and place is not None and not place.trusted:
            raise _AgainError(f"the signed address was refused ({status})")
        if status in (401, 403):
            raise NetworkError(
                f"{self._label(name)}: refused ({status}); {HOW_TO_GET_IN}"
            )
        if status == 416:
            raise NetworkError(
                f"{self._label(name)}: the file is shorter than the {self.sizes[name]}"
                " bytes it was listed with"
            )
        if status in (408, 425, 429) or status >= 500 or status < 400:
            raise _AgainError(f"status {status}", requested_wait(response.headers))
        raise NetworkError(
            f"{self._label(name)}: status {status}, though the file was listed; if it"
            " was taken down, only what is kept remains"
        )

    def _wait_or_give_up(
        self, name: str, at: int, failures: int, error: Exception
    ) -> None:
        """Wait before another attempt, or raise NetworkError.

        at: the byte that could not be read. failures: the number of attempts so far.
        """
        why = _reason(error, self.patience)
        asked = error.wait_s if isinstance(error, _AgainError) else None
        longest = self.patience.longest_wait_s
        if asked is not None and asked > longest:
            raise NetworkError(
                f"{self._label(name)}: {why}, and the server asks to wait {asked:.0f}"
                " s; run again then"
            )
        if failures >= self.patience.attempts or self._over.is_set():
            raise NetworkError(
                f"{self._label(name)}: byte {at} could not be read in {failures}"
                f" attempts, at last because {why}; run again later"
            )
        if asked is None:
            pause = min(longest, self.patience.first_wait_s * 2 ** (failures - 1))
            self._over.wait(pause * random.uniform(0.5, 1.5))
            return
        # all ranges wait, not this one alone
        self._not_before = max(self._not_before, time.monotonic() + asked)
        self._over.wait(asked + random.uniform(0, self.patience.first_wait_s))

    def _pause(self) -> None:
        """Wait as long as the server asked all ranges to."""
        left = self._not_before - time.monotonic()
        if left > 0:
            self._over.wait(left)

    def _label(self, name: str) -> str:
        """The file's name for messages."""
        printable = name if name.isprintable() else shown(name)
        return f"{self.repo}@{self.commit[:12]}/{printable}"


HOW_TO_GET_IN = (
    "for a gated or private repository accept its terms on its page and give your token"
    " (`hf auth login`, or HF_TOKEN)"
)


def _check_range(response: httpx.Response, start: int, length: int, size: int) -> None:
    """Raise _AgainError unless the reply holds bytes start..start+length of a file of
    `size` bytes, as they are.
    """
    status = response.status_code
    whole_file = status == 200 and start == 0 and length == size
    if not whole_file:
        if status != 206:
            raise _AgainError(
                f"a range was asked for and status {status} came, as if for the whole"
                " file"
            )
        expected = f"bytes {start}-{start + length - 1}/{size}"
        stated = response.headers.get("content-range", "")
        if stated != expected:
            raise _AgainError(
                f"{expected} was asked for and Content-Range {shown(stated)} came"
            )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _AgainError("the reply is compressed, which was not asked for")


def _reason(error: Exception, patience: Patience) -> str:
    """Why an attempt failed, without the address."""
    if isinstance(error, _AgainError):
        return str(error)
    if isinstance(error, httpx.ReadTimeout):
        return f"nothing moved for {patience.stall_s:g} s"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "no connection could be made"
    return "the connection was lost, or the reply was not HTTP"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of an address."""
    split = urlsplit(url)
    port = split.port or {"http": 80, "https": 443}.get(split.scheme)
    return split.scheme, split.hostname, port
