"""RLMRec's published data sets: downloaded, taken out of their archive, imported."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from rlmrec_fast.data.dataset import TRAINING_PICKLE, Dataset
from rlmrec_fast.data.fetch import Download, Progress, fetch, hash_of
from rlmrec_fast.data.folder import check_place, folder_beside, write_folder
from rlmrec_fast.data.rlmrec import FILES, read_rlmrec
from rlmrec_fast.errors import DatasetError, UnreachableError

ARCHIVE_URL = "https://archive.org/download/rlmrec_data/data.zip"
NAMES = ("amazon", "yelp", "steam")
RECORD = "download.json"
"""The record's file in the folder of a downloaded data set: address, size and hash."""

_BUFFER = 2**20


def default_archive() -> Path:
    """Where the archive is kept: `rlmrec_fast/rlmrec-data.zip` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "rlmrec_fast" / "rlmrec-data.zip"


@dataclass(frozen=True)
class Order:
    """What to download, and where to.

    Attributes:
        name: one of `NAMES`.
        out: the data set folder.
        archive: where the archive is; it is downloaded to there unless it is.
        url: the archive's address.
        sha256: what the archive's hash must be; None for anything.
        overwrite: whether to replace a data set folder.
    """

    name: str
    out: Path
    archive: Path
    url: str = ARCHIVE_URL
    sha256: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(
                f"download: name must be one of {', '.join(NAMES)} (got {self.name!r})"
            )
        if self.archive.is_dir():
            raise ValueError(f"download: --archive must be a file (got the folder {self.archive})")

    @property
    def by_hand(self) -> str:
        """What to do where the network does not serve."""
        return (
            f"behind a proxy set https_proxy; or get {self.url} in any other way and give the file:"
            f" rlmrec-fast data download {self.name} {self.out} --archive data.zip"
        )


def download(order: Order, progress: Progress) -> tuple[Dataset, Download]:
    """Downloads the archive unless it is here, and imports one of its data sets.

    Args:
        order: what, and where to.
        progress: called as bytes arrive.

    Returns:
        The data set as it was saved, and the archive.

    Raises:
        FileExistsError: the folder exists and may not be replaced.
        UnreachableError: the archive cannot be downloaded; the message says what to do by hand.
        DatasetError: the archive is damaged, is another one than `sha256` says, or lacks the data.
    """
    check_place(order.out, order.overwrite)
    archive = _archive(order, progress)
    if order.sha256 is not None and archive.sha256 != order.sha256.lower():
        raise DatasetError(
            f"{order.archive}: the SHA-256 must be {order.sha256}; delete the file to download it"
            f" again (got {archive.sha256})"
        )
    with folder_beside(order.out) as aside:
        folder = aside / order.name
        folder.mkdir()
        extract(order.archive, order.name, folder)
        source = f"RLMRec's {order.name} from {archive.url or order.archive.name}"
        dataset = replace(read_rlmrec(folder), source=f"{source}, SHA-256 {archive.sha256}")
        record = json.dumps(asdict(archive), indent=2) + "\n"
        write_folder(dataset, order.out, order.overwrite, {RECORD: record})
    return dataset, archive


def _archive(order: Order, progress: Progress) -> Download:
    if order.archive.is_file():
        return Download(
            _recorded_url(order.archive), order.archive.stat().st_size, hash_of(order.archive)
        )
    try:
        archive = fetch(order.url, order.archive, progress)
    except UnreachableError as error:
        raise UnreachableError(f"{error}. By hand: {order.by_hand}") from error
    _record(order.archive).write_text(json.dumps(asdict(archive)) + "\n", encoding="utf-8")
    return archive


def _record(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.json")


def _recorded_url(archive: Path) -> str:
    """Where an archive was downloaded from; empty if it came by hand."""
    try:
        record = Download(**json.loads(_record(archive).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return ""
    return record.url if record.bytes == archive.stat().st_size else ""


def extract(archive: Path, name: str, folder: Path) -> None:
    """Takes one data set's files out of an archive.

    Files are found by their last two names, such as `amazon/trn_mat.pkl`, and written under names
    of our own: whatever paths or links an archive holds, nothing is written outside the folder.

    Args:
        archive: a zip file.
        name: the folder in it.
        folder: where the files go; must exist.

    Raises:
        DatasetError: the archive is damaged, holds no such data set, or is larger than the disk.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = _members(archive, file, name)
            size = sum(member.file_size for member in members.values())
            free = shutil.disk_usage(folder).free
            if size > free:
                raise DatasetError(
                    f"{archive}: must fit on the disk when unpacked, with {free:,} bytes free"
                    f" (got {size:,} bytes of {name})"
                )
            for target, member in members.items():
                with file.open(member) as content, (folder / target).open("wb") as copy:
                    shutil.copyfileobj(content, copy, _BUFFER)
    # A protected archive is a RuntimeError, an unknown compression a NotImplementedError.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DatasetError(
            f"{archive}: must be a whole zip file; delete it to download it again (got {error})"
        ) from error


def _members(archive: Path, file: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """File name -> member of the folder `name` that holds the training matrix."""
    paths = {PurePosixPath(member.filename): member for member in file.infolist()}
    folders = [
        path.parent for path in paths if path.name == TRAINING_PICKLE and path.parent.name == name
    ]
    if len(folders) != 1:
        raise DatasetError(
            f"{archive}: must hold one folder {name} with {TRAINING_PICKLE} (got {len(folders)}"
            f" among {len(paths)} files)"
        )
    return {
        path.name: member
        for path, member in paths.items()
        if path.parent == folders[0] and path.name in FILES
    }
