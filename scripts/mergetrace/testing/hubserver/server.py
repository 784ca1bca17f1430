"""The local Hub: an endpoint on 127.0.0.1 and a storage on localhost, so that a token
which leaks from one to the other shows.
"""

import json
import socket
import socketserver
import threading
import time
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from mergetrace.testing.hubserver.content import Content, Repo, git_sha1, is_lfs
from mergetrace.testing.hubserver.faults import Fault
from mergetrace.testing.hubserver.listing import MAX_PAGE, about, listed
from mergetrace.testing.hubserver.quotas import Quotas

PIECE = 1 << 20  # bytes of a body computed and sent at a time
REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 307: "Temporary Redirect"}
SMALL = 1 << 20  # larger files outside LFS get an id without hashing
Headers = dict[str, str]


@dataclass
class Seen:
    """One request as it arrived, and what was answered."""

    place: str
    method: str
    path: str
    repo: str
    name: str
    range: tuple[int, int] | None
    token: str | None
    status: int = 0
    sent: int = 0  # bytes of the body


class Hub:
    """Serves `repos` (by owner/name) until the `with` block ends. `faults` may be
    filled at any time; `seen` lists every request.
    """

    def __init__(
        self,
        repos: dict[str, Repo],
        latency: float = 0.0,
        rate: float = float("inf"),
        page: int = 50,
        quotas: Quotas | None = None,
    ) -> None:
        """latency: seconds before every reply. rate: bytes per second of one
        connection. page: entries of a list in one reply.
        """
        self.repos = repos
        self.latency = latency
        self.rate = rate
        self.page = page
        self.quotas = quotas
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.signed: dict[
            int, tuple[str, str, Content]
        ] = {}  # serial -> repository, file name, content
        self.dead: set[int] = set()
        self.lock = threading.Lock()
        self.over = threading.Event()
        self._servers = {
            place: _Server((host, 0), self, place)
            for place, host in (("endpoint", "127.0.0.1"), ("storage", "localhost"))
        }

    def __enter__(self) -> "Hub":
        for server in self._servers.values():
            threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
            ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._servers['endpoint'].server_address[1]}"

    @property
    def storage(self) -> str:
        return f"http://localhost:{self._servers['storage'].server_address[1]}"

    def expire(self) -> None:
        """Every address signed so far is refused from now on."""
        self.dead.update(self.signed)

    def requests(self, place: str, name: str = "") -> list[Seen]:
        """The requests at api, resolve or storage, of files whose name holds `name`."""
        return [seen for seen in self.seen if seen.place == place and name in seen.name]

    def sign(self, repo: str, name: str, content: Content) -> str:
        with self.lock:
            serial = len(self.signed)
            self.signed[serial] = repo, name, content
        return f"{self.storage}/signed/{serial}?Expires=9999999999&Signature=secret-{serial}"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], hub: Hub, place: str) -> None:
        self.hub = hub
        self.place = place
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class _Handler(socketserver.StreamRequestHandler):
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while not self.server.hub.over.is_set() and self._one():
            pass

    def _one(self) -> bool:
        """One request; False when the connection is over."""
        first = self.rfile.readline(1 << 16).split()
        if len(first) < 2:
            return False
        headers = {}
        while line := self.rfile.readline(1 << 16).strip():
            key, _, value = line.decode("latin-1").partition(":")
            headers[key.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        self.hub = self.server.hub
        self.method = first[0].decode()
        self.headers = headers
        if self.hub.latency:
            time.sleep(self.hub.latency)
        self.fault = None
        try:
            self._answer(first[1].decode("latin-1"), body)
            self.wfile.flush()
        except _HangUpError:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            return False
        return True

    # Where the request goes.

    def _answer(self, target: str, body: bytes) -> None:
        split = urlsplit(target)
        if self.server.place != "endpoint":
            self._storage(target, body)
        elif split.path.rstrip("/") == "/api/models":
            self._list(target, parse_qs(split.query))
        else:
            self._endpoint(target, body)

    def _endpoint(self, target: str, body: bytes) -> None:
        split = urlsplit(target)
        parts = [unquote(part) for part in split.path.strip("/").split("/")]
        api = parts[:2] == ["api", "models"]
        if parts == ["api", "whoami-v2"]:
            return self._json({"name": "tester", "type": "user"}, "whoami")
        repo = "/".join(parts[2:4] if api else parts[:2])
        rest = parts[4:] if api else parts[2:]
        name = (
            "/".join([repo, *(rest[:1] or ["revision"])]) if api else "/".join(rest[2:])
        )
        self._arrived("api" if api else "resolve", target, repo, name)
        if self._struck(self.seen.place, name if api else f"{repo}/{name}"):
            return None
        if (found := self._opened(repo, target)) is None:
            return None
        revision = (
            rest[1]
            if len(rest) > 1
            and rest[0] in ("revision", "resolve", "tree", "paths-info", "commits")
            else "main"
        )
        at = found.at(revision)
        if at is None:
            return self._error(404, "RevisionNotFound")
        if api:
            return self._about(repo, found, *at, rest, parse_qs(split.query), body)
        return self._resolve(repo, found, *at, name)

    def _list(self, target: str, query: dict[str, list[str]]) -> None:
        """A page of the repositories that a question asks for."""
        self._arrived("api", target, "", "models")
        if self._struck("api", "models"):
            return None
        found = listed(self.hub.repos, query, self.seen.token)
        size = min(int(query.get("limit", [MAX_PAGE])[0]), MAX_PAGE, self.hub.page)
        start = int(query.get("cursor", ["0"])[0])
        rest = {**query, "cursor": [str(start + size)]}
        following = f"{self.hub.endpoint}/api/models?{urlencode(rest, doseq=True)}"
        link = (
            {"Link": f'<{following}>; rel="next"'} if start + size < len(found) else {}
        )
        body = json.dumps(found[start : start + size]).encode()
        return self._reply(200, body, {"Content-Type": "application/json", **link})

    def _opened(self, repo: str, target: str) -> Repo | None:
        """The repository if the caller may read it; else the refusal is sent."""
        found = self.hub.repos.get(repo)
        token = self.seen.token
        if found is not None and found.renamed_to:
            self._reply(307, b"", {"Location": target.replace(repo, found.renamed_to)})
            return None
        if found is None or (found.private and token not in (found.tokens or ())):
            self._error(404 if token else 401, "RepoNotFound")
            return None
        if (
            found.gated
            and token not in (found.tokens or ())
            and self.seen.place == "resolve"
        ):
            self._error(403 if token else 401, "GatedRepo")
            return None
        return found

    def _about(
        self,
        repo: str,
        found: Repo,
        commit: str,
        files: dict[str, Content],
        rest: list[str],
        query: dict,
        body: bytes,
    ) -> None:
        if rest[:1] == ["commits"]:
            return self._paged(found.log(commit), repo, rest, query)
        entries = [
            _entry(name, content, found.announce.get(name, {}))
            for name, content in files.items()
        ]
        if rest[:1] in (["tree"], ["paths-info"]):
            asked = (
                parse_qs(body.decode())
                if rest[0] == "paths-info"
                else {**query, "paths": list(files)}
            )
            leaves = [
                _leaf(entry)
                for entry in entries
                if entry["rfilename"] in asked.get("paths", [])
            ]
            if asked.get("expand") == ["true"]:
                leaves = [
                    {**leaf, "lastCommit": found.last_commit(commit, leaf["path"])}
                    for leaf in leaves
                ]
            return (
                self._paged(leaves, repo, rest, query)
                if rest[0] == "tree"
                else self._json(leaves)
            )
        siblings = (
            entries
            if query.get("blobs")
            else [{"rfilename": entry["rfilename"]} for entry in entries]
        )
        said = {**about(repo, found), "sha": commit, "siblings": siblings} | found.says
        return self._json(said)

    def _paged(
        self, entries: list[dict], repo: str, rest: list[str], query: dict
    ) -> None:
        """One page of a list; where the next one is stands in a Link header."""
        start = int(query.get("cursor", ["0"])[0])
        end = int(query.get("cursor", ["0"])[0]) + self.hub.page
        place = f"{self.hub.endpoint}/api/models/{repo}/{'/'.join(rest)}"
        more = "".join(
            f"&{key}={value[0]}" for key, value in query.items() if key != "cursor"
        )
        link = (
            {"Link": f'<{place}?cursor={end}{more}>; rel="next"'}
            if end < len(entries)
            else {}
        )
        self._reply(
            200,
            json.dumps(entries[start:end]).encode(),
            {"Content-Type": "application/json", **link},
        )

    def _resolve(
        self, repo: str, found: Repo, commit: str, files: dict[str, Content], name: str
    ) -> None:
        if name not in files:
            return self._error(404, "EntryNotFound", {"X-Repo-Commit": commit})
        content = files[name]
        said = found.announce.get(name, {})
        if self.fault == "other-commit":
            commit = "0" * 40
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not is_lfs(name):
            return self._bytes(
                content,
                name,
                {**headers, "ETag": f'"{git_sha1(content.read(0, content.size))}"'},
            )
        linked = {
            "ETag": f'"{content.sha256}"',
            "X-Linked-ETag": f'"{content.sha256}"',
            "X-Linked-Size": str(said.get("size", content.size)),
        }
        target = {
            "no-redirect-target": None,
            "to-file": "file:///etc/passwd",
            "loop": self.seen.path,
        }.get(self.fault, "")
        where = self.hub.sign(repo, name, content) if target == "" else target
        return self._reply(
            302, b"", {**headers, **linked, **({"Location": where} if where else {})}
        )

    def _storage(self, target: str, body: bytes) -> None:
        serial = int(urlsplit(target).path.rsplit("/", 1)[-1])
        repo, name, content = self.hub.signed[serial]
        self._arrived("storage", target, repo, name)
        if self._struck("storage", f"{repo}/{name}"):
            return None
        if self.fault == "expired":
            self.hub.dead.add(serial)
        if serial in self.hub.dead:
            return self._reply(
                403,
                b"<Error><Code>AccessDenied</Code><Message>Request has"
                b" expired</Message></Error>",
            )
        return self._bytes(
            content, name, {"ETag": f'"{content.sha256}"', "Accept-Ranges": "bytes"}
        )

    # What is answered.

    def _arrived(self, place: str, path: str, repo: str, name: str) -> None:
        wanted = self.headers.get("range", "").removeprefix("bytes=").split("-")
        asked = (
            (int(wanted[0]), int(wanted[1]) + 1)
            if len(wanted) == 2 and all(wanted)
            else None
        )
        token = self.headers.get("authorization", "").removeprefix("Bearer ") or None
        self.seen = Seen(place, self.method, path, repo, name, asked, token)
        self.hub.seen.append(self.seen)

    def _struck(self, place: str, name: str) -> bool:
        """Apply a fault that answers by itself; the others are remembered for the
        answer.
        """
        wait = self.hub.quotas.wait(place) if self.hub.quotas else 0.0
        if wait:
            self._refuse(wait)
            return True
        with self.hub.lock:
            fault = next(
                (fault for fault in self.hub.faults if fault.strikes(place, name)), None
            )
        self.fault = fault.kind if fault else None
        if self.fault == "429":
            self._refuse(fault.wait)
        elif self.fault in ("403", "404"):
            self._reply(int(self.fault), b"not here")
        elif self.fault in ("500", "503"):
            self._reply(int(self.fault), b"busy")
        elif self.fault == "drop":
            raise _HangUpError
        elif self.fault == "garbled":
            self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
            raise _HangUpError
        elif self.fault == "page":
            self._reply(
                200,
                b"<html>please log in to the hotel's network</html>",
                {"Content-Type": "text/html"},
            )
        else:
            return False
        return True

    def _refuse(self, wait: float) -> None:
        """Say that a quota is used up, for so many seconds."""
        headers = {
            "Retry-After": f"{wait:g}",
            "RateLimit": f'"resolvers";r=0;t={wait:g}',
        }
        self._reply(429, b"", headers)

    def _bytes(self, content: Content, name: str, headers: Headers) -> None:
        """The bytes that were asked for, or what the fault makes of them."""
        size = content.size
        start = 0
        end = size
        status = 200
        if self.seen.range and self.fault != "ignore-range":
            start = self.seen.range[0]
            end = min(self.seen.range[1], size)
            if start >= size:
                self._reply(416, b"", {"Content-Range": f"bytes */{size}"})
                return
            if self.fault == "short":
                end -= (end - start + 1) // 2
            status = 206
            headers = {
                **headers,
                "Content-Range": self._content_range(start, end, size),
            }
        extra = bytes(64) if self.fault == "long" else b""
        self._head(status, end - start + len(extra), headers)
        if self.method == "HEAD":
            return
        broken_off = self.fault in ("cut", "stall")
        self._send(content, start, start + (end - start) // 2 if broken_off else end)
        self.wfile.write(extra)
        if self.fault == "stall":
            self.wfile.flush()
            self.hub.over.wait(60)
        if broken_off:
            raise _HangUpError

    def _content_range(self, start: int, end: int, size: int) -> str:
        shift = 1 if self.fault == "wrong-range" else 0
        total = size + 7 if self.fault == "other-size" else size
        return f"bytes {start + shift}-{end + shift - 1}/{total}"

    def _send(self, content: Content, start: int, stop: int) -> None:
        """Send the bytes from start to stop, no faster than the hub's rate."""
        piece_size = int(min(PIECE, max(1 << 14, self.hub.rate / 20)))
        for first in range(start, stop, piece_size):
            piece = content.read(first, min(piece_size, stop - first))
            if self.fault == "flip" and first == start:
                piece = bytes([piece[0] ^ 1]) + piece[1:]
            self.wfile.write(piece)
            self.seen.sent += len(piece)
            if piece_size < PIECE:
                self.wfile.flush()
                time.sleep(len(piece) / self.hub.rate)

    def _json(self, value: object, name: str = "") -> None:
        if name:
            self._arrived("api", name, "", name)
        self._reply(
            200, json.dumps(value).encode(), {"Content-Type": "application/json"}
        )

    def _error(self, status: int, code: str, headers: Headers | None = None) -> None:
        self._reply(
            status,
            json.dumps({"error": code}).encode(),
            {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})},
        )

    def _reply(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        self._head(status, len(body), headers or {})
        if self.method != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, length: int, headers: Headers) -> None:
        self.seen.status = status
        lines = [
            f"HTTP/1.1 {status} {REASONS.get(status, 'No')}",
            f"Content-Length: {length}",
            *(f"{key}: {value}" for key, value in headers.items()),
        ]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))


class _HangUpError(Exception):
    """The connection ends here."""


def _leaf(entry: dict) -> dict:
    """The entry as the tree calls it."""
    lfs = (
        {"lfs": {**entry["lfs"], "oid": entry["lfs"]["sha256"]}}
        if "lfs" in entry
        else {}
    )
    return {
        "type": "file",
        "path": entry["rfilename"],
        "oid": entry["blobId"],
        "size": entry["size"],
        **lfs,
    }


def _entry(name: str, content: Content, said: dict) -> dict:
    size = said.get("size", content.size)
    if is_lfs(name):
        sha256 = said.get("sha256", content.sha256)
        return {
            "rfilename": name,
            "size": size,
            "blobId": sha256[:40],
            "lfs": {"sha256": sha256, "size": size, "pointerSize": 134},
        }
    blob = (
        git_sha1(content.read(0, content.size)) if content.size <= SMALL else "0" * 40
    )
    return {"rfilename": name, "size": size, "blobId": said.get("blobId", blob)}
