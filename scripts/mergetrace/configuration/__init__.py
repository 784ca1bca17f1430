"""The configuration: read, checked, completed, documented.

The functions here serve callers that still take the configuration as nested dicts. New
code takes objects: reading.complete gives a Configuration (see model).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mergetrace.configuration import reading
from mergetrace.configuration.messages import nearest
from mergetrace.configuration.model import Audit, Configuration
from mergetrace.configuration.reading import load

__all__ = [
    "audited",
    "bases",
    "check_sources",
    "check_vllm",
    "complete",
    "load",
    "load_schema",
    "models_of",
    "nearest",
    "published",
    "stated_dates",
]


def load_schema(path: str | Path | None = None) -> dict[str, Any]:
    """The JSON schema with each section in its place; path: no longer read."""
    from mergetrace.configuration import documentation  # noqa: PLC0415  # rarely needed

    schema = documentation.json_schema()
    sections = schema.pop("$defs")
    for entry in schema["properties"].values():
        name = entry.pop("$ref", "").rpartition("/")[2]
        entry.update(sections.get(name, {}))
    return schema


def complete(config: Mapping[str, Any], schema: Any = None) -> Any:
    """A Configuration; the completed dict where a schema is given, as once needed."""
    configuration = reading.complete(config)
    return configuration if schema is None else configuration.as_dict()


def bases(audit: Mapping[str, Any]) -> list[str]:
    """The base candidates of an audit."""
    return list(Audit.model_validate(audit).bases)


def audited(audit: Mapping[str, Any]) -> list[str]:
    """The models an audit fits: the suspect first, then the controls."""
    return list(Audit.model_validate(audit).audited)


def models_of(audit: Mapping[str, Any]) -> list[str]:
    """Every model of an audit once: suspect, controls, bases, donors."""
    return list(Audit.model_validate(audit).models)


def check_sources(config: Mapping[str, Any], made: str) -> None:
    """See reading.check_sources."""
    reading.check_sources(_typed(config), made)


def check_vllm(probe: Mapping[str, Any]) -> None:
    """See reading.check_vllm."""
    reading.check_vllm(probe["enabled"], probe["vllm_python"])


def stated_dates(config: Mapping[str, Any], models: Iterable[str]) -> dict[str, str]:
    """See Configuration.stated_dates."""
    return _typed(config).stated_dates(models)


def published(
    config: Mapping[str, Any], audit: str, models: Iterable[str]
) -> dict[str, Any]:
    """See Configuration.published."""
    return _typed(config).published(audit, models)


def _typed(config: Mapping[str, Any]) -> Configuration:
    return Configuration.model_validate(config)
