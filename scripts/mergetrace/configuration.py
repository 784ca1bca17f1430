"""The configuration: checked against one schema, defaults filled in, mistakes answered
with the nearest valid name.
"""

import copy
import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from mergetrace import timestamps
from mergetrace.errors import AuditError
from mergetrace.outputs import read_yaml
from mergetrace.readable import shown_path


def load_schema(path: str | Path) -> dict[str, Any]:
    """Read the JSON schema (written as YAML) of the configuration."""
    return read_yaml(path)


def complete(config: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a checked copy of `config` with every default filled in.

    Raises AuditError naming the key, what was found and the nearest valid name.
    """
    config = copy.deepcopy(config)
    _write_dates(config.get("models"))
    errors = sorted(
        Draft202012Validator(schema).iter_errors(config),
        key=lambda error: (len(error.path), str(error.path)),
    )
    if errors:
        raise AuditError(_explain(errors[0]))
    _fill_defaults(config, schema)
    for name, audit in config["audits"].items():
        _check_audit(name, audit, config["models"])
        _check_endpoints(name, audit, config["probe"])
    _check_comparisons(config)
    return config


def bases(audit: dict[str, Any]) -> list[str]:
    """The base candidates of an audit, as a list even where there is one."""
    return [audit["base"]] if isinstance(audit["base"], str) else list(audit["base"])


def audited(audit: dict[str, Any]) -> list[str]:
    """The models an audit fits: the suspect first, then the controls."""
    return [audit["suspect"], *audit["controls"]]


def models_of(audit: dict[str, Any]) -> list[str]:
    """Every model of an audit once: suspect, controls, bases, donors."""
    return list(dict.fromkeys([*audited(audit), *bases(audit), *audit["donors"]]))


def check_sources(config: dict[str, Any], made: str) -> None:
    """Check that every audited model that is a local folder is there, or lies under
    `made`, where a rule makes it.

    Raises AuditError naming the first that is not, before any job starts.
    """
    for model in dict.fromkeys(
        model for audit in config["audits"].values() for model in models_of(audit)
    ):
        source = config["models"][model]
        if (
            "path" in source
            and not source["path"].startswith(made)
            and not Path(source["path"]).is_dir()
        ):
            raise AuditError(
                f"configuration: models.{model}.path: there is no folder"
                f" {source['path']}; give the one that holds config.json and"
                " *.safetensors"
            )


def stated_dates(config: dict[str, Any], models: Iterable[str]) -> dict[str, str]:
    """The dates of publication that the configuration states, by model."""
    return {
        model: config["models"][model]["published"]
        for model in models
        if config["models"][model].get("published")
    }


def published(config: dict[str, Any], audit: str, models: list[str]) -> dict[str, Any]:
    """One audit's part of a completed configuration, fit to be published.

    Of a local folder only its name is left (a path tells who its owner is), of an
    endpoint only the model's name there.
    """
    chosen = {model: dict(config["models"][model]) for model in models}
    for source in chosen.values():
        if source.get("path"):
            source["path"] = shown_path(source["path"])
    endpoints = {
        model: {"model": served["model"]}
        for model, served in config["probe"]["endpoints"].items()
        if model in models
    }
    probe = {
        **config["probe"],
        "prompts": "probe/prompts.jsonl",
        "endpoints": endpoints,
    }
    probe.pop("vllm_python", None)  # a path, too
    return {
        **config,
        "models": chosen,
        "audits": {audit: config["audits"][audit]},
        "comparisons": {},
        "probe": probe,
    }


def check_vllm(probe: dict[str, Any]) -> None:
    """Check that the Python is there that has vLLM. Raises AuditError."""
    if probe["enabled"] and not Path(probe["vllm_python"]).is_file():
        raise AuditError(
            "configuration: probe.backend is vllm, but there is no"
            f" {probe['vllm_python']}\n(`make vllm` makes it; or probe.vllm_python"
            " names the Python of an environment that has vLLM)"
        )


def nearest(name: str, names: Iterable[str]) -> str:
    """`did you mean X?` for the closest of `names`, else the list of them."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean `{close[0]}`?" if close else f"known: {', '.join(names)}"


def documented_keys(
    schema: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, Any]]:
    """Yield (dotted key, description, default or None) for every key of the schema, in
    its order.
    """
    for key, entry in schema.get("properties", {}).items():
        yield prefix + key, entry.get("description", ""), entry.get("default")
        yield from documented_keys(entry, f"{prefix}{key}.")
        if isinstance(entry.get("additionalProperties"), dict):
            yield from documented_keys(
                entry["additionalProperties"], f"{prefix}{key}.<name>."
            )


