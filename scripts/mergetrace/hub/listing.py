"""What the Hub says of many models without a byte of their weights: lists by tag and by
size, one model's tags and card.

All of it is said by strangers: it is bounded, and believed nowhere.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from mergetrace.configuration.source import REPOSITORY
from mergetrace.errors import NetworkError
from mergetrace.formats.model_config import fact
from mergetrace.hub import answers
from mergetrace.hub.pinned import Pinned, checked, patiently

EXPANDED = ("sha", "createdAt", "tags", "gated", "private", "cardData", "safetensors")
MAX_TAGS = 1000
MAX_PARENTS = 20
ATTEMPTS = 12  # a quota is renewed after five minutes
RELATIONS = ("finetune", "merge", "adapter", "quantized")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Listed:
    """A repository as a list shows it."""

    repo: str
    commit: str
    created: str | None
    gated: bool
    private: bool
    parents: tuple[str, ...]  # which its card or its tags name as its base
    relation: str | None
    licence: str | None
    architecture: str | None
    parameters: int | None


class MissingError(NetworkError):
    """There is no such repository, or it is private."""


class GatedError(NetworkError):
    """Access must be asked for, and this token has none."""


class RefusedError(NetworkError):
    """The Hub does not hand it out: it was disabled, or is closed to this token."""


class OddAnswerError(NetworkError):
    """What the Hub says of it cannot be understood."""


def why_not(error: NetworkError) -> str:
    """Why a repository cannot be asked, as the scan's codes say it."""
    kinds = {
        MissingError: "missing",
        GatedError: "gated",
        RefusedError: "refused",
        OddAnswerError: "not_understood",
    }
    return kinds.get(type(error), "unreachable")


def listing(
    filters: Iterable[str], most: int, parameters: str | None = None
) -> tuple[list[Listed], list[str]]:
    """The repositories that bear all these tags, most downloads first, and the names of
    those of which nothing can be understood. parameters: their number, as
    `min:6B,max:8B`.
    """
    question: dict[str, Any] = {
        "filter": list(filters),
        "sort": "downloads",
        "limit": most,
        "expand": list(EXPANDED),
    }
    if parameters is not None:
        question["num_parameters"] = parameters
    found = []
    odd = []
    for said in answered(lambda: answers.repositories(question, most)):
        one = listed(said)
        if one is not None:
            found.append(one)
        else:
            odd.append(fact(str(said.get("id"))))
    return found, odd


def about(repo: str) -> Listed:
    """One repository. MissingError where there is none."""
    return _understood(repo, answered(lambda: answers.repository(repo)))


def details(repo: str, commit: str) -> tuple[Listed, Pinned]:
    """A repository at a commit, with its files. MissingError where there is none."""
    said = answered(lambda: answers.repository(repo, commit, files=True))
    found = _understood(repo, said)
    try:
        return found, checked(repo, commit, said)
    except NetworkError as error:
        raise OddAnswerError(str(error)) from None


def listed(said: Mapping[str, Any]) -> Listed | None:
    """What the Hub says, bounded; None where it is no repository at a commit."""
    repo, commit = said.get("id"), said.get("sha")
    if not isinstance(repo, str) or not re.fullmatch(REPOSITORY, repo):
        return None
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{40}", commit):
        return None
    stated = said.get("tags")
    texts = stated[:MAX_TAGS] if isinstance(stated, list) else []
    tags = [fact(tag) for tag in texts if isinstance(tag, str)]
    card = answers.within(said, "cardData")
    parents, relation = _parents(tags, card)
    return Listed(
        repo=repo,
        commit=commit,
        created=answers.created(said),
        gated=bool(said.get("gated")),
        private=bool(said.get("private")),
        parents=parents,
        relation=relation,
        licence=_licence(tags, card),
        architecture=_architecture(said),
        parameters=_parameters(said),
    )


def _understood(repo: str, said: Mapping[str, Any]) -> Listed:
    found = listed(said)
    if found is None:
        raise OddAnswerError(f"{repo}: the Hub's answer cannot be understood")
    return found


def answered(ask: Callable[[], Answer]) -> Answer:
    """The Hub's answer, asked patiently. NetworkError where it refuses, cannot be
    reached, or cannot be understood; of one repository one of its kinds says why.
    """
    try:
        return patiently(ask, ATTEMPTS)
    except GatedRepoError:
        raise GatedError("the repository is gated") from None
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
        # the client itself refuses names that no repository can have
        raise MissingError("the Hub has no such repository, or it is private") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        refused = 400 <= status < 500 and status != 429
        raise (RefusedError if refused else NetworkError)(
            f"the Hub answers with status {status}; run again later"
        ) from None
    # the HTTP client's own errors, and whatever a mirror may answer
    except Exception as error:
        raise NetworkError(
            f"the Hub at {constants.ENDPOINT} cannot be reached or understood"
            f" ({type(error).__name__}); is there a network?"
        ) from None


def _parents(
    tags: Iterable[str], card: Mapping[str, Any]
) -> tuple[tuple[str, ...], str | None]:
    """What tags and card name as a model's base, and how it was made of it."""
    named = card.get("base_model")
    texts = named if isinstance(named, list) else [named]
    found = [text for text in texts if isinstance(text, str)]
    relation = card.get("base_model_relation")
    for tag in tags:
        kind, _, rest = tag.removeprefix("base_model:").partition(":")
        if not tag.startswith("base_model:"):
            continue
        found.append(rest if kind in RELATIONS else tag.removeprefix("base_model:"))
        relation = relation or (kind if kind in RELATIONS else None)
    repos = [name for name in found if re.fullmatch(REPOSITORY, name)]
    relation = fact(relation) if isinstance(relation, str) else None
    return tuple(dict.fromkeys(repos))[:MAX_PARENTS], relation


def _licence(tags: Iterable[str], card: Mapping[str, Any]) -> str | None:
    stated = card.get("license")
    if isinstance(stated, str):
        return fact(stated)
    found = (tag for tag in tags if tag.startswith("license:"))
    return next((tag.removeprefix("license:") for tag in found), None)


def _architecture(said: Mapping[str, Any]) -> str | None:
    kind = answers.within(said, "config").get("model_type")
    return fact(kind) if isinstance(kind, str) else None


def _parameters(said: Mapping[str, Any]) -> int | None:
    total = answers.within(said, "safetensors").get("total")
    return total if type(total) is int else None
