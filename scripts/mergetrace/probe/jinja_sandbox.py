"""Renders chat templates the way transformers does, and reads their source, in a child
process that cannot run away.

A template is a program by a stranger. Jinja's sandbox keeps it from Python's internals;
limits on CPU time, memory and output keep it from hanging the audit or filling it up.
This file is both sides: `render` and `render_and_read` start it as a child.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

MAX_TEMPLATE = 1_000_000  # characters; the longest published templates have some 20,000
MAX_OUTPUT = 200_000  # characters of one conversation
MAX_SECONDS = 5  # of CPU time, for all conversations of one call together
MAX_MEMORY = 512 << 20  # bytes of address space
MAX_TEXTS = 1_000_000  # characters of all texts of one template's source together
GAP = "…"  # stands in a text of the source for what only rendering can tell
TODAY = datetime(
    2026, 1, 1
)  # what `strftime_now` tells: a prompt must not depend on the day it was rendered


@dataclass(frozen=True)
class Job:
    """One conversation to render: messages are dicts with role and content, variables
    what else the template may see.
    """

    template: str
    messages: list[dict[str, Any]]
    generation: bool = True  # transformers' add_generation_prompt
    variables: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rendered:
    """What came out: exactly one of the two is not None. `error` is one line that says
    what the template does.
    """

    text: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Source:
    """What stands in a template's source, by its syntax tree: its texts as (line,
    text), and the texts that its conditions compare with.

    A text is what one output or assignment prints, as far as it is constant: GAP stands for the rest. `whole` is False where
    the source is too deep or too large to be taken apart within the limits; what was read until then is there.
    """

    texts: list[tuple[int, str]] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    whole: bool = False


def render(jobs: Iterable[Job], seconds: int = MAX_SECONDS) -> list[Rendered]:
    """Render every job in one child process; the results are in the order of the jobs.

    A job that fails says why and leaves the others alone; one that never ends also
    takes those behind it.
    """
    return _renders(*_in_child([asdict(job) for job in jobs], seconds))


def render_and_read(
    jobs: Iterable[Job], template: str, seconds: int = MAX_SECONDS
) -> tuple[list[Rendered], Source]:
    """The same, and the texts of a template's source, in one child process."""
    (read, *answers), why = _in_child(
        [{"template": template}, *(asdict(job) for job in jobs)], seconds
    )
    source = (
        Source([tuple(text) for text in read["texts"]], read["compared"], read["whole"])
        if read
        else Source()
    )
    return _renders(answers, why), source


def _renders(answers: list[dict[str, str | None] | None], why: str) -> list[Rendered]:
    return [
        Rendered(error=why) if answer is None else Rendered(**answer)
        for answer in answers
    ]


def _in_child(asked: list[dict[str, Any]], seconds: int) -> tuple[list[Any], str]:
    """The child's answer to everything asked, None where there is none, and why."""
    lines = [json.dumps(question) for question in asked]
    # -I: neither the working directory nor the user's site-packages; no environment:
    # nothing to be stolen from it
    command = [sys.executable, "-I", "-X", "utf8", __file__, str(seconds)]
    environment = {
        key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ
    } | {"PYTHONHASHSEED": "0"}
    try:
        child = subprocess.run(
            command,
            input="\n".join(lines).encode(),
            capture_output=True,
            env=environment,
            timeout=12 * seconds,
            check=False,
        )
        output = child.stdout
        status = child.returncode
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        status = -signal.SIGXCPU
    whole = output[: output.rfind(b"\n") + 1]
    done = [json.loads(line) for line in whole.splitlines()]
    if len(done) < len(lines) and status not in (
        -signal.SIGXCPU,
        -signal.SIGKILL,
        -signal.SIGSEGV,
        -signal.SIGABRT,
    ):
        raise RuntimeError(
            f"the template renderer failed: {child.stderr.decode(errors='replace')}"
        )
    out_of_time = status in (-signal.SIGXCPU, -signal.SIGKILL)
    why = (
        f"the template does not end within {seconds} s"
        if out_of_time
        else "the template crashes the renderer"
    )
    return done + [None] * (len(lines) - len(done)), why


@lru_cache
def _environment():
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

        tags = frozenset({"generation"})

        def parse(self, parser):
            line = next(parser.stream).lineno
            return jinja2.nodes.Scope(
                parser.parse_statements(("name:endgeneration",), drop_needle=True)
            ).set_lineno(line)

    def raise_exception(message):
        raise jinja2.TemplateError(message)

    def tojson(
        value, ensure_ascii=False, indent=None, separators=None, sort_keys=False
    ):
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
def _compiled(source: str):
    return _environment().from_string(source)


