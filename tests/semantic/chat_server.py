"""A local server that speaks enough of OpenAI's protocol, well or badly."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server answers; a body that is no text is sent as JSON."""

    body: Any = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


def answered(content: str, tokens: int | None = 30) -> Reply:
    """An answer of a language model."""
    usage = {} if tokens is None else {"usage": {"total_tokens": tokens}}
    return Reply({"choices": [{"message": {"role": "assistant", "content": content}}], **usage})


def profile_for(question: str) -> str:
    """The profile that a good server writes, which depends on the question alone."""
    return f"profile {hashlib.sha256(question.encode()).hexdigest()[:8]}"


def good(question: str, number: int) -> Reply:
    """What a good server answers to a question."""
    return answered(json.dumps({"profile": profile_for(question), "reasoning": f"it is {number}"}))


def failed(status: int, message: str = "no", **headers: str) -> Reply:
    """An error in the form that OpenAI gives it."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply({"error": {"message": message}}, status, names)


class ChatServer:
    """Runs as long as the context lasts.

    Attributes:
        behave: Question and number of the request -> reply; the question is the second message.
        questions: All questions, in the order in which they came.
        times: When.
        bodies: The requests whole.
        keys: What the requests had as authorization.
    """

    def __init__(self, behave: Callable[[str, int], Reply] = good) -> None:
        self.behave = behave
        self.questions: list[str] = []
        self.times: list[float] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.under_way = self.most = 0
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                messages = body.get("messages")
                question = messages[1]["content"] if messages else json.dumps(body["input"])
                with lock:
                    number = len(server.questions)
                    server.questions.append(question)
                    server.times.append(time.monotonic())
                    server.bodies.append(body)
                    server.keys.append(self.headers.get("Authorization", ""))
                    server.under_way += 1
                    server.most = max(server.most, server.under_way)
                reply = server.behave(question, number)
                server.stop.wait(reply.delay)
                with lock:
                    server.under_way -= 1
                text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    if "content-type" not in reply.headers:
                        self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(text.encode())))
                    self.end_headers()
                    self.wfile.write(text.encode())
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self.stop = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()
