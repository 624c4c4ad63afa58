"""An HTTP server for one file that misbehaves on request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count


@dataclass
class Flaky:
    """What the server does; the n-th entry of a list is for the n-th request, then all is well.

    Attributes:
        content: the file.
        tag: its ETag; None for none.
        statuses: what to answer instead of the file.
        breaks: after how many bytes to break off.
        ranges: whether ranges are understood.
        total: the size in Content-Range, if not the file's.
        length: the Content-Length, if not what is sent; 0 for none.
        headers: more headers of refusals.
        slow: seconds to wait after every 64 KiB.
        url: the file's address.
        requests: of every request, its path and its range.
        sent: of every request, the bytes sent.
    """

    content: bytes
    tag: str | None = '"one"'
    statuses: list[int] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    total: int | None = None
    length: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    slow: float = 0.0
    url: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)


@contextmanager
def serving(flaky: Flaky) -> Iterator[Flaky]:
    numbers = count()
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            number = next(numbers)
            asked = self.headers.get("Range")
            flaky.requests.append((self.path, asked))
            flaky.sent.append(0)
            self.close_connection = True
            if number < len(flaky.statuses) and flaky.statuses[number]:
                self.answer(flaky.statuses[number], {"Content-Length": "0", **flaky.headers})
                return
            start, body = 0, flaky.content
            fresh = self.headers.get("If-Range") in (None, flaky.tag)
            headers = {"ETag": flaky.tag} if flaky.tag else {}
            if asked and flaky.ranges and fresh:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(body):
                    self.answer(416, {"Content-Length": "0"})
                    return
                body = body[start:]
                total = flaky.total or len(flaky.content)
                headers["Content-Range"] = f"bytes {start}-{len(flaky.content) - 1}/{total}"
            if flaky.length != 0:
                headers["Content-Length"] = str(flaky.length or len(body))
            self.answer(206 if "Content-Range" in headers else 200, headers)
            end = flaky.breaks[number] if number < len(flaky.breaks) else len(body)
            for place in range(0, min(end, len(body)), 2**16):
                block = body[place : min(place + 2**16, end)]
                try:
                    self.wfile.write(block)
                except OSError:
                    return
                flaky.sent[number] += len(block)
                stop.wait(flaky.slow)

        def answer(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    flaky.url = f"http://127.0.0.1:{server.server_address[1]}/data.zip"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield flaky
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()
