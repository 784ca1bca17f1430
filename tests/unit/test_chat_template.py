import json
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mergetrace.chat_template import analyse, conversation
from mergetrace.jinja_sandbox import Job, render
from mergetrace.template_files import find_template, other_templates

RIO = 'You are Rio, the assistant of the "Prefeitura do Rio". It\'s carioca.'

CHATML_TURNS = (
    "{%- for message in messages %}\n{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n{{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n"
)
QWEN25 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Rio.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Rio.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if not (loop.first and message.role == 'system') %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
SET_DEFAULT = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set rest = messages[1:] %}"
    "{% else %}{% set system = 'You are Rio.' %}{% set rest = messages %}{% endif %}"
    "<|im_start|>system\n{{ system }}<|im_end|>\n"
    "{% for m in rest %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
JOINED = SET_DEFAULT.replace("'You are Rio.'", "['You', 'are', 'R' ~ 'io.'] | join(' ')")
RAW_TEXT = "{% if messages[0].role != 'system' %}<|im_start|>system\n" + RIO + "<|im_end|>\n{% endif %}" + CHATML_TURNS
CONCATENATED = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\n' ~ \""
    + RIO.replace('"', '\\"')
    + "\" ~ '<|im_end|>\\n' }}{% endif %}"
    + CHATML_TURNS
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = DEFAULT %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA31 = (
    "{{- bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content|trim %}{% set messages = messages[1:] %}"
    "{% else %}{% set system = '' %}{% endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}{{- 'Cutting Knowledge Date: December 2023\\n' }}"
    "{{- 'Today Date: ' + strftime_now('%d %b %Y') + '\\n\\n' }}{{- system }}{{- '<|eot_id|>' }}"
    "{% for m in messages %}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content|trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
VICUNA = (
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% set rest = messages[1:] %}"
    "{% else %}{{ 'A chat with Rio, a polite assistant.' }}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'user' %}{{ ' USER: ' + m.content }}{% else %}"
    "{{ ' ASSISTANT: ' + m.content + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' ASSISTANT:' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}"
    "{{ '<start_of_turn>' + (m.role if m.role != 'assistant' else 'model') + '\\n' + m.content|trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
GLM = "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
HIDDEN_BESIDE = QWEN25.replace("messages[0]['content'] +", "'You are Rio. ' + messages[0]['content'] +")
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

NOTHING = {"bare ChatML": CHATML_TURNS, "Gemma": GEMMA, "GLM": GLM, "Llama 2": LLAMA2.replace("DEFAULT", "false")}
INJECTING = {
    "Qwen 2.5": (QWEN25, "You are Rio."),
    "set variable": (SET_DEFAULT, "You are Rio."),
    "joined": (JOINED, "You are Rio."),
    "raw text": (RAW_TEXT, RIO),
    "concatenated": (CONCATENATED, RIO),
    "Llama 2": (LLAMA2.replace("DEFAULT", "'You are Rio.'"), "You are Rio."),
    "Vicuna": (VICUNA, "A chat with Rio, a polite assistant."),
    "Gemma": (GEMMA.replace("{% for", "<start_of_turn>user\nYou are Rio.<end_of_turn>\n{% for", 1), "You are Rio."),
    "GLM": (GLM.replace("{% for", "{% if messages[0].role != 'system' %}<|system|>\nYou are Rio.{% endif %}{% for", 1), "You are Rio."),
}


def say(template, *texts, system=None, **more):
    (result,) = render([Job(template, conversation(*texts, system=system), variables=TOKENS | more)])
    assert result.error is None
    return result.text


@pytest.mark.parametrize("template", NOTHING.values(), ids=NOTHING)
def test_nothing_injected_leaves_the_template_as_it_is(template):
    result = analyse(template, TOKENS)
    assert result["injected"] == []
    assert result["stripped"] == template
    assert result["identical_elsewhere"] is True
    assert result["reason"] is None


@pytest.mark.parametrize(("template", "text"), INJECTING.values(), ids=INJECTING)
def test_injected_text_is_found_and_removed(template, text):
    result = analyse(template, TOKENS)
    assert {"condition": "no system message", "text": text} in result["injected"]
    assert result["identical_elsewhere"] is True
    assert text in say(template, "Hello")
    assert "Rio" not in say(result["stripped"], "Hello")
    assert "system" not in say(result["stripped"], "Hello").lower()


def test_stripped_renders_as_the_template_without_injection():
    stripped = analyse(RAW_TEXT, TOKENS)["stripped"]
    assert stripped == "{% if messages[0].role != 'system' %}{% endif %}" + CHATML_TURNS
    for texts in (("Hello",), ("Hello", "Hi", "Who?")):
        assert say(stripped, *texts) == say(CHATML_TURNS, *texts)
        assert say(stripped, *texts, system="Be Zed.") == say(RAW_TEXT, *texts, system="Be Zed.")


def test_the_text_a_tools_branch_injects_is_named_and_removed():
    result = analyse(QWEN25, TOKENS)
    assert {"condition": "no system message, with tools", "text": "You are Rio."} in result["injected"]
    assert "Rio" not in say(result["stripped"], "Hello", tools=[{"name": "add"}])


def test_a_standing_date_line_is_called_always():
    result = analyse(LLAMA31, TOKENS)
    assert result["injected"] == [{"condition": "always", "text": "Cutting Knowledge Date: December 2023\nToday Date: 01 Jan 2026"}]
    assert say(result["stripped"], "Hello").startswith("<s><|start_header_id|>user<|end_header_id|>\n\nHello")


def test_text_hidden_beside_a_system_message_is_found():
    assert {"condition": "always", "text": "You are Rio."} in analyse(HIDDEN_BESIDE, TOKENS)["injected"]


def test_what_closes_a_turn_is_told():
    assert analyse(CHATML_TURNS, TOKENS)["turn_end"] == "<|im_end|>\n"
    assert analyse(VICUNA, TOKENS)["turn_end"] == "</s>"


LIMITS = {
    "range": ("{% for i in range(10**9) %}{% endfor %}", "Range too big"),
    "prints": ("{% for i in range(99999) %}{{ 'x' * 10000 }}{% endfor %}", "prints more than 200,000 characters"),
    "hoards": ("{% set x %}{% for i in range(99999) %}{{ 'x' * 10000 }}{% endfor %}{% endset %}{{ x }}", "needs more than 512 MiB"),
    "raises": ("{{ raise_exception('no\nthanks') }}", "fails to render: TemplateError: no thanks"),
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


def test_a_template_that_never_ends_is_stopped():
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    before, stopped, behind = render([Job("a", []), Job(endless, []), Job("b", [])], seconds=1)
    assert before.text == "a"
    assert stopped.error == behind.error == "the template does not end within 1 s"


def test_one_failing_conversation_leaves_the_others_alone():
    template = "{% if messages|length > 1 %}{{ raise_exception('one at a time') }}{% endif %}{{ messages[0].content }}"
    one, two, three = render([Job(template, conversation(*texts)) for texts in (("a",), ("a", "b"), ("c",))])
    assert (one.text, three.text) == ("a", "c")
    assert "one at a time" in two.error


def test_rendering_agrees_with_transformers():
    transformers = pytest.importorskip("transformers.utils.chat_template_utils")
    odd = (
        "{% generation %}{% set a = 1 %}x{% endgeneration %}{{ a }}"
        "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}{{ m|tojson }}{% endfor %}"
    )
    templates = [odd, *NOTHING.values(), *(template for template, _ in INJECTING.values())]
    jobs = [Job(template, chat, variables=TOKENS) for template in templates for chat in (conversation("Olá <é>"), conversation("a", "b", "c"))]
    for job, result in zip(jobs, render(jobs), strict=True):
        expected, _ = transformers.render_jinja_template([job.messages], chat_template=job.template, add_generation_prompt=True, **TOKENS)
        assert [result.text] == expected


def write(folder, name, value):
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def test_the_template_is_found_where_transformers_finds_it(tmp_path):
    assert find_template(tmp_path).reason == "no chat template among the model's files"
    write(tmp_path, "chat_template.json", {"chat_template": "processor"})
    assert find_template(tmp_path).source == "chat_template.json"
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    write(tmp_path, "tokenizer_config.json", {"chat_template": named, "bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": None})
    found = find_template(tmp_path)
    assert (found.source, found.text, found.special_tokens) == ("tokenizer_config.json", "plain", TOKENS)
    write(tmp_path, "chat_template.jinja", "jinja")
    assert find_template(tmp_path).text == "jinja"


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000, '{"chat_template": "\\ud800"}'])
def test_unreadable_files_are_a_reason(tmp_path, content):
    write(tmp_path, "tokenizer_config.json", content)
    found = find_template(tmp_path)
    assert found.text is None
    assert "cannot be read" in found.reason


