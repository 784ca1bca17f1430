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
from typing import Any

import httpx

from mergetrace.errors import AuditError
from mergetrace.hub.waiting import requested_wait
from mergetrace.probe.reasoning import separate

MAX_RESPONSE = 8 << 20  # bytes
MAX_WAIT = 60  # seconds between two tries
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}

Record = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """Where to ask and how hard. `url` ends in /v1 or the like; `api` is `completions`
    (rendered here) or `chat` (rendered there).
    """

    url: str
    model: str
    api: str = "completions"
    key: str | None = field(default=None, repr=False)
    concurrency: int = 8
    retries: int = 5
    seconds: float = 300.0  # for one answer, all of it


class _Passing(Exception):
    """Why one try failed; `wait` is how many seconds the server asks for."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


def tokenizer(folder: Path) -> Any:
    """The model's own tokenizer.json as a tokenizers.Tokenizer; None without a readable
    one (the endpoint then gets text).

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
) -> list[Record]:
    """Answer questions, at most `concurrency` at a time: for each the same record as
    `generation.answer` gives, in their order.

    `stop` is the text that closes a turn, `stop_token` the token where it is one:
    servers look for text among what they show, and show no special tokens. Raises
    AuditError naming the endpoint once `retries` did not help.
    """
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    limits = httpx.Limits(max_connections=endpoint.concurrency)
    with (
        httpx.Client(
            headers=headers,
            timeout=min(30.0, endpoint.seconds),
            limits=limits,
            follow_redirects=False,
        ) as client,
        ThreadPoolExecutor(endpoint.concurrency) as pool,
    ):
        common = {
            "model": endpoint.model,
            "temperature": temperature,
            "max_tokens": max_new_tokens,
            "stream": False,
        }
        if endpoint.api == "completions":
            common |= ({"stop": [stop]} if stop else {}) | (
                {} if stop_token is None else {"stop_token_ids": [stop_token]}
            )
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
    client: httpx.Client, endpoint: Endpoint, question: Record, common: Record
) -> Record:
    body = common | {"seed": question["seed"]}
    if endpoint.api == "completions":
        body["prompt"] = question.get("prompt_ids") or question["rendered"]
    else:
        system = (
            [{"role": "system", "content": question["system"]}]
            if question["system"] is not None
            else []
        )
        body["messages"] = [*system, {"role": "user", "content": question["text"]}]
    choice, tokens = _persist(lambda: _post(client, endpoint, body), endpoint)
    if endpoint.api == "completions":
        text = choice.get("text")
        thought = None
    else:
        message = (
            choice.get("message") if isinstance(choice.get("message"), dict) else {}
        )
        text = message.get("content")
        thought = message.get("reasoning_content") or message.get("reasoning")
    reasoning, said = separate(
        text if isinstance(text, str) else "", question["rendered"] or ""
    )
    thought = thought if isinstance(thought, str) else reasoning
    finish = "length" if choice.get("finish_reason") == "length" else "stop"
    if (
        tokens
        and finish == "stop"
        and "stop_reason" in choice
        and not isinstance(choice["stop_reason"], str)
    ):
        tokens -= 1  # vLLM counts the token that ends an answer
    return {
        "prompt_ids": question.get("prompt_ids"),
        "answer": said,
        "reasoning": thought,
        "finish": finish,
        "tokens": tokens,
    }


def _persist(attempt: Callable[[], Any], endpoint: Endpoint) -> Any:
    """The first success of up to 1 + `retries` tries, ever longer apart."""
    for number in range(endpoint.retries + 1):
        try:
            return attempt()
        except _Passing as problem:
            if number == endpoint.retries:
                raise AuditError(
                    f"{endpoint.url}: {problem} ({number + 1} tries); see to the"
                    " endpoint and run again, the answers so far are kept"
                ) from None
            wait = (
                problem.wait
                if problem.wait is not None
                else 0.5 * 2**number * random.uniform(0.8, 1.2)
            )
            time.sleep(min(wait, MAX_WAIT))


def _post(
    client: httpx.Client, endpoint: Endpoint, body: Record
) -> tuple[Record, int | None]:
    """(first choice, tokens generated) of one request."""
    path = "completions" if endpoint.api == "completions" else "chat/completions"
    deadline = time.monotonic() + endpoint.seconds
    data = b""
    try:
        with client.stream(
            "POST",
            f"{endpoint.url.rstrip('/')}/{path}",
            json=body,
            timeout=endpoint.seconds,
        ) as response:
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_RESPONSE:
                    raise AuditError(
                        f"{endpoint.url}: an answer of more than {MAX_RESPONSE >> 20}"
                        " MiB; this is no chat endpoint"
                    )
                if time.monotonic() > deadline:
                    raise _Passing(f"no whole answer within {endpoint.seconds:g} s")
    except httpx.TimeoutException:
        raise _Passing(f"no answer within {endpoint.seconds:g} s") from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise AuditError(
            f"{endpoint.url}: not an address to ask ({error}); it begins with http://"
            " or https:// and usually ends in /v1"
        ) from None
    except httpx.HTTPError as error:  # refused, reset, closed half-way, not HTTP at all
        raise _Passing(
            f"the connection failed ({type(error).__name__}: {_short(str(error))})"
        ) from None
    if response.status_code in _AGAIN:
        raise _Passing(
            f"HTTP {response.status_code}: {_short(data.decode(errors='replace'))}",
            requested_wait(response.headers),
        )
    if (
        response.status_code in (400, 422)
        and "stop_token_ids" in body
        and b"stop_token_ids" in data
    ):  # no part of OpenAI's own interface
        return _post(
            client,
            endpoint,
            {key: value for key, value in body.items() if key != "stop_token_ids"},
        )
    if response.status_code != 200:
        raise AuditError(_refusal(endpoint, response.status_code, data))
    try:
        value = json.loads(data.decode("utf-8", "replace"))
        choice = value["choices"][0]
        tokens = (value.get("usage") or {}).get("completion_tokens")
        if not isinstance(choice, dict):
            raise TypeError
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise _Passing(
            f"no OpenAI-style answer but {_short(data.decode(errors='replace'))!r}"
        ) from None
    return choice, tokens if isinstance(tokens, int) else None


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
    other = (
        "a redirect is not followed, the key would go along; give the final address"
        if 300 <= status < 400
        else "the endpoint refuses the request"
    )
    return f"{said}\n{advice.get(status, other)}"


def _short(text: str) -> str:
    return "".join(
        char if char.isprintable() else " " for char in " ".join(text[:2000].split())
    )[:160]
