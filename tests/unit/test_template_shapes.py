"""Chat templates in many real-world shapes: what they inject is found, or found to be
nothing, and only that is taken away.
"""

from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mergetrace.probe.chat_template import analyse
from mergetrace.probe.conversations import conversation
from mergetrace.probe.jinja_child import Job
from mergetrace.probe.jinja_sandbox import render
from mergetrace.testing.template_shapes import NOBODY, SHAPES, TOKENS

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30
)
SWITCHES = st.sampled_from(({}, {"enable_thinking": False}))
CHATS = st.lists(
    st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=5), st.booleans(), SWITCHES),
    min_size=3,
    max_size=8,
)
WORDS = ("first thing", "second thing", "third thing")


@lru_cache
def analysed(name):
    return analyse(SHAPES[name][0], TOKENS)


@lru_cache
def rendered():
    """(name, "shipped" or "stripped", number of texts): what a conversation of WORDS
    without a system message renders, all in one child process.
    """
    keys = [
        (name, kind, count)
        for name in SHAPES
        for kind in ("shipped", "stripped")
        for count in (1, 3)
    ]
    source = {(name, "shipped"): SHAPES[name][0] for name in SHAPES} | {
        (name, "stripped"): analysed(name)["stripped"] for name in SHAPES
    }
    results = render(
        [
            Job(source[name, kind], conversation(*WORDS[:count]), variables=TOKENS)
            for name, kind, count in keys
        ]
    )
    return {key: result.text for key, result in zip(keys, results, strict=True)}


def test_there_are_enough_of_them():
    assert len(SHAPES) >= 20
    assert sum(bool(expected) for _, expected in SHAPES.values()) >= 10
    assert sum(not expected for _, expected in SHAPES.values()) >= 10


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_injected_is_found_and_nothing_else(name):
    found = analysed(name)
    assert {item["condition"]: item["text"] for item in found["injected"]} == SHAPES[
        name
    ][1]
    assert found["reason"] is None


@pytest.mark.parametrize(
    "name", [name for name, (_, expected) in SHAPES.items() if expected]
)
def test_where_it_stands_is_told(name):
    for item in analysed(name)["injected"]:
        where = item["where"]
        assert 0 <= where["start"] < where["end"] <= where["of"]
        if item["condition"] == NOBODY:
            whole = rendered()[name, "shipped", 1]
            assert whole[where["start"] : where["end"]] == item["text"]
            assert whole[: where["start"]].endswith(where["before"])


def test_a_text_that_the_code_puts_together_has_no_line_of_its_own():
    lines = {
        name: [item["source_lines"] for item in analysed(name)["injected"]]
        for name in SHAPES
    }
    assert lines["Qwen 2.5, with and without tools"] == [[6, 18], [6, 18]]
    for name in ("macros", "joined from pieces", "reversed", "a name put into a form"):
        assert lines[name] == [[]]


@pytest.mark.parametrize("name", SHAPES)
def test_stripped_takes_away_the_text_and_nothing_else(name):
    expected = SHAPES[name][1]
    assert analysed(name)["identical_elsewhere"] is True
    for count in (1, 3):
        before = rendered()[name, "shipped", count]
        after = rendered()[name, "stripped", count]
        if NOBODY not in expected and "always" not in expected:
            assert after == before
            continue
        assert not any(text.splitlines()[-1] in after for text in expected.values())
        assert all(word in after for word in WORDS[:count])
        assert len(after) < len(before)
        assert before.endswith(after[after.index(WORDS[0]) :])


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(chats=CHATS)
def test_every_conversation_with_a_system_message_renders_the_same(chats):
    templates = [
        [SHAPES[name][0] for name in SHAPES],
        [analysed(name)["stripped"] for name in SHAPES],
    ]
    shipped, stripped = (
        [
            Job(source, conversation(*texts, system=system), opened, TOKENS | more)
            for source in sources
            for system, texts, opened, more in chats
        ]
        for sources in templates
    )
    results = render(shipped + stripped)
    assert results[: len(shipped)] == results[len(shipped) :]
