"""Inputs of a report, as large as wanted, in the shape in which the workflow writes
them; no model and no audit stands behind them.

Take these to test what a page shows. Where its numbers must be true ones, audit a
planted model (mergetrace.testing.audits).
"""

import numpy as np
import pandas as pd

from mergetrace.probe.breakdowns import reasoning, strata, watermarks
from mergetrace.probe.comparisons import compare
from mergetrace.probe.conduct import conduct
from mergetrace.records.summary import Summary
from mergetrace.records.verdict import Verdict
from mergetrace.report.inputs import Inputs

COMPONENTS = (
    "attention",
    "linear_attention",
    "mlp",
    "router",
    "shared_expert",
    "shared_expert_gate",
    "routed_experts",
    "norm",
    "mtp",
    "other",
)
NUMBERS = (
    "alpha",
    "alpha_se",
    "cos_fit",
    "alpha_replay",
    "coverage",
    "alpha_expected",
    "cos_expected",
    "bit_exact_rate",
)
RECIPE = {
    "method": "linear",
    "parameters": {
        "weights": {"qwen": 0.429, "nex": 0.571},
        "base_model": None,
        "fused": True,
        "alpha": 0.571,
    },
    "dtype": "float32",
    "bit_exact_rate": 0.99996,
    "residual_share": 1e-9,
}
WHERE = {"slices": 20, "changed_slices": 0, "layers": {}, "components": {}}
SEEN = {"share": 6e-4, "move": 2.0**-20}
AFTER = {
    "residual_share": 1e-9,
    "trained": False,
    "elements": 5000,
    "changed_share": 0.0,
    "where": WHERE,
    "rank": None,
    "rank_reason": None,
}
AFTER |= {"smallest_seen": SEEN}
DONOR = {
    "alpha_ols": 0.5712,
    "alpha_se": 0.0004,
    "cos": 0.99,
    "coverage": 0.99996,
    "coverage_base": 0.0,
    "coverage_shuffled": 0.01,
}
DONOR |= {"informative": 5000, "same_sign": 1.0, "all_equal": False, "is_base": False}
DONOR |= {
    "coverage_donor": 0.0,
    "alpha_replay": 0.571,
    "alpha_spread": 0.0,
    "parents_agree": 2000,
    "moved_alone": 0.0,
    "stayed_alone": 0.0,
    "equal_donor": 0.0,
    "only": {},
}
MODEL = {
    "slices": 20,
    "elements": 5_000_000,
    "elements_read": 5_000_000,
    "nonfinite": 0,
    "nonfinite_tensors": [],
    "delta_energy": 100.0,
    "rounding_share": 1e-5,
    "cos_fit": 0.99,
    "base_cos": 0.97,
    "equal_base": 0.003,
    "all_equal_base": False,
    "all_rounded_base": False,
    "elements_voting": 5_000_000,
    "donors": {"nex": DONOR},
    "informative": 5000,
    "bit_exact_rate": 0.99996,
    "exact_share": 1.0,
    "mixture": None,
    "remainder": None,
}
SEARCH = {
    "base": "qwen",
    "donor": "nex",
    "donors": ["nex"],
    "interval": None,
    "out_dtype": "bfloat16",
    "stored_dtypes": ["bfloat16"],
    "informative_elements": 5000,
    "best": RECIPE,
    "alternatives": [],
    "indistinguishable": [],
    "tried": 8,
    "signature": None,
}
VISION = {
    "reason": "not in nex, qwen",
    "parameters": 10_000,
    "tensors": 2,
    "components": {"vision": 10_000},
}
COMPARED = {
    "parameters": 5_010_000,
    "compared": 5_000_000,
    "share": 5_000_000 / 5_010_000,
    "bytes": 10_020_000,
    "compared_bytes": 10_000_000,
}
COMPARED |= {
    "bytes_share": 1000 / 1002,
    "cannot_vote": 640,
    "dtypes": {"BF16": 5_000_000},
    "buffers": 1,
    "not_compared": [VISION],
}
ALL_COMPARED = COMPARED | {
    "parameters": 5_000_000,
    "share": 1.0,
    "bytes": 10_000_000,
    "bytes_share": 1.0,
    "not_compared": [],
}


