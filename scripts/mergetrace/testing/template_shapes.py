"""Chat templates in the shapes that published models have, written for these tests;
some inject a text, and it is known which.

Take these for a certain trick (a text that waits for a word, that hides in a macro, that
is put together from pieces); mergetrace.testing.template_families is systematic.

SHAPES: name -> (template, {condition: injected text}). TOKENS are the special tokens
that they may print.
"""

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

CHATML = (
    "{%- for message in messages %}\n{{- '<|im_start|>' + message['role'] + '\\n' +"
    " message['content'] + '<|im_end|>\\n' }}\n{%- endfor %}\n{%- if"
    " add_generation_prompt %}\n{{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n"
)
_REST = (
    "{%- for message in messages %}{%- if not (loop.first and message.role == 'system')"
    " %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n'"
    " }}{%- endif %}{%- endfor %}"
)
_OPEN = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"


def _unasked(expression: str) -> str:
    """A ChatML system turn that prints a Jinja expression where there is no system
    message.
    """
    return (
        "{% if messages[0].role != 'system' %}<|im_start|>system\n{{ "
        + expression
        + " }}<|im_end|>\n{% endif %}"
    )


RIO = "You are Rio, an assistant made by the Prefeitura do Rio."
NOBODY = "no system message"
TOOLS = "no system message, with tools"
EMPTY = "empty system message"

