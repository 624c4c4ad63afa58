from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import zipfile
from pathlib import Path

import pytest
from flaky_server import Flaky, serving
from typer.testing import CliRunner, Result

from rlmrec_fast.data import Dataset, download_commands
from rlmrec_fast.data import fetch as fetching
from rlmrec_fast.data.commands import app
from rlmrec_fast.data.download import default_archive, extract
from rlmrec_fast.errors import DatasetError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, code: int = 2) -> str:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(download_commands, "ARCHIVE_URL", "http://nowhere.invalid/data.zip")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching.fetch, "__defaults__", _without_pauses())
    monkeypatch.chdir(tmp_path)


def _without_pauses() -> tuple[object, ...]:
    *others, _ = fetching.fetch.__defaults__ or ()
    return (*others, lambda _: None)


@pytest.fixture
def archive(rlmrec_folder: Path) -> bytes:
    """The archive with two data sets, one file of no use, and paths and links that lead out."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("amazon", "yelp"):
            for path in rlmrec_folder.iterdir():
                file.write(path, f"data/{name}/{path.name}")
        file.writestr("data/amazon/noise.bin", random.Random(1).randbytes(100_000))
        file.writestr("../../amazon/evil.pkl", b"evil")
        file.writestr("/amazon/evil.pkl", b"evil")
        link = zipfile.ZipInfo("data/amazon/link")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    return content.getvalue()


def test_a_data_set_is_downloaded_once_and_imported(archive, rlmrec_folder):
    with serving(Flaky(archive, breaks=[50_000])) as flaky:
        result = run("download", "amazon", "--url", flaky.url)
        assert result.exit_code == 0, result.output
        assert "users=3, items=4" in result.stdout
        assert run("download", "yelp", "elsewhere", "--url", flaky.url).exit_code == 0
        assert len(flaky.requests) == 2
    got = Dataset.load("data/amazon")
    assert got.name == "amazon"
    assert (got.train != Dataset.load(rlmrec_folder).train).nnz == 0
    assert got.user_vectors.shape == (3, 2)
    digest = hashlib.sha256(archive).hexdigest()
    assert got.source == f"RLMRec's amazon from {flaky.url}, SHA-256 {digest}"
    expected = {"url": flaky.url, "bytes": len(archive), "sha256": digest}
    for folder in ("data/amazon", "elsewhere"):
        assert json.loads(Path(folder, "download.json").read_text()) == expected
    assert default_archive().read_bytes() == archive
    assert sorted(path.name for path in Path("data").iterdir()) == ["amazon"]
    assert "must not exist" in refused(run("download", "amazon"))


def test_as_json_it_is_one_object(archive):
    Path("mine.zip").write_bytes(archive)
    result = run("download", "yelp", "out", "--archive", "mine.zip", "--json")
    found = json.loads(result.stdout)
    assert found == {
        "out": "out",
        "archive": "mine.zip",
        "url": "",
        "bytes": len(archive),
        "sha256": hashlib.sha256(archive).hexdigest(),
        "users": 3,
        "items": 4,
        "train": 4,
        "validation": 2,
        "test": 3,
    }


def test_offline_it_says_what_to_do_by_hand():
    with serving(Flaky(b"")) as flaky:
        pass
    message = refused(run("download", "steam", "out", "--url", flaky.url), 3)
    assert "no connection" in message
    assert f"get {flaky.url} in any other way" in message
    assert "rlmrec-fast data download steam out --archive data.zip" in message
    assert "https_proxy" in message
    assert not Path("out").exists()


def test_a_refusal_of_the_server_is_code_3(archive):
    with serving(Flaky(archive, statuses=[404])) as flaky:
        assert "status 404" in refused(run("download", "yelp", "--url", flaky.url), 3)


def test_another_hash_is_refused(archive):
    Path("mine.zip").write_bytes(archive)
    words = ("download", "yelp", "out", "--archive", "mine.zip", "--sha256")
    assert "the SHA-256 must be 00; delete the file" in refused(run(*words, "00"))
    assert run(*words, hashlib.sha256(archive).hexdigest().upper()).exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["netflix"], "name must be one of amazon, yelp, steam (got 'netflix')"),
        (["steam"], "must hold one folder steam with trn_mat.pkl (got 0 among"),
        (["amazon", "--archive", "folder"], "--archive must be a file (got the folder"),
        (["amazon", "--archive", "damaged.zip"], "must be a whole zip file; delete it"),
        (["amazon", "--archive", "text.zip"], "must be a whole zip file; delete it"),
        (["amazon", "--archive", "new.zip", "--url", "ftp://x/y"], "must start with http:// or"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line_and_leaves_nothing(archive, words, message):
    Path("archive.zip").write_bytes(archive)
    Path("text.zip").write_text("<html>not found</html>")
    broken = bytearray(archive)
    broken[200:260] = b"x" * 60
    Path("damaged.zip").write_bytes(broken)
    Path("folder").mkdir()
    before = sorted(Path().iterdir())
    words = words if "--archive" in words else [*words, "--archive", "archive.zip"]
    assert message in refused(run("download", words[0], "out", *words[1:]))
    assert sorted(Path().iterdir()) == before


def test_nothing_is_written_outside_the_folder(archive, tmp_path):
    Path("archive.zip").write_bytes(archive)
    (tmp_path / "a" / "b").mkdir(parents=True)
    extract(Path("archive.zip"), "amazon", tmp_path / "a" / "b")
    names = {path.name for path in (tmp_path / "a" / "b").iterdir()}
    assert names == {
        "trn_mat.pkl", "val_mat.pkl", "tst_mat.pkl", "usr_emb_np.pkl", "itm_emb_np.pkl",
        "usr_prf.pkl", "itm_prf.pkl",
    }  # fmt: skip
    assert not list(tmp_path.rglob("evil*"))


def test_two_folders_of_one_name_are_refused(tmp_path):
    with zipfile.ZipFile("two.zip", "w") as file:
        for folder in ("a/yelp", "b/yelp"):
            file.writestr(f"{folder}/trn_mat.pkl", b"")
    with pytest.raises(DatasetError, match=r"must hold one folder yelp.*got 2 among 2"):
        extract(Path("two.zip"), "yelp", tmp_path)


def test_an_archive_that_does_not_fit_the_disk_is_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile("big.zip", "w") as file:
        file.writestr("yelp/trn_mat.pkl", b"0" * 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 999}))
    with pytest.raises(DatasetError, match=r"999 bytes free \(got 1,000 bytes of yelp\)"):
        extract(Path("big.zip"), "yelp", tmp_path)


def test_a_program_in_the_archive_is_refused(tmp_path):
    class Bad:
        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("run",))

    with zipfile.ZipFile("bad.zip", "w") as file:
        for name in ("trn", "val", "tst"):
            file.writestr(f"data/yelp/{name}_mat.pkl", pickle.dumps(Bad()))
    message = refused(run("download", "yelp", "out", "--archive", "bad.zip"))
    assert "builtins.print" in message
    assert not Path("out").exists()


def test_help_tells_exit_codes_and_examples():
    text = run("download", "--help").stdout
    assert text.count("Example: rlmrec-fast data download") == 2
    assert "3 no network" in text
