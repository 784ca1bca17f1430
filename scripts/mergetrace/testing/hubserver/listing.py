"""What the local Hub says of its repositories beside their files: cards, tags, numbers
of parameters, and lists of repositories by filters.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import yaml

from mergetrace.testing.hubserver.content import Content, Repo

UNITS = {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
ALWAYS = ("_id", "id", "modelId")
MAX_PAGE = 1000
CARDS = 4096  # parsed ones that are remembered


def about(name: str, repo: Repo) -> dict[str, Any]:
    """Everything that the API says of a repository but its files."""
    said = {
        "_id": "0",
        "id": name,
        "modelId": name,
        "sha": repo.commit,
        "private": repo.private,
        "gated": "manual" if repo.gated else False,
        "tags": tags(repo),
        "cardData": card(repo.files),
        "config": {"model_type": _kind(repo)} if _kind(repo) else {},
        "downloads": repo.downloads,
    }
    total = parameters(repo)
    if total:
        said["safetensors"] = {"parameters": {"BF16": total}, "total": total}
    if repo.created:
        said["createdAt"] = repo.created
    return said | repo.says


def card(files: Mapping[str, Content]) -> dict[str, Any]:
    """The head of the model card."""
    content = files.get("README.md")
    return dict(_head(content.read(0, content.size).decode())) if content else {}


@lru_cache(CARDS)
def _head(text: str) -> dict[str, Any]:
    """The YAML at the beginning of a card."""
    if not text.startswith("---"):
        return {}
    try:
        head = yaml.safe_load(text[3:].split("\n---", 1)[0])
    except yaml.YAMLError:
        return {}
    # YAML reads days as dates, which JSON does not know
    return json.loads(json.dumps(head, default=str)) if isinstance(head, dict) else {}


def tags(repo: Repo) -> list[str]:
    """As the Hub makes them of files and card."""
    head = card(repo.files)
    found = list(repo.tags)
    if any(name.endswith(".safetensors") for name in repo.files):
        found.append("safetensors")
    kind = _kind(repo)
    found += [kind] if kind else []
    if "license" in head:
        found.append(f"license:{head['license']}")
    bases = head.get("base_model", [])
    for base in [bases] if isinstance(bases, str) else bases:
        relation = head.get("base_model_relation", "finetune")
        found += [f"base_model:{base}", f"base_model:{relation}:{base}"]
    return found


def parameters(repo: Repo) -> int:
    """The numbers that its safetensors hold."""
    if repo.parameters is None:
        shards = (
            content
            for name, content in repo.files.items()
            if name.endswith(".safetensors")
        )
        repo.parameters = sum(map(_numbers, shards))
    return repo.parameters


def listed(
    repos: Mapping[str, Repo], query: Mapping[str, list[str]], token: str | None
) -> list[dict[str, Any]]:
    """The repositories that a question asks for, in its order, as the API lists them."""
    found = [
        about(name, repo) for name, repo in _visible(repos, token) if _fits(repo, query)
    ]
    search = query.get("search", [""])[0].lower()
    author = query.get("author", [""])[0]
    found = [
        each
        for each in found
        if search in each["id"].lower()
        and (not author or each["id"].startswith(f"{author}/"))
    ]
    key = query.get("sort", [""])[0]
    if key:
        found.sort(key=lambda each: (each.get(key) or 0, each["id"]), reverse=True)
    wanted = query.get("expand")
    if wanted:
        found = [
            {key: each[key] for key in (*ALWAYS, *wanted) if key in each}
            for each in found
        ]
    return found


def _visible(
    repos: Mapping[str, Repo], token: str | None
) -> Iterator[tuple[str, Repo]]:
    for name, repo in repos.items():
        is_open = not repo.private or token in (repo.tokens or ())
        if is_open and not repo.renamed_to:
            yield name, repo


def _fits(repo: Repo, query: Mapping[str, list[str]]) -> bool:
    """Whether a repository passes the filters."""
    held = set(tags(repo))
    if not held.issuperset(query.get("filter", [])):
        return False
    gated = query.get("gated", [""])[0].lower()
    if gated and (gated == "true") != repo.gated:
        return False
    bounds = query.get("num_parameters", [""])[0]
    total = parameters(repo) if bounds else 0
    for bound in filter(None, bounds.split(",")):
        kind, _, text = bound.partition(":")
        limit = _number(text)
        if (kind == "min" and total < limit) or (kind == "max" and total > limit):
            return False
    return True


def _number(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)([KMBT]?)", text)
    assert match, text
    return float(match[1]) * UNITS[match[2]]


def _numbers(content: Content) -> int:
    """The numbers of a safetensors file."""
    length = int.from_bytes(content.read(0, 8), "little")
    try:
        header = json.loads(content.read(8, length))
        return sum(
            math.prod(tensor["shape"])
            for name, tensor in header.items()
            if name != "__metadata__"
        )
    except (ValueError, KeyError, TypeError):
        return 0


def _kind(repo: Repo) -> str | None:
    content = repo.files.get("config.json")
    if content is None:
        return None
    try:
        return json.loads(content.read(0, content.size)).get("model_type")
    except ValueError:
        return None