def _explain(error: ValidationError) -> str:
    where = ".".join(str(part) for part in error.path) or "the top level"
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = next(key for key in error.instance if key not in known)
        return (
            f"configuration: unknown key `{unknown}` at {where};"
            f" {nearest(str(unknown), known)}"
        )
    if error.validator == "required":
        return (
            f"configuration: {where}: {error.message}; add it (config/README.md lists"
            " every key)"
        )
    if "propertyNames" in error.schema_path:
        reserved = (
            ", ".join(error.schema["not"]["enum"])
            if "not" in error.schema
            else "reserved words"
        )
        return (
            f"configuration: {where}: `{error.instance}` cannot be a name; use"
            f" lowercase letters, digits and single hyphens (reserved: {reserved})"
        )
    if error.validator == "oneOf":
        return (
            f"configuration: {where}: give either `path` (a local folder) or `repo`"
            " (owner/name on the Hub), one of the two"
        )
    return f"configuration: {where}: {error.message}; see config/README.md"


def _fill_defaults(value: Any, schema: dict[str, Any]) -> None:
    if not isinstance(value, dict):
        return
    for key, entry in schema.get("properties", {}).items():
        if entry.get("default") is not None:
            value.setdefault(key, copy.deepcopy(entry["default"]))
        if key in value:
            _fill_defaults(value[key], entry)
    if isinstance(schema.get("additionalProperties"), dict):
        for item in value.values():
            _fill_defaults(item, schema["additionalProperties"])


def _check_audit(name: str, audit: dict[str, Any], models: dict[str, Any]) -> None:
    for role in ("suspect", "base", "donors", "controls"):
        entries = audit[role] if isinstance(audit[role], list) else [audit[role]]
        for model in entries:
            if model not in models:
                raise AuditError(
                    f"configuration: audits.{name}.{role} names the model `{model}`,"
                    f" which is not under models; {nearest(model, models)}"
                )
    parents = [*bases(audit), *audit["donors"]]
    for model in audited(audit):
        if model in parents:
            raise AuditError(
                f"configuration: audits.{name}: `{model}` is audited and offered as a"
                " parent; give it one role\n(a second entry under models compares a"
                " folder with itself)"
            )
    if twice := {model for model in parents if parents.count(model) > 1}:
        raise AuditError(
            f"configuration: audits.{name}: `{min(twice)}` is both base and donor; give"
            " it one role"
        )


def _write_dates(models: Any) -> None:
    """Write every stated date in one way: YAML reads some as dates, others as text."""
    for name, source in models.items() if isinstance(models, dict) else ():
        if isinstance(source, dict) and "published" in source:
            try:
                source["published"] = timestamps.stated(source["published"])
            except ValueError as error:
                raise AuditError(
                    f"configuration: models.{name}.published: {error}"
                ) from None


def _check_comparisons(config: dict[str, Any]) -> None:
    for name, sides in config["comparisons"].items():
        for side, audit in sides.items():
            if audit not in config["audits"]:
                raise AuditError(
                    f"configuration: comparisons.{name}.{side}: there is no audit"
                    f" `{audit}`; {nearest(audit, config['audits'])}"
                )


def _check_endpoints(name: str, audit: dict[str, Any], probe: dict[str, Any]) -> None:
    unserved = [model for model in models_of(audit) if model not in probe["endpoints"]]
    if probe["enabled"] and probe["backend"] == "endpoint" and unserved:
        raise AuditError(
            f"configuration: probe.endpoints says nothing of `{unserved[0]}`, which"
            f" audits.{name} asks; give its url and model, or another backend"
        )
