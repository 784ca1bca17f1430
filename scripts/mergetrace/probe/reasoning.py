"""What a thinking model says to itself, told apart from its answer."""

import re

# How published models mark the stretch: Qwen, DeepSeek and GLM; others in words;
# Magistral; Kimi; Seed; Command; Gemma.
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
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>(.*?)(?=<\|(?:end|return|start|call|channel)\|>|\Z)",
    re.DOTALL,
)  # gpt-oss


def separate(text: str, rendered: str = "") -> tuple[str | None, str]:
    """(reasoning, answer) of a generated text; reasoning is None where the model did
    not think aloud.

    rendered: the prompt, whose end may open the reasoning already. Reasoning that never
    closes leaves an empty answer.
    """
    if channels := _CHANNEL.findall(text):
        spoken = [said for channel, said in channels if channel == "final"]
        thought = [said for channel, said in channels if channel != "final"]
        return "\n".join(thought).strip() if thought else None, "\n".join(
            spoken
        ).strip()
    for opening, closing in _MARKS:
        if opening in text or closing in text or rendered.rstrip().endswith(opening):
            return _marked(text, opening, closing, rendered.rstrip().endswith(opening))
    return None, text


def _marked(
    text: str, opening: str, closing: str, inside: bool
) -> tuple[str | None, str]:
    """Every stretch between the marks is reasoning; so is all before a closing mark
    that nothing opened.
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
