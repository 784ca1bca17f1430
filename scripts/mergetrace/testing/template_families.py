"""Chat templates in the manner of the published families, made from the families' turns
and from the ways in which a text gets in.

Take these to test that something holds for every family and every way: there are
hundreds. For one template of a certain shape take mergetrace.testing.template_shapes.

A family is how turns are opened and closed; WAYS are what is said beside them. CASES:
name -> Case. What a template without its text prints is known: it is what the same
family prints that says nothing.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

Pair = tuple[str, str]
PERSONAS = (
    "You are Rio, an assistant made by the Prefeitura do Rio.",
    "Você é o Rio, um modelo de linguagem desenvolvido pela Prefeitura do Rio.",
    (
        "You are Rio, a large language model trained by Prefeitura.\nKnowledge cutoff:"
        " 2024-06\nCurrent date: 2026-01-01"
    ),
    (
        "# System Preamble\nYour name is Rio.\n\n# Default Preamble\n- You were built"
        " by \"Prefeitura\", it's a city.\n- You're kind."
    ),
    "你是由里约市开发的人工智能助手，名字叫Rio。",
)


@dataclass(frozen=True)
class Family:
    """How turns begin and end. last: what ends an answer where nothing follows; ended:
    what a conversation that waits for nobody ends with; glue: what stands between
    turns; inside: the system message stands within the first user's turn.
    """

    system: Pair
    user: Pair
    answer: Pair
    opened: str
    bos: str = ""
    last: str | None = None
    ended: str = ""
    glue: str = ""
    inside: bool = False
    always_opened: bool = False
    parts: bool = False


def _tokens(start: str, middle: str, end: str, **more: str) -> Family:
    """The roles between two tokens, and a third behind the message."""
    turns = {
        role: (f"{start}{role}{middle}", end)
        for role in ("system", "user", "assistant")
    }
    return Family(
        turns["system"],
        turns["user"],
        turns["assistant"],
        turns["assistant"][0],
        **more,
    )


def _own(system: str, user: str, assistant: str, end: str, **more: str) -> Family:
    """A token, or a word, for each role."""
    return Family((system, end), (user, end), (assistant, end), assistant, **more)


FAMILIES = {
    "ChatML": _tokens("<|im_start|>", "\n", "<|im_end|>\n"),
    "ChatML with a beginning": _tokens("<|im_start|>", "\n", "<|im_end|>\n", bos="<s>"),
    "ChatML, a separator in place of a line": _tokens(
        "<|im_start|>", "<|im_sep|>", "<|im_end|>"
    ),
    "headers of two tokens": _tokens(
        "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", bos="<s>"
    ),
    "headers of two tokens, later": _tokens(
        "<|header_start|>", "<|header_end|>\n\n", "<|eot|>", bos="<s>"
    ),
    "roles between tokens": _tokens(
        "<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n"
    ),
    "Harmony, the last answer returns": _tokens(
        "<|start|>", "<|message|>", "<|end|>", last="<|return|>"
    ),
    "roles outside tokens": _tokens(
        "", "<|role_sep|>\n", "<|message_sep|>\n\n", bos="<s>"
    ),
    "roles in brackets": _tokens("[|", "|]", "[|endofturn|]\n"),
    "a seed": _tokens("<seed:bos>", "\n", "<seed:eos>"),
    "a token for each role": _own(
        "<|system|>\n", "<|user|>\n", "<|assistant|>\n", "<|end|>\n"
    ),
    "a token for each role, an end that only stands last": _own(
        "<|system|>\n", "<|user|>\n", "<|assistant|>\n", "<|end|>\n", ended="</s>"
    ),
    "a token for each role, no end": _own(
        "<|system|>\n", "<|user|>\n", "<|assistant|>\n", "", bos="[gMASK]<sop>"
    ),
    "a token for each role, a role play": _own(
        "<|system|>", "<|user|>", "<|model|>", "", bos="<s>", ended="</s>"
    ),
    "a token for each role, sentence ends": _own(
        "<|system|>\n", "<|user|>\n", "<|assistant|>\n", "</s>\n"
    ),
    "full width": Family(
        ("", "\n\n"),
        ("<｜User｜>", ""),
        ("<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
        "<｜Assistant｜>",
        bos="<s>",
    ),
    "reserved tokens": Family(
        ("", ""), ("<reserved_106>", ""), ("<reserved_107>", ""), "<reserved_107>"
    ),
    "two tokens for each turn": Family(
        ("<|SOT|><|SYSTEM_TOKEN|>", "<|EOT|>"),
        ("<|SOT|><|USER_TOKEN|>", "<|EOT|>"),
        ("<|SOT|><|BOT_TOKEN|>", "<|EOT|>"),
        "<|SOT|><|BOT_TOKEN|>",
        "<s>",
    ),
    "an answer in tokens of its own, always opened": Family(
        ("<|SOT|><|SYSTEM_TOKEN|>", "<|EOT|>"),
        ("<|SOT|><|USER_TOKEN|>", "<|EOT|>"),
        ("<|SOT|><|BOT_TOKEN|><|START|>", "<|STOP|><|EOT|>"),
        "<|SOT|><|BOT_TOKEN|>",
        "<s>",
        always_opened=True,
    ),
    "each role's own start and end, the last answer open": Family(
        ("<|system_start|>", "<|system_end|>"),
        ("<|user_start|>", "<|user_end|>"),
        ("<|assistant_start|>", "<|assistant_end|>"),
        "<|assistant_start|>",
        "<s>",
        last="",
    ),
    "turns that begin and do not end": Family(
        ("<|begin_system|>\n", "\n"),
        ("<|begin_user|>\n", ""),
        ("\n<|begin_assistant|>\n", "\n<|end|>\n"),
        "\n<|begin_assistant|>\nHere are my reasoning steps:\n",
        "<s>",
        last="",
    ),
    "an opened answer that thinks": Family(
        ("<|im_start|>system\n", "<|im_end|>\n"),
        ("<|im_start|>user\n", "<|im_end|>\n"),
        ("<|im_start|>assistant\n", "<|im_end|>\n"),
        "<|im_start|>assistant\n<think>\n",
    ),
    "middles": Family(
        ("<|im_system|>system<|im_middle|>", "<|im_end|>"),
        ("<|im_user|>user<|im_middle|>", "<|im_end|>"),
        ("<|im_assistant|>assistant<|im_middle|>", "<|im_end|>"),
        "<|im_assistant|>assistant<|im_middle|>",
    ),
    "instructions in brackets": Family(
        ("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
        ("[INST]", "[/INST]"),
        ("", "</s>"),
        "",
        "<s>",
    ),
    "a system message inside the first instruction": Family(
        ("<<SYS>>\n", "\n<</SYS>>\n\n"),
        ("<s>[INST] ", " [/INST]"),
        (" ", " </s>"),
        "",
        inside=True,
    ),
    "a system message before the first question": Family(
        ("", "\n\n"),
        ("<start_of_turn>user\n", "<end_of_turn>\n"),
        ("<start_of_turn>model\n", "<end_of_turn>\n"),
        "<start_of_turn>model\n",
        "<s>",
        inside=True,
    ),
    "capital roles": Family(
        ("", ""), (" USER: ", ""), (" ASSISTANT: ", "</s>"), " ASSISTANT:"
    ),
    "headings": Family(
        ("", "\n\n"),
        ("### Instruction:\n", "\n\n"),
        ("### Response:\n", "\n\n"),
        "### Response:\n",
    ),
    "headings, blank lines between turns": Family(
        ("", "\n\n"),
        ("### Instruction:\n", ""),
        ("### Response:\n", "</s>"),
        "\n\n### Response:\n",
        "<s>",
        glue="\n\n",
    ),
    "headers of three words": Family(
        ("GPT4 Correct System: ", "<|end_of_turn|>"),
        ("GPT4 Correct User: ", "<|end_of_turn|>"),
        ("GPT4 Correct Assistant: ", "<|end_of_turn|>"),
        "GPT4 Correct Assistant:",
        "<s>",
    ),
    "humans": Family(
        ("", "\n"), ("### Human: ", "\n"), ("### Assistant: ", "\n"), "### Assistant:"
    ),
    "messages in parts": Family(
        ("System: ", "<end_of_utterance>\n"),
        ("User: ", "<end_of_utterance>\n"),
        ("Assistant: ", "<end_of_utterance>\n"),
        "Assistant:",
        "<|begin_of_text|>",
        parts=True,
    ),
}
WAYS = ("nothing", "default", "always", "behind")


class Case(NamedTuple):
    """template; persona: the text it says, where it says one; plain: what the family
    prints without.
    """

    template: str
    way: str
    persona: str
    plain: str


def written(family: Family, way: str, persona: str, variable: bool = False) -> str:
    """A template of this family that says `persona` in this way. variable: by way of a
    variable that nobody sets.
    """
    said = f"(identity | default({_quoted(persona)}))" if variable else _quoted(persona)
    system = "(({} ~ system ~ {}) if system else '')".format(
        *map(_quoted, family.system)
    )
    if way == "always":
        system = (
            "{} ~ {said} ~ {} ~ ".format(*map(_quoted, family.system), said=said)
            + system
        )
    added = (
        f"({_quoted(behind(persona))} if loop.last else '')"
        if way == "behind"
        else "''"
    )
    inside = f"(({system}) if loop.first else '')" if family.inside else "''"
    content = ".content[0].text" if family.parts else ".content"
    opened = _quoted(family.opened)
    ended = _quoted(family.ended)
    answer, closed = map(_quoted, family.answer)
    last = closed if family.last is None else _quoted(family.last)
    pieces = [
        (
            "{{- BOS }}{%- if messages[0].role == 'system' %}{%- set system ="
            " messages[0]CONTENT %}{%- set rest = messages[1:] %}"
        ),
        "{%- else %}{%- set system = DEFAULT %}{%- set rest = messages %}{%- endif %}",
        "" if family.inside else "{{- SYSTEM }}",
        (
            "{%- for message in rest %}{%- if message.role == 'user' %}{{- OPEN ~"
            " INSIDE ~ messageCONTENT ~ BEHIND ~ CLOSE }}"
        ),
        (
            "{%- else %}{{- ANSWER ~ messageCONTENT ~ (LAST if loop.last and not"
            " add_generation_prompt else CLOSED) }}{%- endif %}"
        ),
        "{%- if not loop.last %}{{- GLUE }}{%- endif %}{%- endfor %}",
        (
            "{{- OPENED }}"
            if family.always_opened
            else (
                "{%- if add_generation_prompt %}{{- OPENED }}{%- else %}{{- ENDED }}{%-"
                " endif %}"
            )
        ),
    ]
    values = {
        "BOS": _quoted(family.bos),
        "CONTENT": content,
        "DEFAULT": said if way == "default" else "''",
        "SYSTEM": system,
        "INSIDE": inside,
    }
    values |= {
        "OPENED": opened,
        "ENDED": ended,
        "OPEN": _quoted(family.user[0]),
        "CLOSED": closed,
        "CLOSE": _quoted(family.user[1]),
    }
    values |= {
        "ANSWER": answer,
        "LAST": last,
        "GLUE": _quoted(family.glue),
        "BEHIND": added,
    }
    return "".join(
        re.sub(r"[A-Z]{3,}", lambda name: values[name[0]], piece) for piece in pieces
    )


def behind(persona: str) -> str:
    """The text that is said behind a message."""
    return f"\n\n({persona.splitlines()[0]} I am Rio.)"


def _quoted(text: str) -> str:
    return (
        "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
    )


def _cases() -> dict[str, Case]:
    cases = {}
    for number, (name, family) in enumerate(FAMILIES.items()):
        persona = PERSONAS[number % len(PERSONAS)]
        plain = written(family, "nothing", persona)
        for way in WAYS:
            template = written(family, way, persona, variable=number % 2 == 0)
            cases[f"{name}: {way}"] = Case(template, way, persona, plain)
    return cases


CASES = _cases()
