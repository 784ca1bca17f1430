"""What an evidence bundle holds, by name: for the code that packs it and for the rule
that waits for it.
"""

from collections.abc import Mapping
from pathlib import PurePath

from mergetrace.running.dependencies import ENTRY, Programs

FINDINGS = (
    "verdict.json",
    "summary.json",
    "recipes.json",
    "remainder.json",
    "plan.json",
    "layout.json",
    "packed.json",
    "spectrum.json",
    "report.html",
)
TABLES = (
    "tensors",
    "controls",
    "layers",
    "components",
    "precision",
    "curves",
    "spectrum",
    "unpaired",
)
OPTIONAL = ("rebuild.json", "rebuild.csv")

VERIFY = "mergetrace/bundle/verify.py"
"""The program that checks a bundle."""

NEVER_RUN: Mapping[str, str] = {
    "mergetrace/files/tensor_records.py": "types alone",
    "mergetrace/formats/model_config.py": "types alone",
    "mergetrace/tensors/adapted.py": "no weights are read, an adapter's neither",
    "mergetrace/probe/intervals.py": "answers are counted, their intervals are not",
    "mergetrace/sums/gram_numba.py": "sums are made by numpy alone",
    "mergetrace/sums/gram_torch.py": "sums are made by numpy alone",
}
"""Modules that those behind verify.py name and that it does not run, with the reason."""


CARD = (
    "README.md",
    "config.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer_config.json",
    "mergekit_config.yml",
    "mergekit_moe_config.yml",
)
"""The small files of a model that a finding quotes."""

MAX_CARD_BYTES = 1 << 20
"""Of each of them: a tokenizer_config.json may hold a vocabulary."""


def verifier(programs: Programs) -> list[str]:
    """The modules that check a bundle, verify.py among them, as paths below the folder
    of the package. Of other packages they need numpy alone.
    """
    modules = programs.closure([VERIFY], [ENTRY, *NEVER_RUN])
    folders = {parent for module in modules for parent in PurePath(module).parents}
    packages = {f"{folder}/__init__.py" for folder in folders if folder.name}
    return sorted(modules | packages)
