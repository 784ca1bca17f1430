"""What can go wrong on the way, on demand."""

from dataclasses import dataclass

KINDS = (
    "403",  # refused
    "404",  # not offered here
    "429",  # too many requests, with Retry-After
    "500",
    "503",
    "cut",  # the connection ends in the middle of the body
    "drop",  # it ends before a reply
    "stall",  # half the body, then silence
    "ignore-range",  # the whole file with status 200
    "wrong-range",  # a Content-Range that is not what was asked
    "other-size",  # a Content-Range of a file of another size
    "short",  # fewer bytes than asked, honestly announced
    "long",  # more bytes than asked
    "flip",  # one bit differs
    "expired",  # the signed address is refused until a new one is asked for
    "page",  # a web page, status 200
    "garbled",  # a reply that is no HTTP
    "no-redirect-target",  # a redirect without a Location
    "to-file",  # a redirect to file:///etc/passwd
    "loop",  # a redirect to itself
    "other-commit",  # X-Repo-Commit of another commit
)


@dataclass
class Fault:
    """One kind of fault: at `place` (api, resolve, storage), in the requests whose path
    or file holds `match`, `times` times after `skip`.

    Of the API the path is owner/name/question: revision, commits, paths-info, tree.
    wait: seconds, of a 429's Retry-After.
    """

    kind: str
    place: str = "storage"
    match: str = ""
    times: int = 1
    skip: int = 0
    wait: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(self.kind)

    def strikes(self, place: str, name: str) -> bool:
        """Whether this request is hit; counts."""
        if place != self.place or self.match not in name or self.times <= 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True
