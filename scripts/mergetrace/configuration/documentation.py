"""What the configuration's classes say of themselves: config/README.md, and the JSON
schema for editors.

`python -m mergetrace.configuration.documentation` (`make config-docs`) writes both.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from mergetrace.configuration.model import Configuration
from mergetrace.configuration.structure import keys_of, section_within
from mergetrace.field_texts import field_texts
from mergetrace.outputs import write_text
from mergetrace.thresholds import Thresholds

FOLDER = Path(__file__).parents[3] / "config"
README = "README.md"
SCHEMA = "config.schema.json"

HEAD = """# Configuration

Written by `make config-docs` from scripts/mergetrace/configuration and thresholds.py; do not
edit. Unknown keys are refused with the nearest valid name.
[config.schema.json](config.schema.json) is the same for editors that check YAML while you type.

`config.yaml` is the demo. `snakemake --configfile mine.yaml` replaces it whole;
`audits/rio.yaml` is the public case, `published/` holds recipes that their makers published.
The smallest configuration of your own:

```yaml
models:
  suspect: {path: /data/suspect}
  base: {path: /data/base}
  donor: {path: /data/donor}
  sibling: {path: /data/sibling}   # an independent finetune of the base: the empirical null
audits:
  mine: {suspect: suspect, base: base, donors: [donor], controls: [sibling]}
```

Prompts of your own: see [prompts/README.md](prompts/README.md).

| key | meaning | default |
|---|---|---|
"""  # Markdown is not folded


@dataclass(frozen=True)
class DocumentedKey:
    """A key of the configuration as a document shows it."""

    path: str
    """Dotted, with `<name>` where the user chooses a name."""
    meaning: str
    default: str
    """As JSON; empty where there is none."""


def documented_keys(
    section: type[Any] = Configuration, prefix: str = ""
) -> Iterator[DocumentedKey]:
    """Every key of the configuration, a section before the keys within it."""
    meaning = field_texts(section)
    for key in keys_of(section).values():
        path = prefix + key.name
        yield DocumentedKey(path, meaning[key.attribute], _as_json(key.default))
        named, inner = section_within(key.annotation)
        if inner is not None:
            between = f"{named}." if named else ""
            yield from documented_keys(inner, f"{path}.{between}")


def readme() -> str:
    """The text of config/README.md."""
    rows = [
        f"| `{key.path}` | {key.meaning} | {f'`{key.default}`' if key.default else ''} |"
        for key in documented_keys()
    ]
    return HEAD + "\n".join(rows) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a configuration, for editors."""
    schema = Configuration.model_json_schema(by_alias=True)
    _describe(schema, Configuration)
    for section in _sections(Configuration):
        _describe(schema["$defs"][section.__name__], section)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def main() -> None:
    """Write config/README.md and the JSON schema."""
    write_text(FOLDER / README, readme())
    write_text(FOLDER / SCHEMA, json.dumps(json_schema(), indent=1) + "\n")


def _sections(section: type[Any]) -> Iterator[type[Any]]:
    for key in keys_of(section).values():
        _, inner = section_within(key.annotation)
        if inner is not None:
            yield inner
            yield from _sections(inner)


def _describe(schema: dict[str, Any], section: type[Any]) -> None:
    """Enter the meaning of every key of a section into its JSON schema."""
    meaning = field_texts(section)
    for key in keys_of(section).values():
        schema["properties"][key.name]["description"] = meaning[key.attribute]


def _as_json(default: Any) -> str:
    """A default as the configuration would state it; sections are shown as `{}`, since
    each of their keys has a row of its own.
    """
    if default is None:
        return ""
    if isinstance(default, BaseModel | Thresholds):
        return "{}"
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return json.dumps(TypeAdapter(Any).dump_python(default, mode="json"))


if __name__ == "__main__":
    main()
