"""Renders chat templates and reads their source, as a program of its own: questions
come as lines of JSON on standard input, answers leave as lines on standard output.

`jinja_sandbox` starts it with nothing but the path of this file, isolated from the
environment: it imports the standard library and jinja2 alone.
"""

import contextlib
import json
import resource
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Never

if TYPE_CHECKING:
    from jinja2 import Template, nodes
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TEMPLATE = 1_000_000
"""Characters of a template; the longest published ones have some 20,000."""

MAX_OUTPUT = 200_000
"""Characters that one conversation may be rendered to."""

MAX_MEMORY = 512 << 20
"""Bytes of this process."""

TOO_MUCH_MEMORY = f"the template needs more than {MAX_MEMORY >> 20} MiB of memory"

MAX_TEXTS = 1_000_000
"""Characters of all texts of one template's source together."""

GAP = "…"
"""Stands in a text of the source for what only rendering can tell."""

TODAY = datetime(2026, 1, 1)
"""What `strftime_now` tells: a prompt must not depend on the day it was rendered."""


@dataclass(frozen=True)
class Job:
    """One conversation to render."""

    template: str
    messages: list[dict[str, Any]]
    """With `role` and `content`, as chat templates take them."""
    generation: bool = True
    """Whether the assistant's turn is opened: transformers' add_generation_prompt."""
    variables: dict[str, Any] = field(default_factory=dict)
    """What else the template may see, such as `tools` and special tokens."""


@dataclass(frozen=True)
class Rendered:
    """What a template made of a conversation: exactly one of the two is not None."""

    text: str | None = None
    error: str | None = None
    """One line that says what the template does wrong."""


@lru_cache
def _environment() -> "ImmutableSandboxedEnvironment":
    """A sandboxed environment with the names, filters and tags that transformers offers
    to chat templates.
    """
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks what a training loss covers; in rendering it is
        transparent.
        """

        # How Jinja declares it; it is never changed.
        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: "Parser") -> "nodes.Node":
            line = next(parser.stream).lineno
            return jinja2.nodes.Scope(
                parser.parse_statements(("name:endgeneration",), drop_needle=True)
            ).set_lineno(line)

    def raise_exception(message: str) -> Never:
        raise jinja2.TemplateError(message)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | str | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": TODAY.strftime,
    }
    return environment


@lru_cache
def _compiled(source: str) -> "Template":
    return _environment().from_string(source)


def _render_one(job: Job) -> Rendered:
    size = len(job.template)
    if size > MAX_TEMPLATE:
        why = f"the template has {size:,} characters, more than {MAX_TEMPLATE:,}"
        return Rendered(error=why)
    try:
        text = _printed(job)
        if text is None:
            why = f"the template prints more than {MAX_OUTPUT:,} characters"
            return Rendered(error=why)
        text.encode()
        return Rendered(text=text)
    except MemoryError:
        return Rendered(error=TOO_MUCH_MEMORY)
    except UnicodeEncodeError:
        return Rendered(error="the template prints text that is not valid Unicode")
    except Exception as error:  # anything at all may come out of a stranger's program
        why = f"{type(error).__name__}: {_one_line(str(error))}"
        return Rendered(error=f"the template fails to render: {why}")


def _printed(job: Job) -> str | None:
    """What the template prints; None where that is more than MAX_OUTPUT characters."""
    # transformers defines tools and documents for every template
    variables = {"tools": None, "documents": None} | job.variables
    stream = _compiled(job.template).generate(
        messages=job.messages, add_generation_prompt=job.generation, **variables
    )
    pieces = []
    length = 0
    for piece in stream:
        pieces.append(piece)
        length += len(piece)
        if length > MAX_OUTPUT:
            return None
    return "".join(pieces)


def _read_one(template: str) -> dict[str, Any] | None:
    """The source's texts as `Source` has them; None where it cannot be parsed."""
    try:
        tree = _environment().parse(template[:MAX_TEMPLATE])
        texts, whole = _texts_of(tree)
        return {"texts": texts, "compared": _compared_in(tree), "whole": whole}
    except Exception:  # anything at all may come out of a stranger's program
        return None


