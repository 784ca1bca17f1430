"""Chat templates in the manner of the published families: what is said is found and taken away, and no turn's frame is taken for words."""

from functools import lru_cache

import pytest
from template_families import CASES, behind
from template_shapes import TOKENS

from mergetrace.probe.chat_template import analyse
from mergetrace.probe.conversations import conversation, in_parts
from mergetrace.probe.jinja_sandbox import Job, render

WORDS = ("first thing", "second thing", "third thing")
CONDITION = {"default": "no system message", "always": "always", "behind": "behind the message"}


@lru_cache
def analysed(name):
    return analyse(CASES[name].template, TOKENS)


def chats(found):
    """Conversations of one and of three messages, opened and not, without and with a system message."""
    made = [conversation(*WORDS[:count], system=system) for system in (None, "Be brief.") for count in (1, 3)]
    return [in_parts(chat) if found["parts"] else chat for chat in made]


def test_there_are_enough_of_them():
    assert len(CASES) >= 115
    assert len({case.template for case in CASES.values()}) == len(CASES)


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_is_found_and_taken_away_and_nothing_else(name):
    case, found = CASES[name], analysed(name)
    told = {item["condition"]: item["text"] for item in found["injected"]}
    assert found["reason"] is None
    assert found["unprinted"] == []
    if case.way == "nothing":
        assert told == {}
        assert found["stripped"] == case.template
        return
    said = behind(case.persona) if case.way == "behind" else case.persona
    assert [line for line in said.strip().splitlines() if line not in told[CONDITION[case.way]]] == []
    assert set(told) <= {CONDITION[case.way], "no system message", "empty system message"}
    jobs = [(chat, opened) for chat in chats(found) for opened in (True, False)]
    stripped = render([Job(found["stripped"], chat, opened, TOKENS) for chat, opened in jobs])
    expected = render([Job(case.plain if chat[0]["role"] == "user" else case.template, chat, opened, TOKENS) for chat, opened in jobs])
    assert [each.text for each in stripped] == [each.text for each in expected]
