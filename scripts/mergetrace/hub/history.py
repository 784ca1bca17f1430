"""Since when a repository holds its weights, as the Hub lists it up to the pinned
commit.

Commit dates are set by whoever pushes, and a history can be rewritten; only the day on
which the Hub made the repository cannot be chosen. So a repository's dates are the
widest that its history allows: `first` is never before the repository was made, and is
that day wherever the commit that brought the weights is not known; `last` is no earlier
than any commit that the weights' last one builds on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import (
    get_session,
    hf_raise_for_status,
    parse_datetime,
)

from mergetrace.hub import answers
from mergetrace.hub.answers import client
from mergetrace.hub.pinned import Answer, Pinned, patiently
from mergetrace.timestamps import LOWEST, span, written

MAX_TREES = 20  # oldest commits that are searched for weights
MAX_PAGES = 20  # of commits that are fetched, 50 on each
MAX_WEIGHT_FILES = 1000  # of which the last commit is asked for
FILES_PER_REQUEST = 50  # as the Hub pages them
# The first commit is made with the repository, and may be dated a moment before it.
CLOCK_TOLERANCE = timedelta(minutes=1)
# A history that begins later than this after the repository has been rewritten.
MAX_LATE_BEGINNING = timedelta(days=1)

WEIGHT_ENDINGS = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".gguf",
    ".h5",
    ".msgpack",
)
TRAINING_STATES = ("training_args", "optimizer", "scheduler", "rng_state", "scaler")
"""How the names of files begin that end like weights and hold the state of a training."""


@dataclass(frozen=True)
class Commit:
    """A commit as the Hub lists it."""

    id: str
    date: datetime  # set by whoever pushed it


@dataclass(frozen=True)
class History:
    """The commits that the Hub lists up to the pinned one."""

    commits: Sequence[Commit]  # newest first
    complete: bool  # whether these are all


class _UnknownError(Exception):
    """Why something is not known, as the end of a sentence."""


def dated(pinned: Pinned) -> Pinned:
    """The repository with its `published` dates, and remarks on them for the reader.

    Asks the Hub a few times; what it does not answer is missing, never an error.
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
    history = History([], complete=False)
    try:
        history = _history(pinned)
    except _UnknownError as why:
        remarks.append(
            f"{pinned.repo}: its history is not known ({why}); its weights count from"
            f" the day it was made, {_day(created)}."
        )
    first = created
    if history.commits:
        try:
            first = _first(pinned, history, created)
        except _UnknownError as why:
            remarks.append(
                f"{pinned.repo}: when it first held weights is not known ({why}); they"
                f" count from the day it was made, {_day(created)}."
            )
    last, remark = _last(pinned, history.commits, created)
    if remark:
        remarks.append(remark)
    if made != LOWEST:
        early = min(first, last or first)
        if created - early > CLOCK_TOLERANCE:
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


def commits_before(pinned: Pinned) -> Sequence[Commit]:
    """The commits before the pinned one, newest first; none where they are not known."""
    try:
        return _history(pinned).commits[1:]
    except _UnknownError:
        return []


def is_weights(name: str) -> bool:
    """Whether a file holds weights, in any of the formats in which models are
    published.
    """
    file_name = name.rsplit("/", 1)[-1]
    is_state = file_name.startswith(TRAINING_STATES)
    return file_name.endswith(WEIGHT_ENDINGS) and not is_state


def _first(pinned: Pinned, history: History, created: datetime) -> datetime:
    """The date of the commit that brought the first weights. created: when the
    repository was made.
    """
    oldest = history.commits[::-1]
    if not history.complete:
        raise _UnknownError(f"it has more than {len(oldest)} commits")
    if oldest[0].date - created > MAX_LATE_BEGINNING:
        raise _UnknownError(
            f"the history that is there begins only on {_day(oldest[0].date)}"
        )
    for commit in oldest[:MAX_TREES]:
        said = _answered(partial(answers.repository, pinned.repo, commit.id))
        names = (entry.get("rfilename") for entry in answers.objects(said, "siblings"))
        if any(isinstance(name, str) and is_weights(name) for name in names):
            return commit.date
    raise _UnknownError(
        f"none are in the oldest {min(MAX_TREES, len(oldest))} of its {len(oldest)}"
        " commits"
    )


