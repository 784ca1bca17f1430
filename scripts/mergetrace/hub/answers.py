"""What the Hub's API says of repositories, as plain JSON.

The client's own records of a repository are made of its whole card and refuse all of it
for one key that they cannot take. A card is written by whoever publishes a model: that
would end a scan that merely lists it, and the audit of the model itself.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from urllib.parse import quote

from huggingface_hub import HfApi
from huggingface_hub.utils import (
    build_hf_headers,
    get_session,
    hf_raise_for_status,
    paginate,
    parse_datetime,
    validate_repo_id,
)

from mergetrace import __version__

HUB_TIMEOUT_S = 60.0
MAX_SPAN = range(1970, 2101)  # years that a date may lie in


def client() -> HfApi:
    """The Hub's own client, with the user's token and endpoint."""
    return HfApi(library_name="mergetrace", library_version=__version__)


def repository(
    repo: str, revision: str | None = None, files: bool = False
) -> Mapping[str, Any]:
    """What the Hub says of a repository. files: sizes and hashes of its files too.

    Raises what the client raises, and ValueError where the answer is no object.
    """
    validate_repo_id(repo)
    at = f"/revision/{quote(revision, safe='')}" if revision else ""
    response = get_session().get(
        f"{client().endpoint}/api/models/{repo}{at}",
        headers=headers(),
        timeout=HUB_TIMEOUT_S,
        params={"blobs": True} if files else {},
    )
    hf_raise_for_status(response)
    said = response.json()
    if not isinstance(said, dict):
        raise ValueError("no object")
    return said


def repositories(question: Mapping[str, Any], most: int) -> list[Mapping[str, Any]]:
    """What the Hub says of the repositories that a question asks for. Raises as
    `repository`.
    """
    address = f"{client().endpoint}/api/models"
    entries = paginate(address, dict(question), headers())
    listed = list(islice(entries, most))
    said: list[Mapping[str, Any]] = [each for each in listed if isinstance(each, dict)]
    if listed and not said:
        raise ValueError("no list of objects")
    return said


def headers() -> dict[str, str]:
    """Those of a question, the user's token among them."""
    return build_hf_headers(library_name="mergetrace", library_version=__version__)


def created(said: Mapping[str, Any]) -> str | None:
    """When a repository was made, in ISO format; None where that is no date."""
    try:
        moment: datetime = parse_datetime(said["createdAt"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    return moment.isoformat() if moment.year in MAX_SPAN else None


def objects(said: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    """The objects that a list in an answer holds; none where it is no list."""
    found = said.get(key)
    entries = found if isinstance(found, list) else []
    return [entry for entry in entries if isinstance(entry, dict)]


def within(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object in an answer; empty where there is none."""
    found = said.get(key)
    return found if isinstance(found, dict) else {}
