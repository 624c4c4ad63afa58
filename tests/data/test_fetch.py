from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flaky_server import Flaky, serving

from rlmrec_fast.data import fetch as fetching
from rlmrec_fast.data.fetch import fetch
from rlmrec_fast.errors import UnreachableError

CONTENT = random.Random(1).randbytes(300_000)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def get(flaky: Flaky, folder: Path, **options: object):
    """Downloads without waiting; returns the result and the pauses."""
    pauses: list[float] = []
    result = fetch(flaky.url, folder / "file", timeout=5, pause=pauses.append, **options)
    assert (folder / "file").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == ["file"]
    assert (result.bytes, result.url) == (len(CONTENT), flaky.url)
    assert result.sha256 == hashlib.sha256(CONTENT).hexdigest()
    return pauses


def test_a_file_arrives_whole_and_progress_is_told(tmp_path):
    told: list[tuple[int, int | None]] = []
    with serving(Flaky(CONTENT)) as flaky:
        assert get(flaky, tmp_path, progress=lambda *seen: told.append(seen)) == []
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert flaky.requests == [("/data.zip", None)]


def test_broken_connections_go_on_where_they_broke(tmp_path):
    with serving(Flaky(CONTENT, breaks=[100_000, 1, 0, 50_000])) as flaky:
        pauses = get(flaky, tmp_path)
    assert [asked for _, asked in flaky.requests] == [
        None,
        "bytes=100000-",
        "bytes=100001-",
        "bytes=100001-",
        "bytes=150001-",
    ]
    assert pauses == [1, 1, 2, 1]
    assert sum(flaky.sent) == len(CONTENT)


def test_a_server_that_ignores_ranges_sends_all_again(tmp_path):
    with serving(Flaky(CONTENT, breaks=[100_000], ranges=False)) as flaky:
        get(flaky, tmp_path)
    assert flaky.sent == [100_000, len(CONTENT)]


def test_a_file_that_has_changed_is_downloaded_anew(tmp_path):
    with serving(Flaky(b"old" * 100_000, breaks=[200_000])) as flaky:

        def change(_: float) -> None:
            flaky.content, flaky.tag = CONTENT, '"two"'

        fetch(flaky.url, tmp_path / "file", pause=change)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert flaky.requests[1][1] == "bytes=200000-"


def test_without_a_tag_nothing_is_put_together(tmp_path):
    with serving(Flaky(CONTENT, breaks=[100_000], tag=None)) as flaky:
        get(flaky, tmp_path)
    assert [asked for _, asked in flaky.requests] == [None, None]


def test_a_wrong_total_starts_again(tmp_path):
    with serving(Flaky(CONTENT, breaks=[100_000], total=7)) as flaky:
        get(flaky, tmp_path)
    assert [asked for _, asked in flaky.requests] == [None, "bytes=100000-", None]


@pytest.mark.parametrize(
    ("ranges", "reason"),
    [(False, "broke off at 300,000 of 300,001 bytes"), (True, "another one now")],
)
def test_a_file_shorter_than_announced_is_never_taken(tmp_path, ranges, reason):
    with (
        serving(Flaky(CONTENT, length=len(CONTENT) + 1, ranges=ranges)) as flaky,
        pytest.raises(UnreachableError, match=f"{reason}, 6 times in a row"),
    ):
        fetch(flaky.url, tmp_path / "file", pause=lambda _: None)
    assert not (tmp_path / "file").exists()


def test_without_a_length_the_end_of_the_connection_is_the_end(tmp_path):
    with serving(Flaky(CONTENT, length=0)) as flaky:
        get(flaky, tmp_path)


def test_busy_servers_are_asked_again_after_a_pause(tmp_path):
    with serving(Flaky(CONTENT, statuses=[503, 0, 500], breaks=[0, 9])) as flaky:
        assert get(flaky, tmp_path) == [1, 1, 2]
    with serving(Flaky(CONTENT, statuses=[429], headers={"Retry-After": "7"})) as flaky:
        assert get(flaky, tmp_path) == [7]
    with serving(Flaky(CONTENT, statuses=[503], headers={"Retry-After": "9999"})) as flaky:
        assert get(flaky, tmp_path) == [60]


def test_a_server_that_stays_busy_is_given_up(tmp_path):
    with (
        serving(Flaky(CONTENT, statuses=[0, *[503] * 99], breaks=[5_000])) as flaky,
        pytest.raises(UnreachableError, match=r"status 503.*6 times in a row; 5,000 bytes are kep"),
    ):
        fetch(flaky.url, tmp_path / "file", pause=lambda _: None)
    flaky.statuses.clear()
    with serving(flaky):
        pass
    assert (tmp_path / "file.part").stat().st_size == 5_000


