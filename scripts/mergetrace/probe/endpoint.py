"""Answers from an OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp's server, or a
hosted one.

Everything it sends back is a stranger's: bounded in size and time, and never trusted to
be JSON.
"""

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from mergetrace.errors import AuditError
from mergetrace.hub.waiting import requested_wait
from mergetrace.probe.reasoning import separate
from mergetrace.probe.records import Record, Reply

MAX_RESPONSE = 8 << 20
"""Bytes of one answer."""

MAX_WAIT = 60
"""Seconds between two tries."""

_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504, 529}
"""HTTP statuses after which trying again may help."""

Body = dict[str, Any]
"""The JSON of a request, or a part of a stranger's reply."""


@dataclass(frozen=True)
class Endpoint:
    """Where to ask and how hard."""

    url: str
    """Usually ends in /v1."""
    model: str
    """The model's name there."""
    api: str = "completions"
    """`completions`: conversations are rendered here; `chat`: they are rendered there."""
    key: str | None = field(default=None, repr=False)
    """Sent as a bearer token."""
    concurrency: int = 8
    """Requests at a time."""
    retries: int = 5
    """Tries of one question after the first."""
    seconds: float = 300.0
    """For one answer, all of it."""


class _TransientError(Exception):
    """Why one try failed; `wait` is how many seconds the server asks for."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


def tokenizer(folder: Path) -> Any:
    """Read the model's own tokenizer.json as a tokenizers.Tokenizer; None without a
    readable one (the endpoint then gets text).

    Ids leave nothing to the endpoint: text would make some put a second token of
    beginning in front.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # the library raises bare Exceptions
        return None


def answer(
    endpoint: Endpoint,
    questions: list[Record],
    temperature: float,
    max_new_tokens: int,
    stop: str | None = None,
    stop_token: int | None = None,
) -> list[Reply]:
    """Answer questions, at most `concurrency` at a time, in their order.

    stop: the text that closes a turn. stop_token: the token, where it is one: servers
    look for text among what they show, and show no special tokens. Raises AuditError
    naming the endpoint once `retries` did not help.
    """
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    common: Body = {
        "model": endpoint.model,
        "temperature": temperature,
        "max_tokens": max_new_tokens,
        "stream": False,
    }
    if endpoint.api == "completions" and stop:
        common["stop"] = [stop]
    if endpoint.api == "completions" and stop_token is not None:
        common["stop_token_ids"] = [stop_token]
    with (
        httpx.Client(
            headers=headers,
            timeout=min(30.0, endpoint.seconds),
            limits=httpx.Limits(max_connections=endpoint.concurrency),
            follow_redirects=False,
        ) as client,
        ThreadPoolExecutor(endpoint.concurrency) as pool,
    ):
        asked = [
            pool.submit(_ask, client, endpoint, question, common)
            for question in questions
        ]
        try:
            return [each.result() for each in asked]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _ask(
    client: httpx.Client, endpoint: Endpoint, question: Record, common: Body
) -> Reply:
    rendered_here = endpoint.api == "completions"
    body = common | {"seed": question["seed"]}
    if rendered_here:
        body["prompt"] = question.get("prompt_ids") or question["rendered"]
    else:
        body["messages"] = _messages(question)
    choice, tokens = _persist(lambda: _post(client, endpoint, body), endpoint)
    text, thought = _spoken(choice, rendered_here)
    reasoning, said = separate(text, question["rendered"] or "")
    finish = "length" if choice.get("finish_reason") == "length" else "stop"
    if tokens and finish == "stop" and _ended_by_token(choice):
        tokens -= 1  # vLLM counts the token that ends an answer
    return {
        "prompt_ids": question.get("prompt_ids"),
        "answer": said,
        "reasoning": reasoning if thought is None else thought,
        "finish": finish,
        "tokens": tokens,
    }


def _messages(question: Record) -> list[dict[str, str]]:
    """The conversation of a question, for an endpoint that renders it."""
    asked = {"role": "user", "content": question["text"]}
    system = question["system"]
    if system is None:
        return [asked]
    return [{"role": "system", "content": system}, asked]


def _spoken(choice: Body, rendered_here: bool) -> tuple[str, str | None]:
    """(text, reasoning where the endpoint tells it apart) of a choice."""
    if rendered_here:
        text = choice.get("text")
        thought = None
    else:
        message = choice.get("message")
        if not isinstance(message, dict):
            message = {}
        text = message.get("content")
        thought = message.get("reasoning_content") or message.get("reasoning")
    return (
        text if isinstance(text, str) else "",
        thought if isinstance(thought, str) else None,
    )


