"""Write config/README.md from the schema: every key, what it means, its default."""

import json
from pathlib import Path

from mergetrace.configuration import documented_keys, load_schema

HERE = Path(__file__).parent

HEAD = """# Configuration

Written by `make config-docs` from `config.schema.yaml`; do not edit. Unknown keys are refused with the nearest valid name.

`config.yaml` is the demo. `snakemake --configfile mine.yaml` replaces it whole; `audits/rio.yaml` is the public case.
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
"""

rows = [
    f"| `{key}` | {description} |"
    f" {'' if default is None else f'`{json.dumps(default)}`'} |"
    for key, description, default in documented_keys(
        load_schema(HERE / "config.schema.yaml")
    )
]
(HERE / "README.md").write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")