def _texts_of(tree: "nodes.Template") -> tuple[list[tuple[int, str]], bool]:
    """(line, text) of everything printed or assigned, each text once; and whether all
    of it fits into MAX_TEXTS.
    """
    from jinja2 import nodes

    known = _assigned_once(tree)
    ending = {id(part) for call in _raising(tree) for part in call.find_all(nodes.Node)}
    printing = (
        nodes.Output,
        nodes.Concat,
        nodes.Add,
        nodes.Filter,
        nodes.Call,
        nodes.Const,
        nodes.TemplateData,
    )
    texts: dict[str, int] = {}
    size = 0
    for node in tree.find_all(printing):
        if id(node) in ending:
            continue
        text = _constant_text(node, known)
        if text in texts or not text.strip(GAP).strip():
            continue
        size += len(text)
        if size > MAX_TEXTS:
            break
        texts[_encodable(text)] = node.lineno
    return [(line, text) for text, line in texts.items()], size <= MAX_TEXTS


def _assigned_once(tree: "nodes.Template") -> dict[str, str]:
    """The text of every name to which only one text is ever assigned."""
    from jinja2 import nodes

    values: dict[str, set[str]] = {}
    for assignment in tree.find_all(nodes.Assign):
        if isinstance(assignment.target, nodes.Name):
            value = _constant_text(assignment.node, {})
            values.setdefault(assignment.target.name, set()).add(value)
    return {name: texts.pop() for name, texts in values.items() if len(texts) == 1}


def _raising(tree: "nodes.Template") -> Iterator["nodes.Call"]:
    """Calls that end the rendering: what they say is no part of a prompt."""
    from jinja2 import nodes

    for call in tree.find_all(nodes.Call):
        if getattr(call.node, "name", None) == "raise_exception":
            yield call


def _compared_in(tree: "nodes.Template") -> list[str]:
    """The constant texts in the conditions, each once."""
    from jinja2 import nodes

    choices = (nodes.If, nodes.CondExpr)
    texts: dict[str, None] = {}
    for choice in tree.find_all(choices):
        assert isinstance(choice, choices)
        condition = choice.test
        constants = list(condition.find_all(nodes.Const))
        if isinstance(condition, nodes.Const):
            constants.insert(0, condition)
        for constant in constants:
            if isinstance(constant.value, str):
                texts[constant.value] = None
    return [_encodable(text) for text in texts]


def _encodable(text: str) -> str:
    """`text` with question marks for lone surrogates, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()


def _constant_text(node: "nodes.Node", known: dict[str, str]) -> str:
    """What a node prints whatever the conversation, with GAP for the rest.

    known: the texts of names that have only one.
    """
    from jinja2 import nodes

    if isinstance(node, nodes.Name):
        return known.get(node.name, GAP)
    if isinstance(node, (nodes.Output, nodes.Concat)):
        return "".join(_constant_text(part, known) for part in node.nodes)
    if isinstance(node, nodes.Add):
        return _constant_text(node.left, known) + _constant_text(node.right, known)
    if isinstance(node, nodes.Expr):
        return _evaluated(node, known)
    return GAP


def _evaluated(node: "nodes.Expr", known: dict[str, str]) -> str:
    """The text that an expression is worth, of a filtered one without its filter where
    that cannot be told; GAP where it is no constant text.
    """
    from jinja2 import nodes

    try:
        value = node.as_const(nodes.EvalContext(_environment()))
    except Exception:  # not constant, or a constant that cannot be worked out
        if isinstance(node, nodes.Filter) and node.node is not None:
            return _constant_text(node.node, known)
        return GAP
    return value if isinstance(value, str) else GAP


def _one_line(text: str) -> str:
    """`text` without line breaks, control characters and lone surrogates, at most 300
    characters.
    """
    plain = " ".join(text[:2000].split()).encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else "?" for char in plain)[:300]


def _limit(seconds: int, memory: int) -> None:
    """Limit this process, for good. memory: bytes, or RLIM_INFINITY."""
    limits = (
        (resource.RLIMIT_CPU, seconds, seconds + 1),  # SIGXCPU, then SIGKILL
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, 0, 0),
    )
    for kind, soft, hard in limits:
        # What a system refuses is done without: CPU time is limited everywhere.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (soft, hard))


def _child() -> None:
    """Answer the questions on standard input, a line each, as they are answered: what
    was rendered before a limit was met counts.
    """
    import random

    questions = [json.loads(line) for line in sys.stdin.buffer]
    _limit(int(sys.argv[1]), int(sys.argv[2]))
    for question in questions:
        random.seed(0)
        if "messages" in question:
            answer: dict[str, Any] | None = asdict(_render_one(Job(**question)))
        else:
            answer = _read_one(**question)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _child()
