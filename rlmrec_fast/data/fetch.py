"""Downloads one large file over HTTP: resumable, and either whole or not there.

What has arrived lies in `FILE.part`, what the server said of it in `FILE.part.json`: a later call,
perhaps after a crash, asks for the rest alone (RFC 9110, section 14: `Range` with `If-Range`). A
server that ignores ranges, or whose file has changed, sends all of it again. Proxies are those of
the environment (`https_proxy`, `no_proxy`, ...).
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from rlmrec_fast._version import __version__
from rlmrec_fast.errors import UnreachableError

Progress = Callable[[int, "int | None"], None]
"""Told the bytes that are there, and of how many."""

ATTEMPTS = 6
"""How often a server is asked in a row without more bytes than before."""
_LONGEST_PAUSE = 60.0
_BUFFER = 2**20
_RETRIED = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Download:
    """A downloaded file.

    Attributes:
        url: where it came from.
        bytes: its size.
        sha256: its hash.
    """

    url: str
    bytes: int
    sha256: str


@dataclass
class _Remote:
    """What the server said of the file that lies partly here."""

    url: str
    validator: str | None = None
    size: int | None = None


class _Retry(Exception):  # noqa: N818
    """The server may do better next time.

    Attributes:
        pause: seconds to wait, where the server says so.
        restart: whether what has arrived is of no use.
    """

    def __init__(self, reason: str, pause: float | None = None, restart: bool = False) -> None:
        super().__init__(reason)
        self.pause = pause
        self.restart = restart


def fetch(
    url: str,
    path: Path,
    progress: Progress = lambda done, total: None,
    timeout: float = 60.0,
    pause: Callable[[float], None] = time.sleep,
) -> Download:
    """Downloads a file, or the rest of it.

    Args:
        url: `http` or `https`.
        path: where it goes; its folder is made.
        progress: called as bytes arrive.
        timeout: seconds without any byte after which a connection counts as broken.
        pause: waits for a number of seconds between attempts.

    Returns:
        The file, whole; its size is the one that the server told.

    Raises:
        ValueError: the address is not one of HTTP, or another process downloads the same file.
        UnreachableError: the server cannot be reached, refuses, or breaks off again and again. What
            has arrived is kept.
    """
    if not re.match(r"https?://[^/]", url):
        raise ValueError(f"fetch: url must start with http:// or https:// (got {url!r})")
    path.parent.mkdir(parents=True, exist_ok=True)
    part, notes = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"fetch: {path} must not be on its way already (got a lock: another process"
                " is downloading it)"
            ) from None
        try:
            _fetch_all(url, file, notes, progress, timeout, pause)
            file.flush()
            download = Download(url, part.stat().st_size, hash_of(part))
            os.replace(part, path)
        finally:
            if not file.tell():
                part.unlink(missing_ok=True)
    notes.unlink(missing_ok=True)
    return download


def hash_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BUFFER):
            digest.update(block)
    return digest.hexdigest()


def _fetch_all(
    url: str,
    file: BinaryIO,
    notes: Path,
    progress: Progress,
    timeout: float,
    pause: Callable[[float], None],
) -> None:
    # Only more bytes than ever before are a success: starting again and again is none.
    failures, most = 0, file.tell()
    while True:
        try:
            _fetch_rest(url, file, notes, progress, timeout)
            return
        except _Retry as error:
            failures = 1 if file.tell() > most else failures + 1
            most = max(most, file.tell())
            if error.restart:
                notes.unlink(missing_ok=True)
                file.truncate(0)
                file.seek(0)
            if failures >= ATTEMPTS:
                raise UnreachableError(
                    f"{url}: {error}, {failures} times in a row; {file.tell():,} bytes are kept,"
                    " and the same command goes on with the rest"
                ) from error
            pause(min(_LONGEST_PAUSE, error.pause or 2.0 ** (failures - 1)))


def _fetch_rest(url: str, file: BinaryIO, notes: Path, progress: Progress, timeout: float) -> None:
    remote = _read_notes(notes, url)
    start = file.tell() if remote.validator else 0
    headers = {"User-Agent": f"rlmrec-fast/{__version__}", "Accept-Encoding": "identity"}
    if start and remote.validator:
        headers |= {"Range": f"bytes={start}-", "If-Range": remote.validator}
    response = _ask(urllib.request.Request(url, headers=headers), timeout, start, remote)
    if response is None:
        return
    with response:
        partial = response.status == http.client.PARTIAL_CONTENT
        size = _size(response, start, remote) if partial else _length(response)
        start = start if partial else 0
        file.truncate(start)
        file.seek(start)
        kept = remote.validator if partial else None
        _write_notes(notes, _Remote(url, _validator(response.headers) or kept, size))
        # An error of the disk is none of the network: only reading is tried again.
        while block := _read(response):
            file.write(block)
            progress(file.tell(), size)
    file.flush()
    if size is not None and file.tell() != size:
        raise _Retry(
            f"connection broke off at {file.tell():,} of {size:,} bytes",
            restart=file.tell() > size,
        )


def _ask(
    request: urllib.request.Request, timeout: float, start: int, remote: _Remote
) -> http.client.HTTPResponse | None:
    """The answer to a request; None where nothing is missing any more."""
    url = request.full_url
    try:
        # Not urlopen, which keeps the proxies of its first call.
        opener = urllib.request.build_opener()
        response: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            if remote.size == start:
                return None
            raise _Retry("the file there is another one now", restart=True) from error
        if error.code in _RETRIED:
            after = error.headers.get("Retry-After", "")
            pause = float(after) if after.isdecimal() else None
            raise _Retry(f"status {error.code} {error.reason}", pause) from error
        raise UnreachableError(f"{url}: status {error.code} {error.reason}") from error
    except http.client.InvalidURL as error:
        raise ValueError(f"fetch: url must be an address (got {url!r}: {error})") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, socket.gaierror):
            raise UnreachableError(f"{url}: its name cannot be resolved ({reason})") from error
        raise _Retry(f"no connection ({str(reason) or type(reason).__name__})") from error
    return response


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_BUFFER)
    except (OSError, http.client.HTTPException) as error:
        raise _Retry(f"connection broke off ({str(error) or type(error).__name__})") from error


def _length(response: http.client.HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _size(response: http.client.HTTPResponse, start: int, remote: _Remote) -> int | None:
    """The whole file's size, as told along with a part of it."""
    content = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content)
    if match is None or int(match[1]) != start:
        raise _Retry(f"another part arrived than was asked for ({content})", restart=True)
    size = remote.size if match[2] == "*" else int(match[2])
    if remote.size not in (None, size):
        raise _Retry(f"the file has {size} bytes now, and had {remote.size}", restart=True)
    return size


def _validator(headers: Message) -> str | None:
    """What `If-Range` may hold: a strong tag, else a date."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _read_notes(notes: Path, url: str) -> _Remote:
    try:
        remote = _Remote(**json.loads(notes.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return _Remote(url)
    return remote if remote.url == url else _Remote(url)


def _write_notes(notes: Path, remote: _Remote) -> None:
    aside = notes.with_name(f"{notes.name}.aside")
    aside.write_text(json.dumps(asdict(remote)), encoding="utf-8")
    os.replace(aside, notes)
