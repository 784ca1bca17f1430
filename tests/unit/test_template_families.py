"""Chat templates in the manner of the published families: what is said is found and
taken away, and no turn's frame is taken for words.
"""

from functools import lru_cache

import pytest

from mergetrace.probe.chat_template import analyse
from mergetrace.probe.conversations import conversation, in_parts
from mergetrace.probe.jinja_child import Job
from mergetrace.probe.jinja_sandbox import render
from mergetrace.testing.template_families import CASES, behind
from mergetrace.testing.template_shapes import TOKENS

WORDS = ("first thing", "second thing", "third thing")
CONDITION = {
    "default": "no system message",
    "always": "always",
    "behind": "behind the message",
}


@lru_cache
def analysed(name):
    return analyse(CASES[name].template, TOKENS)


@lru_cache
def printed():
    """{(name, "stripped" or "expected"): what it prints of one and of three messages,
    opened and not, without and with a system message}.
    """
    jobs = []
    for name, case in CASES.items():
        for system in (None, "Be brief."):
            expected = case.plain if system is None else case.template
            for source, kind in (
                (analysed(name)["stripped"], "stripped"),
                (expected, "expected"),
            ):
                chats = [
                    conversation(*WORDS[:count], system=system) for count in (1, 3)
                ]
                chats = [
                    in_parts(chat) if analysed(name)["parts"] else chat
                    for chat in chats
                ]
                jobs += [
                    ((name, kind), Job(source or "", chat, opened, TOKENS))
                    for chat in chats
                    for opened in (True, False)
                ]
    texts = {}
    for (key, _), result in zip(
        jobs, render([job for _, job in jobs], seconds=60), strict=True
    ):
        texts.setdefault(key, []).append(result.text)
    return texts


def test_there_are_enough_of_them():
    assert len(CASES) >= 115
    assert len({case.template for case in CASES.values()}) == len(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_is_said_is_found_and_nothing_else(name):
    case = CASES[name]
    found = analysed(name)
    told = {item["condition"]: item["text"] for item in found["injected"]}
    assert found["reason"] is None
    assert found["unprinted"] == []
    if case.way == "nothing":
        assert told == {}
        assert found["stripped"] == case.template
        return
    said = behind(case.persona) if case.way == "behind" else case.persona
    assert [
        line
        for line in said.strip().splitlines()
        if line not in told[CONDITION[case.way]]
    ] == []
    assert set(told) <= {
        CONDITION[case.way],
        "no system message",
        "empty system message",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_is_left_prints_what_the_family_prints_that_says_nothing(name):
    assert printed()[name, "stripped"] == printed()[name, "expected"]