def _render_one(job: Job) -> Rendered:
    if len(job.template) > MAX_TEMPLATE:
        return Rendered(
            error=(
                f"the template has {len(job.template):,} characters, more than"
                f" {MAX_TEMPLATE:,}"
            )
        )
    pieces = []
    length = 0
    variables = {
        "tools": None,
        "documents": None,
    } | job.variables  # transformers defines both
    try:
        for piece in _compiled(job.template).generate(
            messages=job.messages, add_generation_prompt=job.generation, **variables
        ):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_OUTPUT:
                return Rendered(
                    error=f"the template prints more than {MAX_OUTPUT:,} characters"
                )
        text = "".join(pieces)
        text.encode()
        return Rendered(text=text)
    except MemoryError:
        return Rendered(
            error=f"the template needs more than {MAX_MEMORY >> 20} MiB of memory"
        )
    except UnicodeEncodeError:
        return Rendered(error="the template prints text that is not valid Unicode")
    except Exception as error:  # anything at all may come out of a stranger's program
        return Rendered(
            error=(
                f"the template fails to render: {type(error).__name__}:"
                f" {_one_line(str(error))}"
            )
        )


def _read_one(template: str) -> dict[str, Any] | None:
    try:
        return _texts_of(_environment().parse(template[:MAX_TEMPLATE]))
    except Exception:  # as above
        return None


def _texts_of(tree: Any) -> dict[str, Any]:
    from jinja2 import nodes

    known: dict[str, set[str]] = {}
    for assigned in tree.find_all(nodes.Assign):
        if isinstance(assigned.target, nodes.Name):
            known.setdefault(assigned.target.name, set()).add(
                _constant(assigned.node, {})
            )
    only = {name: texts.pop() for name, texts in known.items() if len(texts) == 1}
    raised = {
        id(part)
        for call in tree.find_all(nodes.Call)
        if _raises(call)
        for part in call.find_all(nodes.Node)
    }
    printed = (
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
    for node in tree.find_all(printed):
        if id(node) in raised:
            continue
        text = (
            "".join(_constant(part, only) for part in node.nodes)
            if isinstance(node, nodes.Output)
            else _constant(node, only)
        )
        if text in texts or not text.strip(GAP).strip():
            continue
        size += len(text)
        if size > MAX_TEXTS:
            break
        texts[text.encode("utf-8", "replace").decode()] = node.lineno
    tests = [
        choice.test
        for choice in tree.find_all((nodes.If, nodes.CondExpr))
        if choice.test is not None
    ]
    constants = [
        const.value
        for test in tests
        for const in _within(test, nodes.Const)
        if isinstance(const.value, str)
    ]
    compared = [
        text.encode("utf-8", "replace").decode() for text in dict.fromkeys(constants)
    ]
    return {
        "texts": [(line, text) for text, line in texts.items()],
        "compared": compared,
        "whole": size <= MAX_TEXTS,
    }


def _raises(call: Any) -> bool:
    """Whether a call ends the rendering: what it says is no part of a prompt."""
    return getattr(call.node, "name", None) == "raise_exception"


def _within(node: Any, kind: type) -> list[Any]:
    """The nodes of this kind in `node`, itself included."""
    return ([node] if isinstance(node, kind) else []) + list(node.find_all(kind))


def _constant(node: Any, known: dict[str, str]) -> str:
    """What an expression prints whatever the conversation, with GAP for the rest.
    known: names that have one value.
    """
    from jinja2 import nodes

    if isinstance(node, nodes.TemplateData):
        return node.data
    if isinstance(node, nodes.Name):
        return known.get(node.name, GAP)
    if isinstance(node, (nodes.Add, nodes.Concat)):
        parts = (
            node.nodes if isinstance(node, nodes.Concat) else (node.left, node.right)
        )
        return "".join(_constant(part, known) for part in parts)
    try:
        value = node.as_const(nodes.EvalContext(_environment()))
    except Exception:  # not constant, or a constant that cannot be worked out
        value = (
            _constant(node.node, known)
            if isinstance(node, nodes.Filter) and node.node is not None
            else GAP
        )
    return value if isinstance(value, str) else GAP


def _one_line(text: str) -> str:
    """`text` without line breaks, control characters and lone surrogates, at most 300
    characters.
    """
    plain = " ".join(text[:2000].split()).encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else "?" for char in plain)[:300]


def _limit(seconds: int) -> None:
    # The soft limit sends SIGXCPU, the hard one kills. macOS refuses RLIMIT_AS; the
    # other limits hold there.
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_AS, MAX_MEMORY, MAX_MEMORY),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, 0, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (soft, hard))


def _child() -> None:
    import random

    asked = [json.loads(line) for line in sys.stdin.buffer]
    _limit(int(sys.argv[1]))
    for job in asked:
        random.seed(0)
        answer = (
            asdict(_render_one(Job(**job))) if "messages" in job else _read_one(**job)
        )
        sys.stdout.write(
            json.dumps(answer) + "\n"
        )  # a line a job, so that what was rendered before the limit counts
        sys.stdout.flush()


if __name__ == "__main__":
    _child()
