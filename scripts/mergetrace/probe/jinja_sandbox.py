"""Renders chat templates as transformers does, and reads their source, in a child
process that cannot run away.

A template is a program by a stranger. Jinja's sandbox keeps it from Python's internals;
limits on CPU time, memory and output keep it from hanging the audit or filling the
machine. What the child does is `jinja_child`.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from mergetrace.probe import jinja_child
from mergetrace.probe.jinja_child import MAX_MEMORY, TOO_MUCH_MEMORY, Job, Rendered

MAX_SECONDS = 5
"""CPU time of one call, for all its conversations together."""

SYSTEM_LIMITS_MEMORY = sys.platform != "darwin"
"""Whether the system can limit a process's memory. macOS refuses RLIMIT_AS: there the
child is watched and killed instead.
"""

WATCH_EVERY = 0.02
"""Seconds between two looks at the memory of a child that is watched."""

_KILLED_BY_LIMITS = (
    -signal.SIGXCPU,
    -signal.SIGKILL,
    -signal.SIGSEGV,
    -signal.SIGABRT,
)
"""Exit statuses that a template can cause; any other is a defect of the child."""


@dataclass(frozen=True)
class Source:
    """What stands in a template's source, according to its syntax tree."""

    texts: list[tuple[int, str]] = field(default_factory=list)
    """(line, text): what one output or assignment prints, as far as it is constant;
    GAP stands for the rest.
    """
    compared: list[str] = field(default_factory=list)
    """The texts that the template's conditions compare with."""
    whole: bool = False
    """False where the source is too deep or too large to be taken apart within the
    limits; `texts` and `compared` then hold what was read until there.
    """


def render(jobs: Iterable[Job], seconds: int = MAX_SECONDS) -> list[Rendered]:
    """Render every job in one child process; results are in the order of the jobs.

    A job that fails says why and leaves the others alone. One that never ends, or that
    takes too much memory, also costs those behind it.
    """
    return _renders(*_in_child([asdict(job) for job in jobs], seconds))


def render_and_read(
    jobs: Iterable[Job], template: str, seconds: int = MAX_SECONDS
) -> tuple[list[Rendered], Source]:
    """Render every job as `render` does, and read the source of `template`, all in one
    child process.
    """
    questions = [{"template": template}, *(asdict(job) for job in jobs)]
    (read, *answers), why = _in_child(questions, seconds)
    if not read:
        return _renders(answers, why), Source()
    texts = [(line, text) for line, text in read["texts"]]
    return _renders(answers, why), Source(texts, read["compared"], read["whole"])


def _renders(answers: list[dict[str, str | None] | None], why: str) -> list[Rendered]:
    return [
        Rendered(error=why) if answer is None else Rendered(**answer)
        for answer in answers
    ]


def _in_child(questions: list[dict[str, Any]], seconds: int) -> tuple[list[Any], str]:
    """The child's answer to every question, None where there is none; and the reason
    why answers are missing, where some are.
    """
    limit = MAX_MEMORY if SYSTEM_LIMITS_MEMORY else resource.RLIM_INFINITY
    # -I: neither the working directory nor the user's site-packages.
    command = [
        sys.executable,
        "-I",
        "-X",
        "utf8",
        jinja_child.__file__,
        str(seconds),
        str(limit),
    ]
    lines = [json.dumps(question) for question in questions]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_bare_environment(),
    ) as child:
        too_large = threading.Event()
        with _memory_watched(child.pid, too_large):
            try:
                output, errors = child.communicate(
                    "\n".join(lines).encode(), timeout=12 * seconds
                )
            except subprocess.TimeoutExpired:
                child.kill()
                output, errors = child.communicate()
    complete = output[: output.rfind(b"\n") + 1]
    answers = [json.loads(line) for line in complete.splitlines()]
    missing = len(lines) - len(answers)
    if missing and child.returncode not in _KILLED_BY_LIMITS:
        raise RuntimeError(
            f"the template renderer failed: {errors.decode(errors='replace')}"
        )
    why = _why_killed(child.returncode, too_large.is_set(), seconds)
    return answers + [None] * missing, why


def _bare_environment() -> dict[str, str]:
    """The child's environment variables: nothing in it is worth stealing."""
    needed = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    passed = {key: os.environ[key] for key in needed if key in os.environ}
    return passed | {"PYTHONHASHSEED": "0"}


def _why_killed(status: int, too_large: bool, seconds: int) -> str:
    if too_large:
        return TOO_MUCH_MEMORY
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"the template does not end within {seconds} s"
    return "the template crashes the renderer"


@contextlib.contextmanager
def _memory_watched(pid: int, too_large: threading.Event) -> Iterator[None]:
    """Kill the process `pid` once it holds more than MAX_MEMORY, and set `too_large`.

    Only where the system does not limit its memory.
    """
    if SYSTEM_LIMITS_MEMORY:
        yield
        return
    import psutil

    over = threading.Event()

    def watch() -> None:
        with contextlib.suppress(psutil.Error):  # it has ended
            process = psutil.Process(pid)
            while not over.wait(WATCH_EVERY):
                if process.memory_info().rss > MAX_MEMORY:
                    too_large.set()
                    process.kill()
                    return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