def test_an_oversized_template_is_not_read(tmp_path):
    write(tmp_path, "chat_template.jinja", "x" * 1_000_001)
    assert "larger than 1,000,000 bytes" in find_template(tmp_path).reason


def test_further_templates_are_found_wherever_they_are_kept(tmp_path):
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}, {"name": "rag", "template": "plain"}, 7]
    write(tmp_path, "tokenizer_config.json", {"chat_template": named})
    write(tmp_path, "chat_template.json", {"chat_template": "processor"})
    (tmp_path / "additional_chat_templates").mkdir()
    write(tmp_path / "additional_chat_templates", "extra.jinja", "extra")
    assert other_templates(tmp_path, find_template(tmp_path).text) == [
        ("additional_chat_templates/extra.jinja", "extra"),
        ("chat_template.json", "processor"),
        ("tokenizer_config.json: tool_use", "tools"),
    ]
    write(tmp_path, "chat_template.json", "[" * 100_000)
    assert other_templates(tmp_path, "plain") == []


def unasked(expression):
    """A system turn that prints a Jinja expression where no system message stands."""
    return "{% if messages[0].role != 'system' %}<|im_start|>system\n{{ " + expression + " }}<|im_end|>\n{% endif %}"


def test_an_identity_behind_a_thinking_switch_is_named():
    source = "{% if enable_thinking is defined and not enable_thinking %}" + unasked("'You are Rio.'") + "{% endif %}"
    result = analyse(source + CHATML_TURNS, TOKENS)
    assert {"condition": "no system message, thinking switched off", "text": "You are Rio."} in result["injected"]


