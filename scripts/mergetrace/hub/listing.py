"""What the Hub says of many models without a byte of their weights: lists by tag and by
size, one model's tags and card.

All of it is said by strangers: it is bounded, and believed nowhere.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
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
from mergetrace.hub.pinned import Pinned, checked, client, patiently

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


def why_not(error: NetworkError) -> str:
    """Why a repository cannot be asked, as the scan's codes say it."""
    kinds = {MissingError: "missing", GatedError: "gated", RefusedError: "refused"}
    return kinds.get(type(error), "unreachable")


def listing(
    filters: Iterable[str], most: int, parameters: str | None = None
) -> list[Listed]:
    """The repositories that bear all these tags, most downloads first. parameters: their
    number, as `min:6B,max:8B`.
    """

    def ask() -> list[Any]:
        found = client().list_models(
            filter=list(filters),
            num_parameters=parameters,
            sort="downloads",
            limit=most,
            expand=list(EXPANDED),  # type: ignore[arg-type]  # the client has a Literal
        )
        return list(islice(found, most))

    return [each for each in map(listed, answered(ask)) if each is not None]


def about(repo: str) -> Listed:
    """One repository. MissingError where there is none."""

    def ask() -> Any:
        return client().model_info(repo, timeout=60)

    found = listed(answered(ask))
    if found is None:
        raise MissingError(f"{repo}: the Hub's answer cannot be understood")
    return found


def details(repo: str, commit: str) -> tuple[Listed, Pinned]:
    """A repository at a commit, with its files. MissingError where there is none."""

    def ask() -> Any:
        return client().model_info(
            repo, revision=commit, files_metadata=True, timeout=60
        )

    info = answered(ask)
    found = listed(info)
    if found is None:
        raise MissingError(f"{repo}: the Hub's answer cannot be understood")
    return found, checked(repo, commit, info)


def listed(info: Any) -> Listed | None:
    """What the client was told, bounded; None where it is no repository at a commit."""
    repo, commit = info.id, info.sha
    if not isinstance(repo, str) or not re.fullmatch(REPOSITORY, repo):
        return None
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{40}", commit):
        return None
    tags = [fact(tag) for tag in (info.tags or [])[:MAX_TAGS] if isinstance(tag, str)]
    card = info.card_data.to_dict() if info.card_data else {}
    parents, relation = _parents(tags, card)
    return Listed(
        repo=repo,
        commit=commit,
        created=info.created_at.isoformat() if info.created_at else None,
        gated=bool(info.gated),
        private=bool(info.private),
        parents=parents,
        relation=relation,
        licence=_licence(tags, card),
        architecture=_architecture(info),
        parameters=_parameters(info),
    )


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


def _architecture(info: Any) -> str | None:
    config = info.config if isinstance(info.config, dict) else {}
    kind = config.get("model_type")
    return fact(kind) if isinstance(kind, str) else None


def _parameters(info: Any) -> int | None:
    total = getattr(info.safetensors, "total", None)
    return total if type(total) is int else None
