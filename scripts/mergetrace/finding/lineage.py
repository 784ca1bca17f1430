"""Declared beside found: what the suspect's card says of its parents, what the weights
say, what an honest card would say.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from mergetrace.finding.wording import named

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

Manifests = Mapping[str, Mapping[str, Any]]


def found_parents(verdict: Mapping[str, Any]) -> list[str]:
    """The models that the verdict names: donors, and the base where it holds a share of
    its own.
    """
    base = verdict["base"]
    parts = (
        "merge",
        "other_merge",
        "merge_then_trained",
    )  # in which the base is one of those that were put together
    return [
        *named(verdict),
        *(
            [base["name"]]
            if base["share"] or (verdict["verdict"] in parts and base["share"] is None)
            else []
        ),
    ]


def on_card(verdict: Mapping[str, Any], manifests: Manifests) -> dict[str, bool]:
    """Every parent found, and whether the suspect's card has an entry of its name:
    short name, repository, or the repository's last part.
    """
    entries = {
        part.casefold()
        for entry in verdict["declared"]["base_model"] or []
        for part in (entry, entry.rsplit("/", 1)[-1])
    }
    result = {}
    for model in found_parents(verdict):
        repo = _source(manifests, model).get("repo") or model
        result[model] = bool(
            {name.casefold() for name in (model, repo, repo.rsplit("/", 1)[-1])}
            & entries
        )
    return result


def undeclared(verdict: Mapping[str, Any], manifests: Manifests) -> list[str]:
    """The parents that an accusing verdict names and the suspect's card does not. The
    base of an innocent finetune is not meant.
    """
    if not named(verdict):
        return []
    return [
        model for model, listed in on_card(verdict, manifests).items() if not listed
    ]


def honest_card(verdict: Mapping[str, Any], manifests: Manifests) -> str | None:
    """The YAML that a card would carry if it said what was found; None where no parent
    is established or the Hub has no word for it.
    """
    relation = RELATIONS.get(verdict["verdict"])
    parents = found_parents(verdict)
    if relation is None or not parents:
        return None
    if verdict["verdict"] == "finetune_of_donor":
        parents = named(verdict)
    repos = [_source(manifests, model).get("repo") for model in parents]
    note = (
        ""
        if all(repos)
        else "# names of this audit: put the repositories in their place\n"
    )
    entries = [repo or model for repo, model in zip(repos, parents, strict=True)]
    return note + yaml.safe_dump(
        {"base_model": entries, "base_model_relation": relation}, sort_keys=False
    )


def licences(
    verdict: Mapping[str, Any],
    manifests: Manifests,
    known: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """What the licences of the parents found ask, one entry per licence: models,
    licence (as the cards say), name, url, asks.

    known: scripts/mergetrace/data/licences.yaml; asks is None for a licence that is not in it.
    """
    by_licence: dict[str | None, list[str]] = {}
    for model in found_parents(verdict):
        by_licence.setdefault(
            manifests[model]["declared"]["license"] if model in manifests else None, []
        ).append(model)
    rows = []
    for said, models in by_licence.items():
        about = known.get((said or "").casefold(), {})
        rows.append(
            {
                "models": models,
                "licence": said,
                **{key: about.get(key) for key in ("name", "url", "asks")},
            }
        )
    return rows


def _source(manifests: Manifests, model: str) -> Mapping[str, Any]:
    return manifests[model]["source"] if model in manifests else {}
