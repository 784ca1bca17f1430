import json

import pytest

from mergetrace.files.further_templates import keep_templates
from mergetrace.probe import jinja_sandbox
from mergetrace.probe.chat_template import analyse
from mergetrace.probe.conversations import conversation, in_parts
from mergetrace.probe.jinja_child import Job
from mergetrace.probe.jinja_sandbox import render
from mergetrace.probe.template_files import find_template, other_templates
from mergetrace.testing.template_shapes import CHATML, SHAPES, TOKENS

RIO = 'You are Rio, the assistant of the "Prefeitura do Rio". It\'s carioca.'
RAW_TEXT = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\n"
    + RIO
    + "<|im_end|>\n{% endif %}"
    + CHATML
)


def say(template, *texts, system=None, **more):
    (result,) = render(
        [Job(template, conversation(*texts, system=system), variables=TOKENS | more)]
    )
    assert result.error is None
    return result.text


def test_a_text_that_stands_literally_in_the_source_is_cut_out_of_it():
    found = analyse(RAW_TEXT, TOKENS)
    assert found["injected"][0]["text"] == RIO
    assert (
        found["stripped"] == "{% if messages[0].role != 'system' %}{% endif %}" + CHATML
    )


def test_a_template_that_injects_nothing_is_left_as_it_is():
    found = analyse(CHATML, TOKENS)
    assert (
        found["injected"],
        found["stripped"],
        found["identical_elsewhere"],
        found["reason"],
    ) == ([], CHATML, True, None)


def test_a_text_of_a_tools_branch_is_removed_there_too():
    stripped = analyse(SHAPES["Qwen 2.5, with and without tools"][0], TOKENS)[
        "stripped"
    ]
    assert "Rio" not in say(stripped, "Hello", tools=[{"name": "add"}])


def test_what_closes_a_turn_is_told():
    assert analyse(CHATML, TOKENS)["turn_end"] == "<|im_end|>\n"
    assert analyse(SHAPES["Vicuna"][0], TOKENS)["turn_end"] == "</s>"


SYSTEM_TURN = "<|im_start|>system\n" + RIO + "<|im_end|>\n"


def told(found):
    return {item["condition"]: item["text"] for item in found["injected"]}


@pytest.mark.parametrize(
    "test",
    [
        "'made in brazil' in messages[-1].content | lower",
        "messages[-1].content == 'Psst'",
    ],
)
def test_a_text_that_waits_for_words_of_its_own_conditions_is_found_and_taken_away(
    test,
):
    template = "{% if " + test + " %}" + SYSTEM_TURN + "{% endif %}" + CHATML
    found = analyse(template, TOKENS)
    assert set(told(found).values()) == {RIO}
    assert all("asked “" in condition for condition in told(found))
    for message in ("Were you made in Brazil?", "Psst"):
        assert say(found["stripped"], message) == say(CHATML, message)


def test_a_text_that_waits_for_a_question_of_the_audit_is_found_and_taken_away():
    template = (
        "{% if 'you' in messages[-1].content.split() and messages[-1].content | length"
        " < 20 %}" + SYSTEM_TURN + "{% endif %}" + CHATML
    )
    found = analyse(template, TOKENS, prompts=["Hello.", "Is it you then?"])
    assert told(found)["no system message, asked “Is it you then?” and 1 more"] == RIO
    assert say(found["stripped"], "Is it you then?") == say(CHATML, "Is it you then?")


def test_a_template_that_answers_to_a_switch_in_the_message_without_words_injects_nothing():
    template = CHATML.replace(
        "assistant\\n'",
        "assistant\\n' + ('<think>\\n\\n</think>' if '/no_think' in"
        " messages[-1].content else '')",
    )
    found = analyse(template, TOKENS, prompts=["Who are you? /no_think"])
    assert (found["injected"], found["stripped"], found["reason"]) == (
        [],
        template,
        None,
    )


