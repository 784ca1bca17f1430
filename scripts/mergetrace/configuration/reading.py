"""A configuration read and completed, or refused with the first mistake in it."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from yaml import YAMLError

from mergetrace.configuration.messages import explain
from mergetrace.configuration.model import Configuration
from mergetrace.configuration.source import ModelSource
from mergetrace.errors import ConfigurationError
from mergetrace.outputs import read_yaml


def load(path: str | Path) -> Configuration:
    """The configuration in a YAML file, defaults filled in. Raises ConfigurationError."""
    try:
        raw = read_yaml(path)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}; give a YAML file"
        ) from None
    except (ValueError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{path}: not YAML: {reason[:300]}") from None
    if not isinstance(raw, dict):
        raise ConfigurationError(
            f"{path}: holds no keys; give `models` and `audits` (see config/README.md)"
        )
    return complete(raw)


def complete(raw: Mapping[str, Any]) -> Configuration:
    """The configuration that `raw` states, defaults filled in.

    Raises ConfigurationError that names the key, what was found and the nearest valid name.
    """
    if raw.get("models") == {} and raw.get("audits") == {}:
        raise ConfigurationError(
            "nothing to audit: the configuration names no models; a scan that finds no"
            " candidate proposes such a one (docs/scan.md)"
        )
    try:
        return Configuration.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(explain(error, Configuration)) from None


def check_sources(configuration: Configuration, made: str | None = None) -> None:
    """Check that every audited model that is a local folder or file exists, or lies under the
    folder `made`, where a rule makes it.

    Raises ConfigurationError naming the first that does not, before any job starts.
    """
    scan = configuration.scan
    audited = [audit.models for audit in configuration.audits.values()]
    named = configuration.with_bases(chain(*audited, scan.suspects, scan.watch))
    for model in named:
        source = configuration.models[model]
        _check_adapter(model, source)
        path = source.path
        if path is None or Path(path).is_dir():
            continue
        if path.endswith(".gguf") and Path(path).is_file():
            continue
        if made is not None and path.startswith(made):
            continue
        raise ConfigurationError(
            f"configuration: models.{model}.path: there is no folder {path}; give"
            " the one that holds config.json and *.safetensors, or a GGUF file"
        )


def _check_adapter(model: str, source: ModelSource) -> None:
    if source.adapter is None or source.on_hub or Path(source.adapter).is_dir():
        return
    raise ConfigurationError(
        f"configuration: models.{model}.adapter: there is no folder {source.adapter}; give"
        " the one that holds adapter_config.json, or a repository as owner/name"
    )


def check_vllm(enabled: bool, python: str | Path) -> None:
    """Check that the Python is there that has vLLM, where models are asked at all.

    Raises ConfigurationError.
    """
    if enabled and not Path(python).is_file():
        raise ConfigurationError(
            f"configuration: probe.backend is vllm, but there is no {python}\n(`make"
            " vllm` makes it; or probe.vllm_python names the Python of an environment"
            " that has vLLM)"
        )