def _last(
    pinned: Pinned, commits: Sequence[Commit], created: datetime
) -> tuple[datetime | None, str | None]:
    """The date of the newest commit that changed a weight file, and a remark on it for
    the reader.

    It is no earlier than any commit that this one builds on. Where the files' commits
    are not known it is that of the newest of all; None where no commit is known.
    """
    try:
        changed = _last_commits(pinned)
    except _UnknownError as why:
        if not commits:
            return None, (
                f"{pinned.repo}: when its weights were last changed is not known"
                f" ({why}); it is not said to be older than another model."
            )
        newest = max(commit.date for commit in commits)
        return newest, (
            f"{pinned.repo}: when its weights were last changed is not known"
            f" ({why}); its newest commit counts, {_day(newest)}."
        )
    last = max(commit.date for commit in changed)
    latest = _latest_beneath(commits, {commit.id for commit in changed}) or last
    if latest - max(last, created) <= CLOCK_TOLERANCE:
        return max(last, latest), None
    return latest, (
        f"{pinned.repo}: its weights' last commit is dated {_day(last)}, but builds"
        f" on one of {_day(latest)}; whoever pushes can set such a date, and the"
        " later one is used."
    )


def _latest_beneath(commits: Sequence[Commit], ids: set[str]) -> datetime | None:
    """The latest date among the newest commit with one of the ids and all that it
    builds on; None where no such commit is listed. commits: newest first.
    """
    places = [place for place, commit in enumerate(commits) if commit.id in ids]
    if not places:
        return None
    return max(commit.date for commit in commits[min(places) :])


def _last_commits(pinned: Pinned) -> list[Commit]:
    """The last commit of every weight file."""
    names = sorted(filter(is_weights, pinned.files))
    if not 0 < len(names) <= MAX_WEIGHT_FILES:
        raise _UnknownError(f"it holds {len(names)} weight files")
    commits: dict[str, Commit] = {}
    for start in range(0, len(names), FILES_PER_REQUEST):
        infos = _answered(
            partial(
                client().get_paths_info,
                pinned.repo,
                names[start : start + FILES_PER_REQUEST],
                expand=True,
                revision=pinned.commit,
            )
        )
        for info in infos:
            if info.last_commit:
                commits[info.path] = Commit(info.last_commit.oid, info.last_commit.date)
    if not all(name in commits for name in names):
        raise _UnknownError("the Hub does not say so of every weight file")
    return [commits[name] for name in names]


def _history(pinned: Pinned) -> History:
    """The commits up to the pinned one, from at most MAX_PAGES pages."""
    commits: list[Commit] = []
    address = f"{client().endpoint}/api/models/{pinned.repo}/commits/{pinned.commit}"
    following: str | None = address
    for _ in range(MAX_PAGES):
        page, following = _answered(partial(_page, address))
        commits += page
        if following is None:
            break
        address = following
    if not commits:
        raise _UnknownError("the Hub lists no commit")
    return History(commits, complete=following is None)


def _page(address: str) -> tuple[list[Commit], str | None]:
    """One page of commits and the address of the next one (None: this is the last), on
    the same endpoint whatever the reply says: the token goes nowhere else.

    The Hub's client itself would fetch all pages, however many, and wait between them
    for as long as the Hub asks.
    """
    response = get_session().get(
        address, headers=answers.headers(), timeout=answers.HUB_TIMEOUT_S
    )
    hf_raise_for_status(response)
    commits = [
        Commit(str(entry["id"]), parse_datetime(entry["date"]))
        for entry in response.json()
    ]
    following = urlsplit(response.links.get("next", {}).get("url", ""))
    if not following.query:
        return commits, None
    path = following.path.partition("/api/")[2]
    return commits, f"{client().endpoint}/api/{path}?{following.query}"


def _answered(ask: Callable[[], Answer]) -> Answer:
    """The Hub's answer. Raises _UnknownError where it refuses, cannot be reached, or
    cannot be understood.
    """
    try:
        return patiently(ask)
    except HfHubHTTPError as error:
        raise _UnknownError(
            f"the Hub answers with status {error.response.status_code}"
        ) from None
    # the HTTP client's own errors, and whatever a mirror may answer
    except Exception as error:
        raise _UnknownError(
            f"the Hub cannot be understood: {type(error).__name__}"
        ) from None


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