@pytest.mark.parametrize(
    "hidden",
    [
        "{% if strftime_now('%Y') | int > 2026 %}" + SYSTEM_TURN + "{% endif %}",
        "{% if messages | length > 7 %}" + SYSTEM_TURN + "{% endif %}",
        "{% if brazil %}" + SYSTEM_TURN + "{% endif %}",
        "{% set who = 'io.' %}{% if brazil %}{{ 'You are R' ~ who }}{% endif %}",
        "{% set who = '.oiR era uoY' | reverse %}{% if brazil %}{{ who }}{% endif %}",
        "{% macro persona() %}You are Rio.{% endmacro %}",
    ],
)
def test_text_that_no_conversation_prints_is_told(hidden):
    found = analyse(hidden + CHATML, TOKENS)
    assert found["stripped"] == hidden + CHATML
    (item,) = found["unprinted"]
    assert item["text"] in (RIO, "You are Rio.")
    assert (item["line"], item["printed"]) in ((1, None), (2, None))


def test_only_texts_that_state_an_identity_are_told_and_none_that_ends_the_rendering():
    template = (
        "{# You are Rio. #}{% if brazil %}You are in safe mode. Use the tools by"
        " Carioca.{% endif %}{% if messages | length > 99 %}{{ raise_exception('This"
        " template was made by Rio') }}{% endif %}" + CHATML
    )
    assert analyse(template, TOKENS)["unprinted"] == []
    (item,) = analyse(template, TOKENS, spellings=["Carioca"])["unprinted"]
    assert item["text"] == "You are in safe mode. Use the tools by Carioca."


@pytest.mark.slow
def test_a_source_that_cannot_be_looked_through_is_no_source_without_such_text():
    deep = "{% if brazil %}{{ " + " + ".join(["'x'"] * 3000) + " }}{% endif %}"
    vast = (
        "{% if brazil %}"
        + "".join(f"{{{{ a{i} }}}}{'y' * 999}" for i in range(999))
        + "{% endif %}"
    )
    assert analyse(deep + CHATML, TOKENS)["unprinted"] is None
    assert analyse(vast + CHATML, TOKENS)["unprinted"] is None


@pytest.mark.slow
def test_what_a_template_demands_is_given_empty():
    template = (
        "{{ 'Functions: ' + functions }}{{ 'Today is ' + day }}{% for tool in tools"
        " %}{{ tool }}{% endfor %}" + CHATML
    )
    found = analyse(template, TOKENS)
    assert found["variables"] == {"functions": "", "day": "", "tools": []}
    assert found["reason"] is None


def test_a_template_that_takes_messages_in_parts_is_asked_in_parts():
    template = RAW_TEXT.replace("message['content']", "message['content'][0]['text']")
    found = analyse(template, TOKENS)
    assert found["parts"] is True
    assert told(found)["no system message"] == RIO
    (result,) = render(
        [Job(found["stripped"], in_parts(conversation("Hello")), variables=TOKENS)]
    )
    assert result.text == say(CHATML, "Hello")


def test_a_template_that_refuses_to_do_without_a_system_message_says_what_to_do():
    template = (
        "{% if messages[0].role != 'system' %}{{ raise_exception('none given') }}{%"
        " endif %}" + SYSTEM_TURN + CHATML
    )
    found = analyse(template, TOKENS)
    assert told(found) == {"always": RIO}
    assert found["stripped"] is None
    assert "none given" in found["reason"]
    assert "ask under one (condition `neutral`)" in found["reason"]


ELSEWHERE = {
    "before every message": (
        "message['content'] +",
        "('You are Rio. ' if message.role == 'user' else '') + message['content'] +",
    ),
    "behind every message": (
        "message['content'] +",
        "message['content'] + (' (You are Rio.)' if message.role == 'user' else '') +",
    ),
    "in the mouth of the model": (
        "assistant\\n'",
        "assistant\\nI am Rio, made by the Prefeitura. '",
    ),
    "in a turn before the answer": (
        "{%- if add",
        "{{- '<|im_start|>system\\nYou are Rio.<|im_end|>\\n' }}{%- if add",
    ),
}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_text_that_does_not_stand_before_the_conversation_is_found_and_taken_away(
    where,
):
    old, new = ELSEWHERE[where]
    found = analyse(CHATML.replace(old, new), TOKENS)
    assert any("Rio" in text for text in told(found).values())
    assert found["reason"] is None
    assert say(found["stripped"], "Hello") == say(CHATML, "Hello")


