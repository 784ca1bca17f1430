"""What a thinking model says to itself, told apart from its answer."""

import re

_MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought", "<channel|>"),
)
"""How published models mark the stretch: Qwen, DeepSeek and GLM; others in words;
Magistral; Kimi; Seed; Command; Gemma.
"""

_CHANNEL = re.compile(
    r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>(.*?)(?=<\|(?:end|return|start|call|channel)\|>|\Z)",
    re.DOTALL,
)
"""gpt-oss names the channel of every message: `final` is the answer."""


def separate(text: str, rendered: str = "") -> tuple[str | None, str]:
    """Tell the reasoning of a generated text from its answer: (reasoning, answer);
    reasoning is None where the model did not think aloud.

    rendered: the prompt, whose end may open the reasoning already. Reasoning that never
    closes leaves an empty answer.
    """
    channels = _CHANNEL.findall(text)
    if channels:
        thought = [said for channel, said in channels if channel != "final"]
        answer = [said for channel, said in channels if channel == "final"]
        reasoning = "\n".join(thought).strip() if thought else None
        return reasoning, "\n".join(answer).strip()
    prompt = rendered.rstrip()
    for opening, closing in _MARKS:
        opened = prompt.endswith(opening)
        if opened or opening in text or closing in text:
            return _marked(text, opening, closing, opened)
    return None, text


def _marked(
    text: str, opening: str, closing: str, inside: bool
) -> tuple[str | None, str]:
    """Every stretch between the marks is reasoning; so is all before a closing mark
    that nothing opened. inside: whether the text begins within such a stretch.
    """
    thought: list[str] = []
    spoken: list[str] = []
    for piece in re.split(f"({re.escape(opening)}|{re.escape(closing)})", text):
        if piece == closing and not inside:
            thought = thought + spoken
            spoken = []
        elif piece not in (opening, closing):
            (thought if inside else spoken).append(piece)
        inside = piece == opening or (inside and piece != closing)
    return (
        "\n".join(part.strip() for part in thought if part.strip()),
        "".join(spoken).strip(),
    )
