"""Audits of planted models: the stages of the workflow, in this process.

Every verdict is given here, also those that a default configuration holds back: tests
and benchmarks look at the rules themselves.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from mergetrace.configuration.reading import complete
from mergetrace.stages.audited_models import Places
from mergetrace.stages.auditing import Audit
from mergetrace.testing.planting import Tensors, write_model
from mergetrace.thresholds import Accusation

Source = Path | Mapping[str, str]
"""A folder, or an entry under `models`."""

ROOT = Path(__file__).parents[3]
"""The folder of the workflow."""


def audit(
    folder: Path, models: Mapping[str, Source], spec: Mapping[str, Any], **settings: Any
) -> dict[str, Any]:
    """Audit models and return verdict.json. The outputs lie in `folder`.

    models: by name a local folder, or the whole entry of the configuration. spec:
    suspect, base, donors, controls. settings: top-level configuration, such as mode or
    sampling, and `published`, dates by model.
    """
    return prepared(folder, models, spec, **settings).weigh()


def written_audit(
    folder: Path,
    models: Mapping[str, Tensors],
    donors: Sequence[str] = ("donor",),
    controls: Sequence[str] = ("sibling",),
    **settings: Any,
) -> dict[str, Any]:
    """Write models and audit `suspect` on `base`; see `audit`. models: tensors by name
    and model.
    """
    folders = {
        name: write_model(folder / "models" / name, tensors)
        for name, tensors in models.items()
    }
    spec = {
        "suspect": "suspect",
        "base": "base",
        "donors": [*donors],
        "controls": [*controls],
    }
    return audit(folder / "audit", folders, spec, **settings)


def prepared(
    folder: Path, models: Mapping[str, Source], spec: Mapping[str, Any], **settings: Any
) -> Audit:
    """The audit of `audit` before it begins, or after it, to go on with."""
    limits = {"accuse_with": list(get_args(Accusation)), **settings.pop("verdict", {})}
    dates = settings.pop("published", {})
    sources: dict[str, dict[str, str]] = {}
    for name, source in models.items():
        entry = source if isinstance(source, Mapping) else {"path": str(source)}
        sources[name] = dict(entry)
        if name in dates:
            sources[name]["published"] = dates[name]
    raw = {
        "models": sources,
        "audits": {"x": dict(spec)},
        "mode": "full",
        "verdict": limits,
        "probe": {"enabled": False},
        **settings,
    }
    return Audit(complete(raw), "x", Places(folder, folder / "models"))


def rebuild(
    folder: Path,
    models: Mapping[str, Source],
    suspect: str,
    when: str = "auto",
    whole_elements: int = 1 << 26,
    mode: str = "full",
) -> dict[str, Any]:
    """Rebuild the suspect of an audit that lies in `folder`; returns rebuild.json.

    models: the suspect and the parents of the audit.
    """
    others = [model for model in models if model != suspect]
    spec = {"suspect": suspect, "base": others[0], "donors": others[1:]}
    how = {"enabled": when, "whole_elements": whole_elements}
    return prepared(folder, models, spec, mode=mode, rebuild=how).rebuild()


def arrange(made: Path, results: Path, name: str) -> Path:
    """Copy the outputs of `audit` to where the workflow keeps those of an audit of this
    name; returns that folder.
    """
    shutil.copytree(made / "models", results / "models", dirs_exist_ok=True)
    own = results / name
    shutil.copytree(made, own, ignore=shutil.ignore_patterns("models"))
    return own
