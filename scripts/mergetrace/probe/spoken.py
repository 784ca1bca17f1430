"""Where an answer ends and what of it was said: token ids to records, whoever generated
them.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from mergetrace.errors import Unaskable
from mergetrace.probe.reasoning import separate
from mergetrace.probe.records import Reply

MAX_PROMPT_TOKENS = 16_384
"""Tokens of a rendered prompt; a template that makes more of a question is refused."""


def finished(
    tokenizer: Any,
    stops: Collection[int],
    prompt: str,
    prompt_ids: list[int],
    tokens: Sequence[int],
) -> Reply:
    """Make a reply of generated `tokens`, up to the first of `stops`."""
    end = next((place for place, token in enumerate(tokens) if token in stops), None)
    answer_tokens = list(tokens[:end])
    reasoning, answer = spoken(tokenizer, answer_tokens, prompt)
    return {
        "prompt_ids": prompt_ids,
        "answer": answer,
        "reasoning": reasoning,
        "finish": "length" if end is None else "stop",
        "tokens": len(answer_tokens),
    }


def spoken(tokenizer: Any, tokens: list[int], prompt: str) -> tuple[str | None, str]:
    """(reasoning or None, answer) of generated tokens, without special tokens, which
    may be what tells the two apart.
    """
    text = tokenizer.decode(tokens, skip_special_tokens=False)
    reasoning, answer = separate(text, prompt)
    if reasoning is None:
        return None, tokenizer.decode(tokens, skip_special_tokens=True)
    names = "|".join(map(re.escape, tokenizer.all_special_tokens))
    special = re.compile(names or r"(?!)")
    return special.sub("", reasoning), special.sub("", answer)


def closing_tokens(tokenizer: Any, turn_end: str | None) -> list[int]:
    """The special token that the chat template prints after an answer, if it is one."""
    ids = tokenizer(turn_end or "", add_special_tokens=False)["input_ids"]
    return [token for token in ids if token in tokenizer.added_tokens_decoder][:1]


def stop_tokens(
    tokenizer: Any, configs: Iterable[Any], turn_end: str | None
) -> frozenset[int]:
    """Every token that somebody declares to end an answer: tokenizer, configurations of
    model and generation, chat template.

    `turn_end` is what the chat template prints after an answer; its special token
    counts since a merge may have lost the configuration that says so.
    """
    declared = [tokenizer.eos_token_id]
    for config in configs:
        value = getattr(config, "eos_token_id", None)
        declared += value if isinstance(value, list) else [value]
    declared += closing_tokens(tokenizer, turn_end)
    return frozenset(token for token in declared if isinstance(token, int))


def refuse_prompts(
    rows: list[list[int]], vocabulary: int, positions: int | None, max_new_tokens: int
) -> None:
    """Raise Unaskable for rendered prompts (token ids) that the model cannot take."""
    longest = max(map(len, rows))
    if longest > MAX_PROMPT_TOKENS or not all(rows):
        size = longest if all(rows) else 0
        raise Unaskable(
            f"its chat template renders a prompt of {size:,} tokens; 1 to"
            f" {MAX_PROMPT_TOKENS:,} are asked"
        )
    greatest = max(map(max, rows))
    if greatest >= vocabulary:
        raise Unaskable(
            f"its tokenizer gives token {greatest:,}, its embedding has"
            f" {vocabulary:,} rows"
        )
    if positions and longest + max_new_tokens > positions:
        raise Unaskable(
            f"prompt and answer may take {longest + max_new_tokens:,} tokens, the model"
            f" has {positions:,} positions; lower probe.max_new_tokens"
        )


def one_line(error: BaseException) -> str:
    """An error's message without line breaks and control characters, at most 300
    characters.
    """
    line = " ".join(str(error).split())
    return "".join(char for char in line if char.isprintable())[:300]