@pytest.mark.parametrize("status", [404, 403, 410, 400])
def test_a_refusal_is_final_and_leaves_nothing(tmp_path, status):
    with (
        serving(Flaky(CONTENT, statuses=[status])) as flaky,
        pytest.raises(UnreachableError, match=f"data.zip: status {status}"),
    ):
        fetch(flaky.url, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
    assert len(flaky.requests) == 1


def test_a_whole_part_needs_no_more_bytes(tmp_path):
    with serving(Flaky(CONTENT, breaks=[len(CONTENT)])) as flaky:
        fetch(flaky.url, tmp_path / "first")
        (tmp_path / "first").rename(tmp_path / "file.part")
        fetching._write_notes(
            tmp_path / "file.part.json", fetching._Remote(flaky.url, '"one"', len(CONTENT))
        )
        get(flaky, tmp_path)
        assert flaky.sent == [len(CONTENT), 0]
        # Another file of the same tag and more bytes than there are now: all of it again.
        (tmp_path / "file").rename(tmp_path / "file.part")
        fetching._write_notes(
            tmp_path / "file.part.json", fetching._Remote(flaky.url, '"one"', len(CONTENT) + 1)
        )
        get(flaky, tmp_path)
        assert flaky.sent[3:] == [len(CONTENT)]


def test_a_part_of_another_address_is_not_used(tmp_path):
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    fetching._write_notes(tmp_path / "file.part.json", fetching._Remote("http://other", '"one"', 2))
    with serving(Flaky(CONTENT)) as flaky:
        get(flaky, tmp_path)


def test_a_silent_server_counts_as_broken(tmp_path):
    with serving(Flaky(CONTENT, slow=60)) as flaky:
        fetch(flaky.url, tmp_path / "file", timeout=0.1, pause=lambda _: None)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert flaky.requests[1][1] == "bytes=65536-"


def test_no_server_at_all_is_unreachable(tmp_path):
    with serving(Flaky(CONTENT)) as flaky:
        pass
    with pytest.raises(UnreachableError, match=r"no connection .*6 times in a row"):
        fetch(flaky.url, tmp_path / "file", pause=lambda _: None)
    with pytest.raises(UnreachableError, match="cannot be resolved"):
        fetch("http://nowhere.invalid/data.zip", tmp_path / "file")


def test_the_environments_proxy_is_used(tmp_path, monkeypatch):
    with serving(Flaky(CONTENT)) as flaky:
        monkeypatch.setenv("http_proxy", flaky.url.removesuffix("/data.zip"))
        fetch("http://nowhere.invalid/x.zip", tmp_path / "file")
    assert flaky.requests == [("http://nowhere.invalid/x.zip", None)]
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "data.zip", "http://", ""])
def test_only_http_is_taken(tmp_path, url):
    with pytest.raises(ValueError, match=r"must start with http:// or https://"):
        fetch(url, tmp_path / "file")


def test_two_processes_do_not_mix_one_file(tmp_path):
    with (tmp_path / "file.part").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is downloading it"):
            fetch("http://127.0.0.1:9/", tmp_path / "file")


def test_a_full_disk_is_not_taken_for_the_network(tmp_path):
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    notes = tmp_path / "notes"
    with serving(Flaky(CONTENT)) as flaky, pytest.raises(OSError, match="No space left"):
        fetching._fetch_all(flaky.url, Full(), notes, lambda *_: None, 5, lambda _: None)
    assert len(flaky.requests) == 1


PROGRAM = """
import sys
from pathlib import Path
from rlmrec_fast.data.fetch import fetch
fetch(sys.argv[1], Path(sys.argv[2]))
"""


def test_killed_at_any_moment_it_goes_on_with_the_rest(tmp_path):
    content = CONTENT * 10
    chance = random.Random(3)
    with serving(Flaky(content, slow=0.002)) as flaky:
        for _ in range(2):
            before = sum(flaky.sent)
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, flaky.url, str(tmp_path / "file")]
            )
            limit = before + chance.randrange(1, len(content) // 4)
            while sum(flaky.sent) < limit:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait()
        part = (tmp_path / "file.part").stat().st_size
        assert 0 < part < len(content)
        flaky.slow = 0
        fetch(flaky.url, tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == content
        assert flaky.requests[-1][1] == f"bytes={part}-"
