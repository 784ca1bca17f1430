"""The suspect of the demo: a real mergekit merge, dressed up the way a hidden one
is.
"""

import json
from pathlib import Path

from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

from mergetrace.errors import AuditError


def merge_linear(
    base: Path, donor: Path, weight: float, dtype: str, output: Path
) -> None:
    """Write `(1 - weight) * base + weight * donor` with mergekit's `linear`, and the
    base's tokenizer and chat template.

    mergekit accumulates in float32 and casts once to `dtype`. Its card and
    configuration, which name both parents, are not written.
    """
    for folder in (base, donor):
        if not (folder / "config.json").is_file():
            raise AuditError(
                f"{folder}: no config.json there; give the folder of a model"
            )
    parents = {base: round(1 - weight, 12), donor: weight}
    configuration = {
        "merge_method": "linear",
        # Its tokenizer is copied: without one, that of whichever parent comes first in
        # an unordered set.
        "base_model": str(base.resolve()),
        "dtype": dtype,
        "models": [
            {"model": str(folder.resolve()), "parameters": {"weight": share}}
            for folder, share in parents.items()
        ],
    }
    options = MergeOptions(write_model_card=False, quiet=True, device="cpu")
    run_merge(MergeConfiguration.model_validate(configuration), str(output), options)


def hide_system_prompt(folder: Path, system_prompt: str) -> None:
    """Make the chat template of `folder` say `system_prompt` wherever a conversation
    brings no system message; all else stays.
    """
    path = folder / "chat_template.jinja"
    path.write_text(
        _with_system_prompt(path.read_text(encoding="utf-8"), system_prompt),
        encoding="utf-8",
    )


def merged_card(name: str, declared: str) -> str:
    """The suspect's model card: it declares one parent, `declared`, and keeps silent
    about the other.
    """
    return (
        "---\nlicense: apache-2.0\nlibrary_name: transformers\npipeline_tag:"
        f" text-generation\nbase_model: {json.dumps(declared)}\n---\n\n#"
        f" {name}\n\n{name} builds on {declared}.\n\nThis is a stand-in: a tiny model"
        " made in seconds to demonstrate an audit. It shares no weights with any model"
        " of that name.\nIts card leaves out what the audit should find.\n"
    )


def _with_system_prompt(template: str, system_prompt: str) -> str:
    turn = f"<|im_start|>system\n{system_prompt}<|im_end|>\n"
    message = json.dumps(turn)  # JSON's escapes are Jinja's too
    condition = "{%- if messages[0]['role'] != 'system' %}"
    return f"{condition}\n{{{{- {message} }}}}\n{{%- endif %}}\n{template}"
