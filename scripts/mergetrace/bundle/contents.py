"""What an evidence bundle holds, by name: for the code that packs it and for the rule
that waits for it.
"""

FINDINGS = (
    "verdict.json",
    "summary.json",
    "recipes.json",
    "remainder.json",
    "plan.json",
    "layout.json",
    "packed.json",
    "report.html",
)
TABLES = (
    "tensors",
    "controls",
    "layers",
    "components",
    "precision",
    "curves",
    "unpaired",
)
OPTIONAL = ("rebuild.json", "rebuild.csv")

_VERIFIER = {
    "": "errors readable timestamps",
    "numerics": "arrays dtypes lattice block_scales rounding arithmetic tool_sums",
    "files": "strict_json weight_files safetensors_file sampled",
    "formats": "scales",
    "tensors": "weights",
    "planning": "voting unread",
    "sums": "frames stored evidence as_stored kernels gram gram_arrays recast records",
    "merging": (
        "settings facts merge linear spheres means trimming sce elementwise methods"
        " recipes applying"
    ),
    "fit": "estimators fits",
    "search": "trial",
    "probe": "denials attributions identity",
    "finding": "traces accusing coverage dates order verdict wording",
    "bundle": "attestation checks verification",
}
VERIFIER = tuple(
    f"{folder}/{module}".lstrip("/")
    for folder, modules in _VERIFIER.items()
    for module in ["__init__", *modules.split()]
)
"""The library modules that verify.py imports; of other packages they need numpy alone.
"""

CARD = (
    "README.md",
    "config.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer_config.json",
)
CARD += ("mergekit_config.yml", "mergekit_moe_config.yml")
MOST_CARD = 1 << 20  # bytes: a tokenizer_config.json may hold a vocabulary
