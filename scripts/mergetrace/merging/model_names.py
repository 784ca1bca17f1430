"""Which offered model a stranger means: names of repositories and folders, compared with
where the models of an audit come from.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CACHED = re.compile(r"models--([^/]+?)--([^/]+)")
"""A folder of the Hub's cache on somebody's disk: its repository's owner and name."""
WEB = re.compile(r"^https?://[^/]+/")


@dataclass(frozen=True)
class Offered:
    """A model of the audit, and where it comes from."""

    name: str
    """Its name in the audit."""
    repo: str | None = None
    """Its repository."""
    path: str | None = None
    """Its folder."""
    revisions: tuple[str, ...] = ()
    """The branch or tag that was asked for, and the commit that was read."""

    @property
    def full(self) -> set[str]:
        """What it is called in full."""
        return {_folded(name) for name in (self.name, self.repo, self.path) if name}

    @property
    def last(self) -> set[str]:
        """The last parts of what it is called."""
        return {name.rsplit("/", 1)[-1] for name in self.full}


def matched(names: Iterable[str], offered: Iterable[Offered]) -> dict[str, str]:
    """By name the offered model that it means, where there is exactly one: by its full
    name, else by the last part of that. Case, a trailing slash and `@revision` do not
    count, but for a revision that tells two models apart.

    A model that an adapter was applied to (`model+adapter`) is none that is offered.
    """
    models = list(offered)
    found = {}
    for name in names:
        model = _match(name, models)
        if model is not None:
            found[name] = model.name
    return found


def offered_models(
    sources: Mapping[str, Mapping[str, object]], names: Iterable[str]
) -> list[Offered]:
    """The models of an audit that these are. sources: by model `source` of its manifest."""
    found = []
    for name in names:
        source = sources[name]
        texts = [source.get(key) for key in ("repo", "path", "revision", "commit")]
        repo, path, *revisions = (
            text if isinstance(text, str) else None for text in texts
        )
        known = tuple(revision for revision in revisions if revision)
        found.append(Offered(name, repo, path, known))
    return found


def _match(name: str, models: list[Offered]) -> Offered | None:
    if "+" in name and not any(_folded(name) in model.full for model in models):
        return None
    place, revision = _parted(name)
    exact = [model for model in models if place in model.full]
    if len(exact) > 1 and revision:
        exact = [model for model in exact if revision in model.revisions]
    if exact:
        return exact[0] if len(exact) == 1 else None
    last = place.rsplit("/", 1)[-1]
    alike = [model for model in models if last and last in model.last]
    return alike[0] if len(alike) == 1 else None


def _parted(name: str) -> tuple[str, str | None]:
    """The name to compare, and its revision."""
    cached = CACHED.search(name)
    if cached:
        return _folded(f"{cached[1]}/{cached[2]}"), None
    place, at, revision = name.partition("@")
    return _folded(place), revision if at else None


def _folded(name: str) -> str:
    """A name without what does not tell models apart."""
    plain = WEB.sub("", name.strip()).replace("\\", "/").rstrip("/")
    return plain.removeprefix("./").casefold()
