"""Declared beside found: what the suspect's card says of its parents, what the weights
say, what an honest card would say.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

import yaml

from mergetrace.merging.model_names import matched, offered_models
from mergetrace.records.manifest import Manifests
from mergetrace.records.verdict import BaseDeclared, Verdict

RELATIONS = {
    "merge": "merge",
    "other_merge": "merge",
    "merge_then_trained": "merge",
    "finetune_of_donor": "finetune",
    "finetune_of_base": "finetune",
}
"""The Hub's word for each verdict
(https://huggingface.co/docs/hub/model-cards#specifying-a-base-model); it has none for a
copy.
"""

PUT_TOGETHER = ("merge", "other_merge", "merge_then_trained")
"""The verdicts in which the base is one of the models that were put together."""


class KnownLicence(TypedDict):
    """What is known of one licence (scripts/mergetrace/data/licences.yaml)."""

    name: str
    """Its full name."""
    url: str
    """Where its text stands."""
    asks: list[str]
    """What it asks of those who pass on a changed copy."""


@dataclass(frozen=True)
class LicenceTerms:
    """One licence of some parents, and what it asks."""

    models: tuple[str, ...]
    """The parents that carry it."""
    licence: str | None
    """The licence as their cards say; None where they say nothing."""
    name: str | None
    """Its full name; None for a licence that is not in the list."""
    url: str | None
    """Where its text stands."""
    asks: tuple[str, ...] | None
    """What it asks of those who pass on a changed copy."""


def found_parents(verdict: Verdict) -> list[str]:
    """The models that the verdict names: donors, and the base where it holds a share of
    its own.
    """
    share = verdict.base.share
    unknown = share is None and verdict.verdict in PUT_TOGETHER
    base = [verdict.base.name] if share or unknown else []
    return [*verdict.named, *base]


def on_card(verdict: Verdict, manifests: Manifests) -> dict[str, bool]:
    """Every parent found, and whether the suspect's card has an entry of its name:
    short name, repository, or the repository's last part.
    """
    entries = set()
    for entry in verdict.declared.base_model or ():
        entries |= {entry.casefold(), entry.rsplit("/", 1)[-1].casefold()}
    listed = {}
    for model in found_parents(verdict):
        repo = _repository(manifests, model) or model
        names = {model, repo, repo.rsplit("/", 1)[-1]}
        listed[model] = bool({name.casefold() for name in names} & entries)
    return listed


def not_offered(
    entries: Iterable[str], manifests: Manifests, parents: Iterable[str]
) -> list[str]:
    """The entries of a card that mean none of the offered parents, or several."""
    sources = {name: dict(manifest["source"]) for name, manifest in manifests.items()}
    offered = offered_models(sources, [name for name in parents if name in sources])
    every = list(dict.fromkeys(entries))
    known = matched(every, offered)
    return [entry for entry in every if entry not in known]


def undeclared(verdict: Verdict, manifests: Manifests) -> list[str]:
    """The parents that an accusing verdict names and neither the suspect's card nor a
    merge's configuration in its folder does. The base of an innocent finetune is not
    meant, but where it was all that was asked for (`base_declared`).
    """
    if not verdict.named:
        return [verdict.base.name] if verdict.base_declared == "not named" else []
    listed = on_card(verdict, manifests)
    in_folder = _in_declared_merges(verdict, manifests, listed)
    return [
        model
        for model, is_listed in listed.items()
        if not is_listed and model not in in_folder
    ]


def base_declared(verdict: Verdict, manifests: Manifests) -> BaseDeclared | None:
    """Whether the suspect's card or configuration names the base, where no donor was
    offered and the base is what was found; else None.
    """
    found = verdict.verdict in ("copy", "finetune_of_base")
    if verdict.parents or not found:
        return None
    base = verdict.base.name
    declared = verdict.declared
    names = [*(declared.base_model or ()), *filter(None, [declared.config_names])]
    parents = {base: None}
    in_merges = _in_declared_merges(verdict, manifests, parents)
    if in_merges or len(not_offered(names, manifests, parents)) < len(names):
        return "named"
    return "not named" if declared.has_card else "no card"


def _in_declared_merges(
    verdict: Verdict, manifests: Manifests, parents: Iterable[str]
) -> set[str]:
    """The parents that a merge's configuration in the suspect's folder names."""
    names = [name for merge in verdict.declared.merges for name in merge.models]
    sources = {
        name: dict(manifests[name]["source"]) if name in manifests else {}
        for name in parents
    }
    return set(matched(names, offered_models(sources, sources)).values())


def honest_card(verdict: Verdict, manifests: Manifests) -> str | None:
    """The YAML that a card would carry if it said what was found; None where no parent
    is established or the Hub has no word for it.
    """
    relation = RELATIONS.get(verdict.verdict)
    parents = found_parents(verdict)
    if relation is None or not parents:
        return None
    if verdict.verdict == "finetune_of_donor":
        parents = verdict.named
    repositories = [_repository(manifests, model) for model in parents]
    note = "# names of this audit: put the repositories in their place\n"
    if all(repositories):
        note = ""
    names = zip(repositories, parents, strict=True)
    entries = [repository or model for repository, model in names]
    card: str = yaml.safe_dump(
        {"base_model": entries, "base_model_relation": relation}, sort_keys=False
    )
    return note + card


def licences(
    verdict: Verdict, manifests: Manifests, known: Mapping[str, KnownLicence]
) -> list[LicenceTerms]:
    """What the licences of the parents found ask, one entry per licence.

    known: by licence its name, url and asks (scripts/mergetrace/data/licences.yaml).
    """
    by_licence: dict[str | None, list[str]] = {}
    for model in found_parents(verdict):
        manifest = manifests.get(model)
        licence = manifest["declared"]["license"] if manifest else None
        by_licence.setdefault(licence, []).append(model)
    terms = []
    for licence, models in by_licence.items():
        about = known.get((licence or "").casefold())
        row = LicenceTerms(tuple(models), licence, None, None, None)
        if about is not None:
            row = replace(
                row, name=about["name"], url=about["url"], asks=tuple(about["asks"])
            )
        terms.append(row)
    return terms


def _repository(manifests: Manifests, model: str) -> str | None:
    """The repository that a model was taken from."""
    manifest = manifests.get(model)
    return manifest["source"]["repo"] if manifest else None