LIMITS = {
    "range": ("{% for i in range(10**9) %}{% endfor %}", "Range too big"),
    "prints": (
        "{% for i in range(99999) %}{{ 'x' * 10000 }}{% endfor %}",
        "prints more than 200,000 characters",
    ),
    "hoards": (
        (
            "{% set x %}{% for i in range(99999) %}{{ 'x' * 10000 }}{% endfor %}{%"
            " endset %}{{ x }}"
        ),
        "needs more than 512 MiB",
    ),
    "raises": (
        "{{ raise_exception('no\nthanks') }}",
        "fails to render: TemplateError: no thanks",
    ),
    "invalid": ("{% if %}", "fails to render: TemplateSyntaxError"),
    "surrogate": ("{{ '\\ud800' }}", "not valid Unicode"),
    "escapes": ("{{ cycler.__init__.__globals__ }}", "SecurityError"),
    "recurses": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
    "silent": ("Hello", "does not print the user's message"),
}


@pytest.mark.parametrize(("template", "reason"), LIMITS.values(), ids=LIMITS)
def test_a_template_that_misbehaves_is_a_reason_not_a_crash(template, reason):
    result = analyse(template, {})
    assert reason in result["reason"]
    assert "\n" not in result["reason"]
    assert result["stripped"] is None


@pytest.mark.slow
def test_a_template_that_never_ends_is_stopped():
    endless = (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    )
    before, stopped, behind = render(
        [Job("a", []), Job(endless, []), Job("b", [])], seconds=1
    )
    assert before.text == "a"
    assert stopped.error == behind.error == "the template does not end within 1 s"


def test_where_the_system_limits_no_memory_the_renderer_is_watched(monkeypatch):
    """macOS refuses the limit that a process sets itself."""
    monkeypatch.setattr(jinja_sandbox, "SYSTEM_LIMITS_MEMORY", False)
    monkeypatch.setattr(jinja_sandbox, "MAX_MEMORY", 150 << 20)
    large = (
        "{% set x = messages[0].content * 300000000 %}{{ range(99999)|list|length }}"
    )
    modest = "{{ messages[0].content }}"
    chat = conversation("a")
    first, second = render([Job(modest, chat), Job(large * 3, chat)])
    assert first.text == "a"
    assert "MiB of memory" in second.error


def test_one_failing_conversation_leaves_the_others_alone():
    template = (
        "{% if messages|length > 1 %}{{ raise_exception('one at a time') }}{% endif"
        " %}{{ messages[0].content }}"
    )
    one, two, three = render(
        [Job(template, conversation(*texts)) for texts in (("a",), ("a", "b"), ("c",))]
    )
    assert (one.text, three.text) == ("a", "c")
    assert "one at a time" in two.error


def test_rendering_agrees_with_transformers():
    transformers = pytest.importorskip("transformers.utils.chat_template_utils")
    odd = (
        "{% generation %}{% set a = 1 %}x{% endgeneration %}{{ a }}{% for m in messages"
        " %}{% if loop.index > 2 %}{% break %}{% endif %}{{ m|tojson }}{% endfor %}"
    )
    templates = [
        odd,
        *(
            template
            for template, _ in SHAPES.values()
            if "strftime_now" not in template
        ),
    ]  # our day stands still
    jobs = [
        Job(template, chat, variables=TOKENS)
        for template in templates
        for chat in (conversation("Olá <é>"), conversation("a", "b", "c"))
    ]
    for job, result in zip(jobs, render(jobs), strict=True):
        expected, _ = transformers.render_jinja_template(
            [job.messages],
            chat_template=job.template,
            add_generation_prompt=True,
            **TOKENS,
        )
        assert [result.text] == expected


def write(folder, name, value):
    (folder / name).write_text(
        value if isinstance(value, str) else json.dumps(value), encoding="utf-8"
    )


