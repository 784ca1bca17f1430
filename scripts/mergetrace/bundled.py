"""What an evidence bundle holds, by name: for the code that packs it and for the rule that waits for it."""

FINDINGS = ("verdict.json", "summary.json", "recipes.json", "remainder.json", "plan.json", "layout.json", "report.html")
TABLES = ("tensors", "controls", "layers", "components", "precision", "coverage", "unpaired")
OPTIONAL = ("rebuild.json", "rebuild.csv")

VERIFIER = (
    *("errors", "strict_json", "safetensors_file", "dtypes", "sampled", "weights", "frames", "evidence", "gram", "gram_arrays", "estimators", "fits"),
    *("rounding", "arithmetic", "tool_sums", "facts", "formulas", "spheres", "selections", "settings", "recipes", "trial"),
    *("traces", "accusing", "verdict", "wording", "readable", "denials", "attributions", "identity", "attestation", "verification", "__init__"),
)
"""The library modules that verify.py imports; of other packages they need numpy alone."""

CARD = ("README.md", "config.json", "generation_config.json", "chat_template.jinja", "chat_template.json", "tokenizer_config.json")
MOST_CARD = 1 << 20  # bytes: a tokenizer_config.json may hold a vocabulary