def finding(
    kind: str = "merge", named: bool = True, share: float | None = 0.429
) -> dict:
    """A verdict.json of this kind about `rio`, with `qwen` as base, `nex` as donor,
    `tuiuti` as control.
    """
    exact = kind == "merge"
    parent = {
        "named": named,
        "alpha": 0.571,
        "alpha_ci95": [0.5709, 0.5711],
        "alpha_ols": 0.5712,
        "cos_fit": 0.99,
    }
    control = {
        "verdict": "finetune_of_base",
        "family": None,
        "reasons": ["Nothing points to nex."],
        "parents": {"nex": parent | {"named": False, "alpha": 0.05}},
    }
    recipe = RECIPE | {
        "out_dtype": "bfloat16",
        "informative_elements": 5000,
        "mergekit_config": "merge_method: linear\n",
        "alternatives": [],
    }
    return {
        "audit": "demo",
        "suspect": "rio",
        "verdict": kind,
        "family": None,
        "reasons": ["This is the first reason."],
        "parents": {"nex": parent},
        "base": {"name": "qwen", "share": share},
        "recipe": recipe if exact else None,
        "after_merge": AFTER if exact else dict.fromkeys(AFTER),
        "compared": {"rio": COMPARED, "qwen": ALL_COMPARED, "nex": ALL_COMPARED},
        "controls": {
            "tuiuti": control | {"base": {"name": "qwen", "share": 1.0}, "recipe": None}
        },
        "probe": {
            "rio": {"shipped": _tally(118, 1), "stripped": _tally(0, 119)},
            "nex": {"shipped": _tally(0, 120), "stripped": _tally(0, 120)},
        },
        "read": {
            "mode": "full",
            "bytes": 10_000_000,
            "elements": 5_000_000,
            "full_hash_verified": False,
            "files": {},
        },
        "declared": {
            "base_model": ["Qwen/qwen"],
            "relation": None,
            "license": "apache-2.0",
        },
        "versions": {"mergetrace": "0.1.0", "numpy": "2.4.6"},
    }