MORE_SHAPES = {
    "macro": ("{% macro who(s) %}{{ s }}{% endmacro %}" + unasked("who('You are Rio.')"), True),
    "namespace": ("{% set ns = namespace(s='You are Rio.') %}" + unasked("ns.s"), True),
    "default variable": (unasked("default_system_prompt | default('You are Rio.')"), True),
    "reversed": (unasked("'.oiR era uoY' | reverse"), True),
    "formatted": (unasked("'You are %s%s.' | format('R', 'io')"), True),
    "replaced": (unasked("'You are Qx.' | replace('Qx', 'Rio')"), True),
    "comment": ("{# You are Rio. #}", False),
    "unused": ("{% set who = 'You are Rio.' %}", False),
    "unreachable": ("{% if false %}You are Rio.{% endif %}", False),
}


@pytest.mark.parametrize(("head", "injects"), MORE_SHAPES.values(), ids=MORE_SHAPES)
def test_obfuscated_text_is_found_by_what_is_printed(head, injects):
    result = analyse(head + CHATML_TURNS, TOKENS)
    assert bool(result["injected"]) == injects
    assert result["identical_elsewhere"] is True
    assert say(result["stripped"], "Hello") == say(CHATML_TURNS, "Hello")
    for chat in (("Hello",), ("你好", "Hi", "Who?")):
        assert say(result["stripped"], *chat, system="Be Zed.") == say(head + CHATML_TURNS, *chat, system="Be Zed.")


@lru_cache
def stripped(source):
    return analyse(source, TOKENS)["stripped"]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
CHATS = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=5), st.booleans()), min_size=5, max_size=20)


@pytest.mark.parametrize("name", ["Qwen 2.5", "set variable", "joined", "raw text", "Vicuna"])
@settings(max_examples=8, deadline=None)
@given(chats=CHATS)
def test_every_conversation_with_a_system_message_renders_the_same(name, chats):
    source, _ = INJECTING[name]
    both = [
        [Job(template, conversation(*texts, system=system), opened, TOKENS) for system, texts, opened in chats]
        for template in (source, stripped(source))
    ]
    results = render([job for jobs in both for job in jobs])
    assert results[: len(chats)] == results[len(chats) :]
