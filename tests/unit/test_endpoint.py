"""A real HTTP server on this machine, well-behaved and otherwise; nothing is mocked."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mergetrace.errors import AuditError
from mergetrace.probe.endpoint import Endpoint, answer

pytestmark = pytest.mark.slow

QUESTIONS = [
    {
        "prompt": f"p{i}",
        "system": None,
        "text": f"Who? {i}",
        "rendered": f"<user>Who? {i}<assistant>",
        "seed": i,
    }
    for i in range(6)
]


@contextmanager
def serving(reply):
    """A server whose `reply(handler, body)` answers each POST; yields its address and
    the requests it saw: (path, headers, body).
    """
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.append(
                (
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    body,
                )
            )
            reply(self, body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(handler, data, status=200, **headers):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    handler.send_response(status)
    for name, value in ({"Content-Length": str(len(data))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def completion(text, finish="stop"):
    return {
        "choices": [{"text": text, "finish_reason": finish}],
        "usage": {"completion_tokens": 3},
    }


def ask(url, count=1, **options):
    options = {"retries": 1, "seconds": 2.0} | options
    return answer(Endpoint(url, "tiny", **options), QUESTIONS[:count], 0.7, 16, "<end>")


def test_completions_carry_what_was_rendered_and_each_prompts_seed():
    with serving(
        lambda handler, body: send(handler, completion(f"seed {body['seed']}"))
    ) as (url, seen):
        found = ask(url, 6, key="secret", concurrency=3)
    assert [each["answer"] for each in found] == [f"seed {i}" for i in range(6)]
    assert found[0] == {
        "prompt_ids": None,
        "answer": "seed 0",
        "reasoning": None,
        "finish": "stop",
        "tokens": 3,
    }
    assert {path for path, _, _ in seen} == {"/v1/completions"}
    assert {headers["authorization"] for _, headers, _ in seen} == {"Bearer secret"}
    assert {body["prompt"] for _, _, body in seen} == {
        question["rendered"] for question in QUESTIONS
    }
    assert seen[0][2] | {"prompt": "", "seed": 0} == {
        "model": "tiny",
        "temperature": 0.7,
        "max_tokens": 16,
        "seed": 0,
        "stream": False,
        "prompt": "",
        "stop": ["<end>"],
    }


def test_token_ids_are_sent_where_there_are_any():
    with serving(lambda handler, body: send(handler, completion("x", "length"))) as (
        url,
        seen,
    ):
        (found,) = answer(
            Endpoint(url, "tiny"), [QUESTIONS[0] | {"prompt_ids": [1, 2]}], 0.7, 16
        )
    assert seen[0][2]["prompt"] == [1, 2]
    assert (found["prompt_ids"], found["finish"]) == ([1, 2], "length")


def test_a_server_that_knows_no_stop_tokens_is_asked_without():
    def reply(handler, body):
        unknown = {
            "error": {
                "message": "Unrecognized request argument supplied: stop_token_ids"
            }
        }
        send(
            handler,
            *((unknown, 400) if "stop_token_ids" in body else (completion("Nex"),)),
        )

    with serving(reply) as (url, seen):
        (found,) = answer(Endpoint(url, "tiny"), QUESTIONS[:1], 0.7, 16, "<end>", 7)
    assert found["answer"] == "Nex"
    assert [body.get("stop_token_ids") for _, _, body in seen] == [[7], None]


def test_chat_sends_messages_and_reads_reasoning():
    said = {
        "choices": [
            {
                "message": {"content": "Nex", "reasoning_content": "Rio?"},
                "finish_reason": "stop",
            }
        ]
    }
    with serving(lambda handler, body: send(handler, said)) as (url, seen):
        (found,) = answer(
            Endpoint(url, "tiny", "chat"),
            [QUESTIONS[0] | {"system": "You are Zed.", "rendered": None}],
            0.7,
            16,
        )
    assert seen[0][0] == "/v1/chat/completions"
    assert seen[0][2]["messages"] == [
        {"role": "system", "content": "You are Zed."},
        {"role": "user", "content": "Who? 0"},
    ]
    assert (found["answer"], found["reasoning"], found["tokens"]) == (
        "Nex",
        "Rio?",
        None,
    )


def test_concurrency_is_bounded():
    now = [0]
    most = [0]
    lock = threading.Lock()

    def reply(handler, body):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        send(handler, completion("x"))

    with serving(reply) as (url, _):
        ask(url, 6, concurrency=2)
    assert most[0] == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_tried_again(status):
    tries = []

    def reply(handler, body):
        tries.append(body)
        send(
            handler,
            *((b"busy", status) if len(tries) == 1 else (completion("x"),)),
            **({"Retry_After": "0"} if len(tries) == 1 else {}),
        )

    with serving(reply) as (url, _):
        assert ask(url)[0]["answer"] == "x"
    assert len(tries) == 2


def half(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')


def drip(handler, body):
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(50):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)
    except OSError:
        pass


BAD = {
    "HTML": (
        lambda handler, body: send(handler, b"<html>Welcome!</html>"),
        "no OpenAI-style answer but '<html>Welcome!</html>'",
    ),
    "a list": (lambda handler, body: send(handler, [1]), "no OpenAI-style answer"),
    "no choices": (
        lambda handler, body: send(handler, {"choices": []}),
        "no OpenAI-style answer",
    ),
    "deep": (
        lambda handler, body: send(handler, b"[" * 100_000),
        "no OpenAI-style answer",
    ),
    "errors": (
        lambda handler, body: send(handler, b"boom\x1b[31m", 500, Retry_After="0"),
        r"HTTP 500: boom \[31m \(2 tries\)",
    ),
    "closes half-way": (half, "the connection failed"),
    "drips": (drip, "no whole answer within 0.5 s"),
    "slow": (lambda handler, body: time.sleep(1.2), "no answer within 0.5 s"),
    "huge": (lambda handler, body: send(handler, b"x" * (9 << 20)), "more than 8 MiB"),
    "wrong key": (
        lambda handler, body: send(handler, b"no", 401),
        "probe.endpoint_key names the environment variable",
    ),
    "unknown model": (
        lambda handler, body: send(handler, b"no", 404),
        "no model 'tiny'",
    ),
    "redirect": (
        lambda handler, body: send(handler, b"", 302, Location="http://example.org/"),
        "a redirect is not followed",
    ),
}


@pytest.mark.parametrize(("reply", "message"), BAD.values(), ids=BAD)
def test_a_bad_endpoint_is_named_in_two_lines_without_the_key(reply, message):
    with serving(reply) as (url, _), pytest.raises(AuditError, match=message) as caught:
        ask(url, key="secret", seconds=0.5 if "0.5 s" in message else 20)
    assert url in str(caught.value)
    assert "secret" not in str(caught.value)
    assert str(caught.value).count("\n") <= 1


def test_an_endpoint_that_is_down_or_no_address_says_so():
    with pytest.raises(AuditError, match="the connection failed"):
        ask("http://127.0.0.1:9/v1")
    with pytest.raises(AuditError, match="not an address"):
        ask("nowhere")


def test_odd_answers_survive():
    odd = "I am \x00\x1b[31mNex <b>" + "x" * 100_000
    with serving(lambda handler, body: send(handler, completion(odd))) as (url, _):
        assert ask(url)[0]["answer"] == odd
    with serving(
        lambda handler, body: send(handler, b'{"choices": [{"text": "\xff Nex"}]}')
    ) as (url, _):
        assert ask(url)[0]["answer"] == "\ufffd Nex"
    with serving(
        lambda handler, body: send(handler, {"choices": [{"text": None}]})
    ) as (url, _):
        assert ask(url)[0]["answer"] == ""
