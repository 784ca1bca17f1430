"""Byte ranges of a repository's files at one commit, checked: what is returned is what
was asked for, of the file it was asked of.

The endpoint is asked once per file where its bytes are (a signed address on another
host, or the endpoint itself); ranges are then read there. Only the endpoint ever sees
the token. Replies that are late, cut, wrong or refused for now are asked for again,
after the time the server names or an exponential back-off with jitter; what stays wrong
is an AuditError. Addresses and tokens appear in no message.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Self
from urllib.parse import quote, urljoin, urlsplit

import httpx

from mergetrace.errors import AuditError
from mergetrace.files.further_templates import FOLDER, PLAIN_NAME
from mergetrace.files.sampled import Range
from mergetrace.files.strict_json import shown

MAX_HOPS = 5  # a renamed repository redirects once
ENOUGH = (
    1 << 20
)  # bytes: an attempt that brought this many starts the count of failures anew
# bytes per second: a reply slower than this over its whole length counts as stalled
SLOWEST = 20_000


@dataclass(frozen=True)
class Patience:
    """How long to put up with what: attempts per range, seconds without a byte, the
    first wait (it doubles), the longest wait.
    """

    attempts: int = 8
    stall_s: float = 60.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 600.0


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
    """Reads files of `repo` at `commit`. Thread-safe. `bytes_read` and `requests` count
    what was received and asked, failures included.
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
        self.bytes_read = self.requests = self.resolved = 0
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
        """Bytes start..start+length of a file. AuditError where they cannot be had."""
        return b"".join(self.stream(name, start, length))

    def read_many(self, ranges: Iterable[Range]) -> Iterator[tuple[Range, bytes]]:
        """Read many ranges at a time, at most `connections`; yields each as it arrives."""
        todo = iter(ranges)
        running: dict[Future[bytes], Range] = {}
        pool = ThreadPoolExecutor(self.connections)
        try:
            while True:
                running |= {
                    pool.submit(self.read, *wanted): wanted
                    for wanted in islice(todo, self.connections - len(running))
                }
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
            raise AuditError(
                f"{self._label(name)}: bytes {start} to {start + length} were asked of"
                f" a file of {size} bytes"
            )
        done = mark = failures = 0
        while done < length:
            try:
                for piece in self._once(name, start + done, length - done, size):
                    done += len(piece)
                    yield piece
            except (_AgainError, httpx.TransportError, httpx.InvalidURL) as error:
                failures = 1 if done - mark >= ENOUGH else failures + 1
                mark = done
                why = (
                    str(error)
                    if isinstance(error, _AgainError)
                    else _transport(error, self.patience)
                )
                self._rest(
                    name, start + done, failures, why, getattr(error, "wait_s", None)
                )

    def _once(self, name: str, start: int, length: int, size: int) -> Iterator[bytes]:
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
            whole = response.status_code == 200 and (start, length) == (0, size)
            expected = f"bytes {start}-{start + length - 1}/{size}"
            if not whole and response.status_code != 206:
                raise _AgainError(
                    f"a range was asked for and status {response.status_code} came, as"
                    " if for the whole file"
                )
            if (
                not whole
                and (found := response.headers.get("content-range", "")) != expected
            ):
                raise _AgainError(
                    f"{expected} was asked for and Content-Range {shown(found)} came"
                )
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _AgainError("the reply is compressed, which was not asked for")
            for piece in response.iter_raw():
                got += len(piece)
                with self._lock:
                    self.bytes_read += len(piece)
                if got > length:
                    raise _AgainError(f"more than the {length} bytes asked for came")
                if time.monotonic() - began > self.patience.stall_s + got / SLOWEST:
                    raise _AgainError(f"fewer than {SLOWEST} bytes per second came")
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
        """Ask the endpoint where a file of the pinned commit is."""
        if not re.fullmatch(rf"(?:{FOLDER}/)?{PLAIN_NAME}", name):
            raise AuditError(
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
            commit = response.headers.get("x-repo-commit", self.commit)
            size = response.headers.get("x-linked-size", "")
            if commit != self.commit:
                raise AuditError(
                    f"{self._label(name)}: the server answers for commit"
                    f" {shown(commit)}; run again, or name another endpoint"
                    " (HF_ENDPOINT)"
                )
            if size and size != str(self.sizes[name]):
                raise AuditError(
                    f"{self._label(name)}: {shown(size)} bytes now, {self.sizes[name]}"
                    " when it was listed; do not trust this server"
                )
            if response.status_code // 100 == 2:
                return _Place(url, trusted=True)
            if "location" not in response.headers:
                raise _AgainError(
                    f"status {response.status_code} came without an address"
                )
            target = urljoin(url, response.headers["location"])
            if urlsplit(target).scheme not in (
                {"https"} if self.endpoint.startswith("https:") else {"http", "https"}
            ):
                raise AuditError(
                    f"{self._label(name)}: the server points to an address that is not"
                    " https, where nothing is read"
                )
            if _origin(target) != _origin(self.endpoint):
                return _Place(target, trusted=False)
            url = target
        raise AuditError(
            f"{self._label(name)}: the server sends from one address to the next"
            " without end"
        )

    def _check_status(
        self, response: httpx.Response, name: str, place: _Place | None
    ) -> None:
        """Return for what can be used; raise for the rest. place: None for the
        endpoint's answer to where a file is.
        """
        status = response.status_code
        if status < 400 and (place is None or status < 300):
            return
        if place is not None:
            self._places.pop(
                name, None
            )  # whatever it is, the next attempt asks for a new address
        if status in (401, 403) and place is not None and not place.trusted:
            raise _AgainError(f"the signed address was refused ({status})")
        if status in (401, 403):
            raise AuditError(
                f"{self._label(name)}: refused ({status}); {HOW_TO_GET_IN}"
            )
        if status == 416:
            raise AuditError(
                f"{self._label(name)}: the file is shorter than the {self.sizes[name]}"
                " bytes it was listed with"
            )
        if status in (408, 425, 429) or status >= 500 or status < 400:
            raise _AgainError(f"status {status}", _asked_wait(response.headers))
        raise AuditError(
            f"{self._label(name)}: status {status}, though the file was listed; if it"
            " was taken down, only what is kept remains"
        )

    def _rest(
        self, name: str, at: int, failures: int, why: str, asked: float | None
    ) -> None:
        """Wait before another attempt, or give up."""
        longest = self.patience.longest_wait_s
        if asked is not None and asked > longest:
            raise AuditError(
                f"{self._label(name)}: {why}, and the server asks to wait {asked:.0f}"
                " s; run again then"
            )
        if failures >= self.patience.attempts or self._over.is_set():
            raise AuditError(
                f"{self._label(name)}: byte {at} could not be read in {failures}"
                f" attempts, at last because {why}; run again later"
            )
        pause = min(
            longest, self.patience.first_wait_s * 2 ** (failures - 1)
        ) * random.uniform(0.5, 1.5)
        if asked is not None:  # everybody waits, not this range alone
            self._not_before = max(self._not_before, time.monotonic() + asked)
        self._over.wait(
            max(pause, 0)
            if asked is None
            else asked + random.uniform(0, self.patience.first_wait_s)
        )

    def _pause(self) -> None:
        if (left := self._not_before - time.monotonic()) > 0:
            self._over.wait(left)

    def _label(self, name: str) -> str:
        return f"{self.repo}@{self.commit[:12]}/{name if name.isprintable() else shown(name)}"


HOW_TO_GET_IN = (
    "for a gated or private repository accept its terms on its page and give your token"
    " (`hf auth login`, or HF_TOKEN)"
)


class Meter:
    """Progress in words: how much, how fast, how long still. Silent but every `every`
    seconds.
    """

    def __init__(
        self,
        total: int,
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.done = 0
        self.every = every
        self._clock = clock
        self._began = self._said = clock()

    def add(self, count: int) -> str | None:
        """Count bytes; a line when it is time for one."""
        self.done += count
        now = self._clock()
        if now - self._said < self.every:
            return None
        self._said = now
        rate = self.done / (now - self._began)
        return (
            f"{self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB, {rate / 1e6:.2f}"
            f" MB/s, {(self.total - self.done) / rate:.0f} s left"
        )


def _asked_wait(headers: httpx.Headers) -> float | None:
    """The seconds a server asks to wait: Retry-After (seconds or a date), else the `t`
    of RateLimit.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        pass
    match = re.search(r"\bt=(\d{1,9}(?:\.\d{1,9})?)\b", headers.get("ratelimit", ""))
    return float(match[1]) if match else None


def _transport(error: Exception, patience: Patience) -> str:
    """What failed below HTTP, without the address."""
    if isinstance(error, httpx.ReadTimeout):
        return f"nothing moved for {patience.stall_s:g} s"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "no connection could be made"
    return "the connection broke off or what came is no HTTP"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    split = urlsplit(url)
    return (
        split.scheme,
        split.hostname,
        split.port or {"http": 80, "https": 443}.get(split.scheme),
    )
