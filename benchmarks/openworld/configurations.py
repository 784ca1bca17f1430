"""Configurations with odd facts, of which the audit needs few or none."""

from benchmarks.openworld.case import Case, Folder, Models
from benchmarks.openworld.shared import ACQUITTED, GUILTY, made, merge
from benchmarks.openworld.world import World

INFINITY = "https://github.com/huggingface/transformers/pull/42959"
DYNAMO = "https://github.com/ai-dynamo/dynamo/pull/3043"


def configurations() -> list[Case]:
    """All cases of this topic."""
    kind = {"kind": "configurations", "source": INFINITY}
    plain = (
        '"architectures": ["LlamaForCausalLM"], "model_type": "llama",'
        ' "tie_word_embeddings": false'
    )
    odd = {
        "Infinity": '{%s, "time_step_limit": [0.0, Infinity]}',
        "minus Infinity and NaN": '{%s, "a": -Infinity, "b": NaN}',
        "a key twice": '{%s, "rope_theta": 1e4, "rope_theta": 1e6}',
        "a number beyond float64": '{%s, "limit": 1e999}',
        "a number of a hundred digits": '{%s, "limit": 1' + "0" * 100 + "}",
        "a byte order mark": "\ufeff{%s}",
        "fields of the wrong kind": (
            '{%s, "quantization_config": [], "text_config": null, "torch_dtype": 7}'
        ),
        "architectures as a text": (
            '{"architectures": "LlamaForCausalLM", "model_type": null}'
        ),
        "an empty object": "{}",
    }
    found = [
        Case(
            f"{name} in config.json",
            build=made(config=text.replace("%s", plain)),
            **kind,
            **ACQUITTED,
        )
        for name, text in odd.items()
    ]
    broken = {"right": ("finetune_of_base",), "error": (r"config\.json",)}
    return [
        *found,
        Case(
            "Infinity in config.json of a merge",
            build=made(merge, config=odd["Infinity"].replace("%s", plain)),
            **{**kind, "source": DYNAMO},
            **GUILTY,
        ),
        Case(
            "Infinity in the base's config.json",
            build=made(model="base", config=odd["Infinity"].replace("%s", plain)),
            **kind,
            **ACQUITTED,
        ),
        Case("no config.json", build=made(config=None), **kind, **ACQUITTED),
        Case(
            "a list in place of the configuration",
            build=made(config="[1, 2]"),
            **kind,
            **broken,
        ),
        Case(
            "config.json cut off",
            build=made(config='{"architectures": ["Llama'),
            **kind,
            **broken,
            may_download=True,
        ),
        Case(
            "config.json with comments",
            build=made(config="{" + plain + "} // ours"),
            **kind,
            **broken,
        ),
        Case(
            "config.json of no bytes",
            build=made(config=""),
            **kind,
            **broken,
            may_download=True,
        ),
        Case("config.json in Latin-1", build=_latin, **kind, **broken),
        Case(
            "a generation configuration with NaN",
            build=made(
                files={
                    "generation_config.json": '{"temperature": NaN, "temperature": 1}'
                }
            ),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a broken tokenizer",
            build=made(
                files={
                    "tokenizer.json": "{",
                    "tokenizer_config.json": '{"chat_template": 7, "a": Infinity}',
                }
            ),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a card whose header is no YAML",
            build=made(
                files={"README.md": "---\nbase_model: [a, *b\n\tc: {\n---\n# M"}
            ),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a card in UTF-16",
            build=made(
                files={"README.md": "---\nlicense: mit\n---\n".encode("utf-16")}
            ),
            **kind,
            **ACQUITTED,
        ),
    ]


def _latin(world: World) -> Models:
    return {
        "suspect": Folder(
            world["other"],
            config=None,
            files={
                "config.json": '{"model_type": "llama", "author": "Müller"}'.encode(
                    "latin-1"
                )
            },
        )
    }
