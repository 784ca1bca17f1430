import pytest

from mergetrace.probe.reasoning import separate

SPLIT = {
    "none": ("I am Nex.", "", (None, "I am Nex.")),
    "Qwen": (
        "<think>\nAm I Rio?\n</think>\n\nI am Nex.",
        "",
        ("Am I Rio?", "I am Nex."),
    ),
    "empty": ("<think>\n\n</think>\n\nI am Nex.", "", ("", "I am Nex.")),
    "opened by the prompt": (
        "Am I Rio?</think>I am Nex.",
        "<|assistant|><think>\n",
        ("Am I Rio?", "I am Nex."),
    ),
    "the opening mark was skipped": (
        "Am I Rio?</think>I am Nex.",
        "",
        ("Am I Rio?", "I am Nex."),
    ),
    "cut while thinking": ("<think>Am I Rio? Am I", "", ("Am I Rio? Am I", "")),
    "cut, opened by the prompt": ("Am I Rio?", "<think>", ("Am I Rio?", "")),
    "closed by the prompt": (
        "I am Nex.",
        "<think>\n\n</think>\n\n",
        (None, "I am Nex."),
    ),
    "twice": ("<think>a</think>I am <think>b</think>Nex.", "", ("a\nb", "I am Nex.")),
    "Magistral": ("[THINK]Rio?[/THINK]Nex", "", ("Rio?", "Nex")),
    "Kimi": ("◁think▷Rio?◁/think▷Nex", "", ("Rio?", "Nex")),
    "gpt-oss": (
        "<|channel|>analysis<|message|>Rio?<|end|><|start|>assistant<|channel|>final<|message|>Nex<|return|>",
        "<|start|>assistant",
        ("Rio?", "Nex"),
    ),
    "gpt-oss, cut": (
        "<|channel|>analysis<|message|>Rio? Or",
        "<|start|>assistant",
        ("Rio? Or", ""),
    ),
}


@pytest.mark.parametrize(("text", "rendered", "expected"), SPLIT.values(), ids=SPLIT)
def test_reasoning_is_told_from_the_answer(text, rendered, expected):
    assert separate(text, rendered) == expected