def inputs(shape: tuple[int, int, int] = (3, 4, 1), **changes) -> Inputs:
    """Report inputs of this shape (layers, components, slices in each cell); `changes`
    replace fields of Inputs.
    """
    layers, components, slices = shape
    random = np.random.default_rng(0)
    names = (
        COMPONENTS[:components]
        if components > 7
        else (*COMPONENTS[: components - 1], "norm")
    )
    order = [*map(str, range(layers)), "outer"]
    cells = [(layer, name) for layer in order for name in names]
    tensors = pd.DataFrame(
        [
            (f"model.layers.{layer}.{name}.weight", str(i), layer, name)
            for layer, name in cells
            for i in range(slices)
        ]
    )
    tensors.columns = ["tensor", "slice", "layer", "component"]
    tensors["elements"] = 65_536
    tensors = tensors.assign(
        **_numbers(random, len(tensors), 0.571, 0.99), status="ok", nonfinite=0
    )
    tensors["votes"] = tensors["component"] != "norm"
    pooled = {
        by: pd.concat(
            [
                pd.DataFrame(
                    {"model": model, by: keys, "slices": slices, "elements": 65_536}
                    | _numbers(random, len(keys), alpha, cos)
                ).assign(votes=votes)
                for model, alpha, cos in (("rio", 0.571, 0.99), ("tuiuti", 0.08, 0.1))
            ]
        )
        for by, keys, votes in (
            ("layer", order, True),
            ("component", list(names), [name != "norm" for name in names]),
        )
    }
    manifest = {
        "source": {"path": "results/x", "repo": None, "commit": None},
        "tensors": 35,
        "tensor_bytes": 1_400_000,
    }
    manifest |= {
        "config": {"architectures": ["Qwen3ForCausalLM"]},
        "declared": {"base_model": None, "relation": None, "license": None},
    }
    diff = {
        "same": False,
        "lines": ["@@ -1 +1 @@", "-{% if a %}", "+{% if b %}"],
        "left_out": 2,
    }
    where = {
        "start": 19,
        "end": 31,
        "of": 90,
        "before": "<|im_start|>system\n",
        "after": "<|im_end|>",
    }
    injected = {
        "condition": "no system message",
        "text": "You are Rio.",
        "names": {"Rio": ["Rio"]},
        "where": where,
        "source_lines": [3],
    }
    mask = {
        "source": "chat_template.jinja",
        "reason": None,
        "injected": [injected],
        "unprinted": [],
        "others": [],
        "differs": {"qwen": diff},
        "tokens": [],
    }
    mask |= {
        "settings": [
            {
                "file": "config.json",
                "key": "_name_or_path",
                "text": "nex-agi/x",
                "names": {"Nex": ["Nex"]},
            }
        ]
    }
    answers = [
        {
            "prompt": f"en-{i}",
            "text": "Who are you?",
            "rendered": "<|im_start|>user\nWho are you?",
            "condition": condition,
            "stratum": "name",
            "language": "en",
            "answer": answer,
            "finish": "stop",
        }
        for condition, answer in (("shipped", "I am Rio."), ("stripped", "I am Nex."))
        for i in range(3)
    ]
    given = {
        "verdict": finding(),
        "summary": {
            "suspect": "rio",
            "base": "qwen",
            "bases": {"qwen": {"delta_energy": 100.0, "recipe": RECIPE}},
            "donors": ["nex"],
            "sampling": None,
            "models": {
                model: MODEL | {"recipe": SEARCH | {"model": model}}
                for model in ("rio", "tuiuti")
            },
        },
        "plan": {
            "mode": "full",
            "layers": order,
            "slices": len(tensors),
            "elements": 5_000_000,
            "not_compared": 0,
            "not_compared_reasons": {},
        },
        "manifests": {
            model: manifest | {"model": model}
            for model in ("rio", "qwen", "nex", "tuiuti")
        },
        "mask": {"rio": mask, "nex": mask | {"injected": [], "settings": []}},
        "probe": counted({"rio": answers, "nex": answers}),
        "answers": {"rio": answers, "nex": answers},
        "identities": {"Rio": ["Rio"], "Nex": ["Nex"]},
        "thresholds": {
            "accuse_with": (["copy", "merge"], "Which accusing verdicts are given."),
            "min_bit_exact": (0.995, "How much must come back."),
        },
        "tensors": tensors,
        "controls": tensors.assign(model="tuiuti", bit_exact_rate=0.01),
        "layers": pooled["layer"],
        "components": pooled["component"],
        "curves": _curves(),
        "licences": {
            "apache-2.0": {
                "name": "Apache License 2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
                "asks": ["notices stay"],
            }
        },
        "unpaired": pd.DataFrame(columns=["model", "tensor", "reason"]),
    }
    given |= changes
    given["verdict"] = Verdict.of(given["verdict"])
    given["summary"] = Summary.of(given["summary"])
    return Inputs(**given)


def _curves() -> pd.DataFrame:
    alphas = np.round(np.linspace(-0.25, 1.25, 301), 4)
    needle = np.clip(1 - np.abs(alphas - 0.57) / 0.02, 0.005, 1)
    parts = [
        pd.DataFrame(
            {
                "model": model,
                "donor": "nex",
                "alpha": alphas,
                "coverage": seen,
                "shuffled": 0.005,
            }
        )
        for model, seen in (("rio", needle), ("tuiuti", 0.006))
    ]
    return pd.concat(parts, ignore_index=True)


def counted(answers: dict, identities: dict | None = None) -> dict[str, pd.DataFrame]:
    """score.py's further tables of these answers."""
    told = list(answers.items())
    identities = identities or {"Rio": ["Rio"], "Nex": ["Nex"]}
    return {
        "comparisons": compare(told, identities, "rio"),
        "conduct": conduct(told),
        "strata": strata(told, identities),
        "reasoning": reasoning(told, identities),
        "watermarks": watermarks(told, {"Nex": ["I am Nex", "never said"]}),
    }


def _numbers(
    random: np.random.Generator, rows: int, alpha: float, cos: float
) -> dict[str, np.ndarray]:
    means = dict(
        zip(
            NUMBERS, (alpha, 0.004, cos, alpha, 0.999, alpha, 0.992, 0.999), strict=True
        )
    )
    return {
        name: np.clip(
            random.normal(mean, 0.01 if name == "alpha" else 0.001, rows), 0, 1
        )
        for name, mean in means.items()
    }


def _tally(rio: int, nex: int) -> dict:
    return {
        name: {
            "hits": hits,
            "n": 120,
            "ci95": [max(0.0, hits / 120 - 0.03), min(1.0, hits / 120 + 0.03)],
        }
        for name, hits in (("Rio", rio), ("Nex", nex))
    }
