"""Since when a repository holds its weights, as the Hub lists it up to the pinned
commit.

Commit dates are set by whoever pushes, and a history can be written anew; only the day
the Hub made the repository cannot be chosen. So a repository's dates are the widest
that its history allows: `first` is never before the repository and falls back on it
wherever the commit that brought the weights is not known, `last` is no earlier than any
commit that the weights' last one builds on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import (
    build_hf_headers,
    get_session,
    hf_raise_for_status,
    parse_datetime,
)

from mergetrace import __version__
from mergetrace.hub.pinned import Answer, Pinned, client, patiently
from mergetrace.timestamps import LOWEST, span, written

MAX_TREES = 20  # of the oldest commits are searched for weights
MAX_PAGES = 20  # of commits are fetched, 50 on each
MAX_WEIGHTS = 1000  # weight files whose last commit is asked for
AT_A_TIME = 50  # of them in one request, as the Hub pages them
NEARLY = timedelta(
    minutes=1
)  # the first commit is made with the repository, and may be dated a moment before it
BEGINS = timedelta(
    days=1
)  # after the repository: a history that begins later has been written anew

ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack")
STATES = ("training_args", "optimizer", "scheduler", "rng_state", "scaler")
"""How files begin that end like weights and hold the state of a training."""


@dataclass(frozen=True)
class Commit:
    """A commit as the Hub lists it."""

    id: str
    date: datetime


class _UnknownError(Exception):
    """Why something is not known, as the end of a sentence."""


def dated(pinned: Pinned) -> Pinned:
    """`pinned` with `published` and what must be said of it. Asks a few times; what the
    Hub does not answer is missing, never an error.
    """
    if pinned.created is None:
        return replace(
            pinned,
            remarks=[
                f"{pinned.repo}: the Hub does not say when it was made, so its commits'"
                " dates are not used either."
            ],
        )
    made = written(datetime.fromisoformat(pinned.created))
    remarks = []
    created = span(made)[0]
    try:
        commits, whole = _history(pinned)
    except _UnknownError as why:
        commits = []
        whole = False
        remarks.append(
            f"{pinned.repo}: its history is not known ({why}); its weights count from"
            f" the day it was made, {_day(created)}."
        )
    first = created
    if commits:
        try:
            first = _first(pinned, commits, whole, created)
        except _UnknownError as why:
            remarks.append(
                f"{pinned.repo}: when it first held weights is not known ({why}); they"
                f" count from the day it was made, {_day(created)}."
            )
    last, remark = _last(pinned, commits, created)
    remarks += [remark] if remark else []
    if made != LOWEST:
        early = min(first, last or first)
        if created - early > NEARLY:
            remarks.append(
                f"{pinned.repo}: its weights are dated {_day(early)}, before it was"
                f" made on {_day(created)}; whoever pushes can set such a date, and"
                " that of the repository is used."
            )
        first = max(first, created)
    last = max(last, first, created) if last else None
    published = {
        "first": written(first),
        "last": written(last) if last else None,
        "created": made,
    }
    return replace(pinned, remarks=remarks, published=published)


def is_weights(name: str) -> bool:
    """Whether a file holds weights, in any of the formats in which models are
    published.
    """
    own = name.rsplit("/", 1)[-1]
    return own.endswith(ENDINGS) and not own.startswith(STATES)


def _first(
    pinned: Pinned, commits: Sequence[Commit], whole: bool, created: datetime
) -> datetime:
    """The date of the commit that brought the first weights. commits: newest first;
    whole: whether they are all.
    """
    if not whole:
        raise _UnknownError(f"it has more than {len(commits)} commits")
    oldest = commits[::-1]
    if oldest[0].date - created > BEGINS:
        raise _UnknownError(
            f"the history that is there begins only on {_day(oldest[0].date)}"
        )
    for commit in oldest[:MAX_TREES]:
        info = _told(
            lambda commit=commit: client().model_info(
                pinned.repo, revision=commit.id, timeout=60
            )
        )
        if any(is_weights(sibling.rfilename) for sibling in info.siblings or []):
            return commit.date
    raise _UnknownError(
        f"none are in the oldest {min(MAX_TREES, len(oldest))} of its {len(oldest)}"
        " commits"
    )


def _last(
    pinned: Pinned, commits: Sequence[Commit], created: datetime
) -> tuple[datetime | None, str | None]:
    """The date of the newest commit that changed a weight file, and what must be said
    of it.

    It is no earlier than any commit that this one builds on. Where the files' commits are not known it is that of the newest of all; None
    where no commit is known.
    """
    try:
        changed = _last_commits(pinned)
    except _UnknownError as why:
        if not commits:
            return (
                None,
                (
                    f"{pinned.repo}: when its weights were last changed is not known"
                    f" ({why}); it is not said to be older than another model."
                ),
            )
        newest = max(commit.date for commit in commits)
        return (
            newest,
            (
                f"{pinned.repo}: when its weights were last changed is not known"
                f" ({why}); its newest commit counts, {_day(newest)}."
            ),
        )
    last = max(commit.date for commit in changed)
    ids = {commit.id for commit in changed}
    places = [place for place, commit in enumerate(commits) if commit.id in ids]
    latest = (
        max((commit.date for commit in commits[min(places) :]), default=last)
        if places
        else last
    )
    if latest - max(last, created) <= NEARLY:
        return max(last, latest), None
    return (
        latest,
        (
            f"{pinned.repo}: its weights' last commit is dated {_day(last)}, but builds"
            f" on one of {_day(latest)}; whoever pushes can set such a date, and the"
            " later one is used."
        ),
    )


def _last_commits(pinned: Pinned) -> list[Commit]:
    """The last commit of every weight file."""
    names = sorted(filter(is_weights, pinned.files))
    if not 0 < len(names) <= MAX_WEIGHTS:
        raise _UnknownError(f"it holds {len(names)} weight files")
    found = {}
    for start in range(0, len(names), AT_A_TIME):
        part = names[start : start + AT_A_TIME]
        infos = _told(
            lambda part=part: client().get_paths_info(
                pinned.repo, part, expand=True, revision=pinned.commit
            )
        )
        found |= {info.path: info.last_commit for info in infos}
    if not all(found.get(name) for name in names):
        raise _UnknownError("the Hub does not say so of every weight file")
    return [Commit(found[name].oid, found[name].date) for name in names]


def _history(pinned: Pinned) -> tuple[list[Commit], bool]:
    """The commits up to the pinned one, newest first, and whether they are all."""
    commits: list[Commit] = []
    address: str | None = (
        f"{client().endpoint}/api/models/{pinned.repo}/commits/{pinned.commit}"
    )
    for _ in range(MAX_PAGES):
        page, address = _told(lambda address=address: _page(address))
        commits += page
        if not address:
            break
    if not commits:
        raise _UnknownError("the Hub lists no commit")
    return commits, not address


def _page(address: str) -> tuple[list[Commit], str | None]:
    """One page of commits and the address of the next one, on the same endpoint
    whatever the reply says: the token goes nowhere else.

    The client's own way fetches all pages, however many, and waits between them for as
    long as it is told to.
    """
    headers = build_hf_headers(library_name="mergetrace", library_version=__version__)
    response = get_session().get(address, headers=headers, timeout=60)
    hf_raise_for_status(response)
    commits = [
        Commit(str(entry["id"]), parse_datetime(entry["date"]))
        for entry in response.json()
    ]
    following = urlsplit(response.links.get("next", {}).get("url", ""))
    if not following.query:
        return commits, None
    return (
        commits,
        f"{client().endpoint}/api/{following.path.partition('/api/')[2]}?{following.query}",
    )


def _told(ask: Callable[[], Answer]) -> Answer:
    """What the Hub answers. Raises _UnknownError where it refuses, cannot be reached,
    or says what cannot be understood.
    """
    try:
        return patiently(ask)
    except HfHubHTTPError as error:
        raise _UnknownError(
            f"the Hub answers with status {error.response.status_code}"
        ) from None
    except (
        Exception
    ) as error:  # its HTTP client's own errors, and whatever a mirror may say
        raise _UnknownError(
            f"the Hub cannot be understood: {type(error).__name__}"
        ) from None


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