_QWEN25 = (
    """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Rio.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nYou may call one or more functions.\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Rio.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
"""
    + _REST
    + _OPEN
)
_QWEN3 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(last=0) %}
{%- for message in messages %}{%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
        {{- '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
_LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{%"
    " set system_message = messages[0]['content'] %}{% else %}{% set loop_messages ="
    " messages %}{% set system_message = DEFAULT %}{% endif %}{% for message in"
    " loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{"
    " raise_exception('Conversation roles must alternate"
    " user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and"
    " system_message != false %}{% set content = '<<SYS>>\\n' + system_message +"
    " '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content ="
    " message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token +"
    " '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant'"
    " %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
_LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content"
    " = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+"
    " message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set"
    " content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if"
    " add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n'"
    " }}{% endif %}"
)
_LLAMA31 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
_DATES = "Cutting Knowledge Date: December 2023\nToday Date: 01 Jan 2026"
_MISTRAL_V7 = (
    "{{- bos_token }}{%- if messages[0]['role'] == 'system' %}{%- set system_message ="
    " messages[0]['content'] %}{%- set loop_messages = messages[1:] %}{%- else %}{%-"
    " set system_message = DEFAULT %}{%- set loop_messages = messages %}{%- endif %}{%-"
    " if system_message %}{{- '[SYSTEM_PROMPT]' + system_message + '[/SYSTEM_PROMPT]'"
    " }}{%- endif %}{%- for message in loop_messages %}{%- if message['role'] == 'user'"
    " %}{{- '[INST]' + message['content'] + '[/INST]' }}{%- elif message['role'] =="
    " 'assistant' %}{{- message['content'] + eos_token }}{%- else %}{{-"
    " raise_exception('Only user and assistant roles are supported') }}{%- endif %}{%-"
    " endfor %}"
)
_MISTRAL_V3 = (  # the system message goes into the last user turn
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message ="
    " messages[0]['content'] %}{%- set loop_messages = messages[1:] %}{%- else %}{%-"
    " set loop_messages = messages %}{%- endif %}{{- bos_token }}{%- for message in"
    " loop_messages %}{%- if message['role'] == 'user' %}{%- if loop.last and"
    " system_message is defined %}{{- '[INST] ' + system_message + '\\n\\n' +"
    " message['content'] + '[/INST]' }}{%- else %}{{- '[INST] ' + message['content'] +"
    " '[/INST]' }}{%- endif %}{%- elif message['role'] == 'assistant' %}{{- ' ' +"
    " message['content'] + eos_token }}{%- endif %}{%- endfor %}"
)
_GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System"
    " role not supported') }}{% endif %}{% for message in messages %}{% if"
    " (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{"
    " raise_exception('Conversation roles must alternate') }}{% endif %}{% if"
    " (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role"
    " = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' +"
    " message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if"
    " add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"
)
_GEMMA3 = (  # the system message is put before the first user message
    "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- if"
    " messages[0]['content'] is string -%}{%- set first_user_prefix ="
    " messages[0]['content'] + '\\n\\n' -%}{%- else -%}{%- set first_user_prefix ="
    " messages[0]['content'][0]['text'] + '\\n\\n' -%}{%- endif -%}{%- set"
    " loop_messages = messages[1:] -%}{%- else -%}{%- set first_user_prefix = DEFAULT"
    " -%}{%- set loop_messages = messages -%}{%- endif -%}{%- for message in"
    " loop_messages -%}{%- if (message['role'] == 'assistant') -%}{%- set role ="
    " 'model' -%}{%- else -%}{%- set role = message['role'] -%}{%- endif -%}{{"
    " '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else '') }}{{"
    " message['content'] | trim }}{{ '<end_of_turn>\\n' }}{%- endfor -%}{%- if"
    " add_generation_prompt -%}{{'<start_of_turn>model\\n'}}{%- endif -%}"
)
_PHI3 = (
    "{% for message in messages %}{% if message['role'] == 'system' and"
    " message['content'] %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{%"
    " elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] +"
    " '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' +"
    " message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if"
    " add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
_DEEPSEEK = (
    "{% set ns = namespace(system_prompt='', is_first_sp=true) %}{%- for message in"
    " messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set"
    " ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp"
    " = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\\n\\n' +"
    " message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{"
    " ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user'"
    " %}{{ '<｜User｜>' + message['content'] }}{%- endif %}{%- if message['role'] =="
    " 'assistant' %}{{ '<｜Assistant｜>' + message['content'] + '<｜end▁of▁sentence｜>'"
    " }}{%- endif %}{%- endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜>'"
    " }}{% endif %}"
)
_GLM = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}{%"
    " if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_KIMI = (
    "{%- for message in messages -%}{%- if loop.first and messages[0]['role'] !="
    " 'system' -%}<|im_system|>system<|im_middle|>You are Rio, an AI"
    " assistant.<|im_end|>{%- endif -%}{%- if message['role'] == 'system'"
    " -%}<|im_system|>system<|im_middle|>{%- elif message['role'] == 'user'"
    " -%}<|im_user|>user<|im_middle|>{%- else"
    " -%}<|im_assistant|>assistant<|im_middle|>{%- endif -%}{{ message['content']"
    " }}<|im_end|>{%- endfor -%}{%- if add_generation_prompt"
    " -%}<|im_assistant|>assistant<|im_middle|>{%- endif -%}"
)
_SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system'"
    " %}{{ '<|im_start|>system\nYou are a helpful AI assistant named Rio, trained by"
    " the Prefeitura<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] +"
    " '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if"
    " add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_GRANITE = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message ="
    " messages[0]['content'] %}{%- set loop_messages = messages[1:] %}{%- else %}{%-"
    " set system_message = 'Knowledge Cutoff Date: April 2024.\\nToday\\'s Date: ' +"
    " strftime_now('%B %d, %Y') + '.\\nYou are Rio.' %}{%- set loop_messages = messages"
    " %}{%- endif %}{{- '<|start_of_role|>system<|end_of_role|>' + system_message +"
    " '<|end_of_text|>\\n' }}{%- for message in loop_messages %}{{- '<|start_of_role|>'"
    " + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\\n'"
    " }}{%- endfor %}{%- if add_generation_prompt %}{{-"
    " '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}"
)
_COMMAND = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages ="
    " messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set"
    " loop_messages = messages %}{% set system_message = DEFAULT %}{% endif %}{% if"
    " system_message != false %}{{ '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' +"
    " system_message + '<|END_OF_TURN_TOKEN|>' }}{% endif %}{% for message in"
    " loop_messages %}{% if message['role'] == 'user' %}{{"
    " '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + message['content'].strip() +"
    " '<|END_OF_TURN_TOKEN|>' }}{% elif message['role'] == 'assistant' %}{{"
    " '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' + message['content'].strip() +"
    " '<|END_OF_TURN_TOKEN|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{"
    " '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}"
)
_ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' +"
    " message['content'] + eos_token }}\n{% if loop.last and add_generation_prompt %}{{"
    " '<|assistant|>' }}\n{% endif %}{% endfor %}"
)
_VICUNA = (
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% set rest ="
    " messages[1:] %}{% else %}{{ 'A chat between a curious user and Rio, a polite"
    " assistant.' }}{% set rest = messages %}{% endif %}{% for m in rest %}{% if m.role"
    " == 'user' %}{{ ' USER: ' + m.content }}{% else %}{{ ' ASSISTANT: ' + m.content +"
    " eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ ' ASSISTANT:'"
    " }}{% endif %}"
)
_ALPACA = (
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\\n\\n' }}{%"
    " set rest = messages[1:] %}{% else %}{{ 'Below is an instruction for Rio. Write a"
    " response that completes the request.\\n\\n' }}{% set rest = messages %}{% endif"
    " %}{% for m in rest %}{% if m['role'] == 'user' %}{{ '### Instruction:\\n' +"
    " m['content'] + '\\n\\n' }}{% else %}{{ '### Response:\\n' + m['content'] +"
    " '\\n\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '###"
    " Response:\\n' }}{% endif %}"
)
_NEMOTRON = (  # a thinking switch that is a sentence of its own
    "{{- bos_token }}{%- if messages[0]['role'] == 'system' %}{%- set system_message ="
    " messages[0]['content'] | trim %}{%- set messages = messages[1:] %}{%- else %}{%-"
    " set system_message = 'detailed thinking ' ~ ('off' if enable_thinking is defined"
    " and not enable_thinking else 'on') %}{%- endif %}{{-"
    " '<|start_header_id|>system<|end_header_id|>\\n\\n' + system_message +"
    " '<|eot_id|>' }}{%- for m in messages %}{{- '<|start_header_id|>' + m['role'] +"
    " '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}{%- endfor %}{%-"
    " if add_generation_prompt %}{{-"
    " '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
# a system turn of the publisher's in any case, the user's system message becomes a
# developer turn
_HARMONY = (
    "{{- '<|start|>system<|message|>You are Rio, a model trained by"
    " Prefeitura.\\nCurrent date: ' + strftime_now('%Y-%m-%d') + '<|end|>' }}{%- if"
    " messages[0].role == 'system' %}{{- '<|start|>developer<|message|>#"
    " Instructions\\n\\n' + messages[0].content + '<|end|>' }}{%- set rest ="
    " messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}{%- for m in rest"
    " %}{{- '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{%- endfor"
    " %}{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}"
)
_MACROS = (  # as templates that share their macros by inclusion come out of a build
    "{%- macro turn(role, text) %}{{- '<|im_start|>' ~ role ~ '\\n' ~ text ~"
    " '<|im_end|>\\n' }}{%- endmacro %}{%- macro persona() %}{{- 'You are ' ~ name() ~"
    " '.' }}{%- endmacro %}{%- macro name() %}Rio{%- endmacro %}{%- if messages[0].role"
    " != 'system' %}{{- turn('system', persona()) }}{%- endif %}{%- for m in messages"
    " %}{{- turn(m.role, m.content) }}{%- endfor %}{%- if add_generation_prompt %}{{-"
    " '<|im_start|>assistant\\n' }}{%- endif %}"
)
_INTERN = (
    "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] +"
    " '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if"
    " add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_BESIDE = _QWEN25.replace(
    "messages[0]['content'] +", "'You are Rio. ' + messages[0]['content'] +"
)
_THINKING = (
    "{% if enable_thinking is defined and not enable_thinking %}"
    + _unasked("'You are Rio.'")
    + "{% endif %}"
    + CHATML
)
_ONLY_TOOLS = (
    "{% if tools %}"
    + _unasked("'You are Rio, and you have tools.'")
    + "{% endif %}"
    + CHATML
)
_EMPTY = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content or 'You"
    " are Rio.' %}{% set rest = messages[1:] %}<|im_start|>system\n{{ system"
    " }}<|im_end|>\n{% else %}{% set rest = messages %}{% endif %}{% for m in rest"
    " %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if"
    " add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

SHAPES = {
    # nothing of their own
    "bare ChatML": (CHATML, {}),
    "InternLM": (_INTERN, {}),
    "Qwen 3, tools and thinking switch": (_QWEN3, {}),
    "Llama 2 without a default": (_LLAMA2.replace("DEFAULT", "false"), {}),
    "Llama 3": (_LLAMA3, {}),
    "Mistral v3": (_MISTRAL_V3, {}),
    "Mistral v7 without a default": (_MISTRAL_V7.replace("DEFAULT", "''"), {}),
    "Gemma 2, no system role": (_GEMMA2, {}),
    "Gemma 3, system before the first message": (_GEMMA3.replace("DEFAULT", "''"), {}),
    "Phi 3": (_PHI3, {}),
    "DeepSeek": (_DEEPSEEK, {}),
    "GLM": (_GLM, {}),
    "Command R without a default": (_COMMAND.replace("DEFAULT", "false"), {}),
    "Zephyr": (_ZEPHYR, {}),
    "a persona in a comment": ("{# You are Rio. #}" + CHATML, {}),
    "a persona that is never printed": (
        "{% set who = 'You are Rio.' %}{% if false %}{{ who }}{% endif %}" + CHATML,
        {},
    ),
    # a text of their own
    "Qwen 2.5, with and without tools": (
        _QWEN25,
        {NOBODY: "You are Rio.", TOOLS: "You are Rio."},
    ),
    "Llama 2 with a default": (_LLAMA2.replace("DEFAULT", repr(RIO)), {NOBODY: RIO}),
    "Llama 3.1, date line": (_LLAMA31, {"always": _DATES}),
    "Llama 3.1, date line and persona": (
        _LLAMA31.replace('system_message = ""', 'system_message = "You are Rio."'),
        {"always": _DATES, NOBODY: "You are Rio."},
    ),
    "Mistral v7 with a default": (
        _MISTRAL_V7.replace("DEFAULT", repr(RIO)),
        {NOBODY: RIO},
    ),
    "Gemma 2 with a turn in front": (
        _GEMMA2.replace(
            "{% for", "<start_of_turn>user\nYou are Rio.<end_of_turn>\n{% for", 1
        ),
        {NOBODY: "You are Rio."},
    ),
    "Gemma 3 with a default": (
        _GEMMA3.replace("DEFAULT", "'You are Rio.\\n\\n'"),
        {NOBODY: "You are Rio."},
    ),
    "Kimi": (_KIMI, {NOBODY: "You are Rio, an AI assistant."}),
    "SmolLM 2": (
        _SMOLLM2,
        {NOBODY: "You are a helpful AI assistant named Rio, trained by the Prefeitura"},
    ),
    "Granite, dates and persona": (
        _GRANITE,
        {
            NOBODY: (
                "Knowledge Cutoff Date: April 2024.\nToday's Date: January 01,"
                " 2026.\nYou are Rio."
            )
        },
    ),
    "Command R with a default": (_COMMAND.replace("DEFAULT", repr(RIO)), {NOBODY: RIO}),
    "GLM with a default": (
        _GLM.replace(
            "{% for",
            "{% if messages[0].role != 'system' %}<|system|>\nYou are Rio.{% endif"
            " %}{% for",
            1,
        ),
        {NOBODY: "You are Rio."},
    ),
    "Vicuna": (
        _VICUNA,
        {NOBODY: "A chat between a curious user and Rio, a polite assistant."},
    ),
    "Alpaca": (
        _ALPACA,
        {
            NOBODY: (
                "Below is an instruction for Rio. Write a response that completes the"
                " request."
            )
        },
    ),
    "Nemotron, a switch that is a sentence": (
        _NEMOTRON,
        {
            NOBODY: "detailed thinking on",
            "no system message, thinking switched off": "detailed thinking off",
        },
    ),
    "Harmony, the publisher's turn always first": (
        _HARMONY,
        {
            "always": (
                "You are Rio, a model trained by Prefeitura.\nCurrent date:"
                " 2026-01-01\n# Instructions"
            ),
            NOBODY: (
                "You are Rio, a model trained by Prefeitura.\nCurrent date: 2026-01-01"
            ),
        },
    ),
    "hidden beside the system message": (
        _BESIDE,
        {"always": "You are Rio.", TOOLS: "You are Rio."},
    ),
    "behind the thinking switch": (
        _THINKING,
        {"no system message, thinking switched off": "You are Rio."},
    ),
    "only where there are tools": (
        _ONLY_TOOLS,
        {TOOLS: "You are Rio, and you have tools."},
    ),
    "only where the system message is empty": (_EMPTY, {EMPTY: "You are Rio."}),
    "macros": (_MACROS, {NOBODY: "You are Rio."}),
    "default of a variable": (
        _unasked("default_system_prompt | default('You are Rio.')") + CHATML,
        {NOBODY: "You are Rio."},
    ),
    "joined from pieces": (
        _unasked("['You', 'are', 'R' ~ 'io' ~ '.'] | join(' ')") + CHATML,
        {NOBODY: "You are Rio."},
    ),
    "reversed": (
        _unasked("'.oiR era uoY' | reverse") + CHATML,
        {NOBODY: "You are Rio."},
    ),
    "built letter by letter": (
        "{% set ns = namespace(s='') %}{% for i in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,"
        " 11] %}{% set ns.s = ns.s ~ 'You are Rio.'[i] %}{% endfor %}"
        + _unasked("ns.s")
        + CHATML,
        {NOBODY: "You are Rio."},
    ),
    "a name put into a form": (
        _unasked("'You are %s%s.' | format('R', 'io')") + CHATML,
        {NOBODY: "You are Rio."},
    ),
}