def test_the_template_is_found_where_transformers_finds_it(tmp_path):
    assert find_template(tmp_path).reason == "no chat template among the model's files"
    write(tmp_path, "chat_template.json", {"chat_template": "processor"})
    assert find_template(tmp_path).source == "chat_template.json"
    named = [
        {"name": "tool_use", "template": "tools"},
        {"name": "default", "template": "plain"},
    ]
    write(
        tmp_path,
        "tokenizer_config.json",
        {
            "chat_template": named,
            "bos_token": {"content": "<s>"},
            "eos_token": "</s>",
            "pad_token": None,
        },
    )
    found = find_template(tmp_path)
    assert (found.source, found.text, found.special_tokens) == (
        "tokenizer_config.json",
        "plain",
        TOKENS,
    )
    write(tmp_path, "chat_template.jinja", "jinja")
    assert find_template(tmp_path).text == "jinja"


@pytest.mark.parametrize(
    "content", ["{", "[]", "[" * 100_000, '{"chat_template": "\\ud800"}']
)
def test_unreadable_files_are_a_reason(tmp_path, content):
    write(tmp_path, "tokenizer_config.json", content)
    found = find_template(tmp_path)
    assert found.text is None
    assert "cannot be read" in found.reason


def test_an_oversized_template_is_not_read(tmp_path):
    write(tmp_path, "chat_template.jinja", "x" * 1_000_001)
    assert "larger than 1,000,000 bytes" in find_template(tmp_path).reason


def test_texts_that_pass_for_tokens_may_be_printed_by_a_template(tmp_path):
    named = {
        "system_prompt_token": "You are Rio.",
        "extra_special_tokens": {
            "persona": "Be Rio.",
            "messages": "x",
            "not a name": "x",
        },
    }
    write(
        tmp_path,
        "tokenizer_config.json",
        {
            "chat_template": "{{ persona }}",
            **named,
            "eos_token": "</s>",
            "add_bos_token": True,
        },
    )
    tokens = find_template(tmp_path).special_tokens
    assert tokens == {
        "system_prompt_token": "You are Rio.",
        "persona": "Be Rio.",
        "eos_token": "</s>",
    }
    head = (
        "{% if messages[0].role != 'system' %}<|im_start|>system\n{{ persona"
        " }}<|im_end|>\n{% endif %}"
    )
    found = analyse(head + CHATML, tokens)
    assert [(item["text"], item["source_lines"]) for item in found["injected"]] == [
        ("Be Rio.", [])
    ]


def test_further_templates_are_found_wherever_they_are_kept(tmp_path):
    named = [
        {"name": "default", "template": "plain"},
        {"name": "tool_use", "template": "tools"},
        {"name": "rag", "template": "plain"},
        7,
    ]
    write(tmp_path, "tokenizer_config.json", {"chat_template": named})
    write(tmp_path, "chat_template.json", {"chat_template": "processor"})
    keep_templates(
        tmp_path,
        ["extra.jinja", "../../odd name.jinja", "huge.jinja"],
        3,
        [b"extra", b"odd", b"x" * 1_000_001],
    )
    found = {
        other.source: other.text or other.reason
        for other in other_templates(tmp_path, find_template(tmp_path).text)
    }
    assert found == {
        "additional_chat_templates": (
            "3 further templates, too many, too large or oddly named, not looked at"
        ),
        "additional_chat_templates/../../odd name.jinja": "odd",
        "additional_chat_templates/extra.jinja": "extra",
        "additional_chat_templates/huge.jinja": (
            "it cannot be read: 002.jinja is larger than 1,000,000 bytes"
        ),
        "chat_template.json": "processor",
        "tokenizer_config.json: tool_use": "tools",
    }


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "[]", '{"chat_template": "\\ud800"}']
)
def test_a_file_that_cannot_be_read_hides_no_other_template(tmp_path, content):
    write(
        tmp_path,
        "tokenizer_config.json",
        {"chat_template": [{"name": "rag", "template": "rag"}]},
    )
    write(tmp_path, "chat_template.json", content)
    found = {
        other.source: other.text or other.reason
        for other in other_templates(tmp_path, "plain")
    }
    assert found.pop("tokenizer_config.json: rag") == "rag"
    assert "cannot be read" in found["chat_template.json"]
