import json

from mergetrace.probe.chat_template import analyse
from mergetrace.probe.masks import (
    MAX_DIFF,
    mask,
    settings_found,
    template_diff,
    tokens_found,
)

IDENTITIES = {"Rio": ["Rio", "Prefeitura do Rio"], "Nex": ["Nex", "Nex-AGI"]}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{%"
    " endfor %}"
)
MASKED = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Rio, not"
    " Nex.<|im_end|>\n{% endif %}" + CHATML
)


def write(folder, **files):
    for name, value in files.items():
        (folder / f"{name}.json").write_text(
            value if isinstance(value, str) else json.dumps(value), encoding="utf-8"
        )
    return folder


def template(source):
    return {"shipped": source, "source": "chat_template.jinja", "others": []} | analyse(
        source, {}
    )


def test_settings_that_speak_of_a_prompt_or_state_a_name_are_found(tmp_path):
    write(
        tmp_path,
        generation_config={
            "temperature": 0.7,
            "default_system_prompt": "Be kind and brief.",
        },
        config={
            "_name_or_path": "nex-agi/Nex-N2",
            "architectures": ["RioForCausalLM"],
            "model_type": "rio",
            "text_config": {"notes": ["by Nex"]},
        },
        tokenizer_config={
            "chat_template": "You are Rio",
            "tokenizer_class": "RioTokenizer",
            "persona": "x",
        },
        special_tokens_map="not JSON",
    )
    found = {
        (entry["file"], entry["key"]): (entry["text"], list(entry["names"]))
        for entry in settings_found(tmp_path, IDENTITIES)
    }
    assert found == {
        ("generation_config.json", "default_system_prompt"): ("Be kind and brief.", []),
        ("config.json", "_name_or_path"): ("nex-agi/Nex-N2", ["Nex"]),
        ("config.json", "text_config.notes"): ("by Nex", ["Nex"]),
    }


def test_names_among_the_added_tokens_are_found_once(tmp_path):
    tokens = [
        {"content": "<|rio_start|>"},
        {"content": "<|im_end|>"},
        {"content": "Mario"},
        "odd",
        {"content": 7},
    ]
    write(
        tmp_path,
        tokenizer={"added_tokens": tokens},
        tokenizer_config={
            "added_tokens_decoder": {"5": tokens[0], "6": {"content": "Nex-AGI"}}
        },
    )
    found = [
        (entry["file"], entry["text"], list(entry["names"]))
        for entry in tokens_found(tmp_path, IDENTITIES)
    ]
    assert found == [
        ("tokenizer.json", "<|rio_start|>", ["Rio"]),
        ("tokenizer_config.json", "Nex-AGI", ["Nex"]),
    ]


def test_a_model_without_small_files_has_nothing(tmp_path):
    assert (
        settings_found(tmp_path, IDENTITIES) == tokens_found(tmp_path, IDENTITIES) == []
    )
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert settings_found(tmp_path, IDENTITIES) == []


def test_the_mask_says_whom_a_text_names_and_how_the_template_differs(tmp_path):
    found = mask(
        template(MASKED),
        tmp_path,
        {"qwen": template(CHATML), "none": template(CHATML) | {"shipped": None}},
        IDENTITIES,
    )
    (item,) = found["injected"]
    assert item["names"] == {"Rio": ["Rio"]}  # the denied one is not stated
    assert found["differs"]["none"]["same"] is None
    assert found["differs"]["qwen"]["same"] is False
    assert any(
        line.startswith("+") and "<|im_start|>system" in line
        for line in found["differs"]["qwen"]["lines"]
    )


def test_text_that_nothing_printed_and_further_templates_say_whom_they_name(tmp_path):
    hidden = "{% if late %}You are Rio, not Nex.{% endif %}" + CHATML
    found = mask(
        template(hidden)
        | {"others": [{"source": "rag", "reason": None} | template(MASKED)]},
        tmp_path,
        {},
        IDENTITIES,
    )
    assert [(item["text"], item["names"]) for item in found["unprinted"]] == [
        ("You are Rio, not Nex.", {"Rio": ["Rio"]})
    ]
    assert [item["names"] for item in found["others"][0]["injected"]] == [
        {"Rio": ["Rio"]}
    ]
    unread = mask(template(hidden) | {"unprinted": None}, tmp_path, {}, IDENTITIES)
    assert unread["unprinted"] is None


def test_a_diff_is_readable_and_bounded():
    one = "".join(f"{{% if a == {i} %}}x{{% endif %}}" for i in range(40))
    assert template_diff(one, one) == {"same": True, "lines": [], "left_out": 0}
    changed = template_diff(one, one.replace("a == 7 ", "a == 'Rio' "))
    assert [line for line in changed["lines"] if line[0] in "+-"] == [
        "-{% if a == 7 %}",
        "+{% if a == 'Rio' %}",
    ]
    many = template_diff(
        "\n".join(map(str, range(999))), "\n".join(map(str, range(1000, 1999)))
    )
    assert len(many["lines"]) == MAX_DIFF
    assert many["left_out"] > 1000