def _ended_by_token(choice: Body) -> bool:
    """Whether vLLM says that a token, rather than a text, ended the answer."""
    return "stop_reason" in choice and not isinstance(choice["stop_reason"], str)


_Result = TypeVar("_Result")


def _persist(attempt: Callable[[], _Result], endpoint: Endpoint) -> _Result:
    """The first success of up to 1 + `retries` tries, ever longer apart."""
    number = 0
    while True:
        try:
            return attempt()
        except _TransientError as problem:
            if number == endpoint.retries:
                raise AuditError(
                    f"{endpoint.url}: {problem} ({number + 1} tries); see to the"
                    " endpoint and run again, the answers so far are kept"
                ) from None
            wait = problem.wait
        if wait is None:
            wait = 0.5 * 2**number * random.uniform(0.8, 1.2)
        time.sleep(min(wait, MAX_WAIT))
        number += 1


def _post(
    client: httpx.Client, endpoint: Endpoint, body: Body
) -> tuple[Body, int | None]:
    """(first choice, tokens generated) of one request."""
    response, data = _exchanged(client, endpoint, body)
    status = response.status_code
    shown = _short(data.decode(errors="replace"))
    if status in _TRANSIENT:
        wait = requested_wait(response.headers)
        raise _TransientError(f"HTTP {status}: {shown}", wait)
    unknown = status in (400, 422) and b"stop_token_ids" in data
    if unknown and "stop_token_ids" in body:  # no part of OpenAI's own interface
        known = {key: value for key, value in body.items() if key != "stop_token_ids"}
        return _post(client, endpoint, known)
    if status != 200:
        raise AuditError(_refusal(endpoint, status, data))
    try:
        value = json.loads(data.decode("utf-8", "replace"))
        choice = value["choices"][0]
        tokens = (value.get("usage") or {}).get("completion_tokens")
        if not isinstance(choice, dict):
            raise TypeError
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise _TransientError(f"no OpenAI-style answer but {shown!r}") from None
    return choice, tokens if isinstance(tokens, int) else None


def _exchanged(
    client: httpx.Client, endpoint: Endpoint, body: Body
) -> tuple[httpx.Response, bytes]:
    """The reply to one request, its body bounded in size and time."""
    path = "completions" if endpoint.api == "completions" else "chat/completions"
    url = f"{endpoint.url.rstrip('/')}/{path}"
    deadline = time.monotonic() + endpoint.seconds
    data = b""
    try:
        with client.stream("POST", url, json=body, timeout=endpoint.seconds) as reply:
            for chunk in reply.iter_bytes():
                data += chunk
                if len(data) > MAX_RESPONSE:
                    raise AuditError(
                        f"{endpoint.url}: an answer of more than {MAX_RESPONSE >> 20}"
                        " MiB; this is no chat endpoint"
                    )
                if time.monotonic() > deadline:
                    raise _TransientError(
                        f"no whole answer within {endpoint.seconds:g} s"
                    )
            return reply, data
    except httpx.TimeoutException:
        raise _TransientError(f"no answer within {endpoint.seconds:g} s") from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise AuditError(
            f"{endpoint.url}: not an address to ask ({error}); it begins with http://"
            " or https:// and usually ends in /v1"
        ) from None
    except httpx.HTTPError as error:  # refused, reset, closed half-way, not HTTP at all
        why = f"{type(error).__name__}: {_short(str(error))}"
        raise _TransientError(f"the connection failed ({why})") from None


def _refusal(endpoint: Endpoint, status: int, data: bytes) -> str:
    said = f"{endpoint.url}: HTTP {status}: {_short(data.decode(errors='replace'))}"
    advice = {
        401: (
            "the key is missing or wrong; probe.endpoint_key names the environment"
            " variable that holds it"
        ),
        403: "the key may not ask this model",
        404: (
            f"there is no such address or no model {endpoint.model!r}; the address"
            " usually ends in /v1"
        ),
    }
    other = "the endpoint refuses the request"
    if 300 <= status < 400:
        other = (
            "a redirect is not followed, the key would go along; give the final address"
        )
    return f"{said}\n{advice.get(status, other)}"


def _short(text: str) -> str:
    """At most 160 characters of a stranger's text, in one line."""
    line = " ".join(text[:2000].split())
    return "".join(char if char.isprintable() else " " for char in line)[:160]
