"""Sessions of BrainWideBench by their ids, fetched from where they are published; no account.

Each is one file, kept in the user's data folder, or in the folder NAPARI_MTM_BENCH_FOLDER. The
address is that of the public bucket, or NAPARI_MTM_BENCH_ADDRESS.
"""

import os
from functools import cached_property
from pathlib import Path

from napari_mtm.errors import SourceError
from napari_mtm.files import is_regular, shortened
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.alf import is_eid
from napari_mtm.recording.download import PATIENCE, Remote, Web, bytes_left, download
from napari_mtm.recording.formats import brain_wide_bench
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.raw import Recording
from napari_mtm.recording.servers import may_hear_secrets, no_answer
from napari_mtm.recording.source import Content, FileSource, Survey

BENCH = "brain-wide-bench"
"""What `one` is called where sessions are meant that are not here yet."""

ADDRESS, FOLDER = "NAPARI_MTM_BENCH_ADDRESS", "NAPARI_MTM_BENCH_FOLDER"
"""Names in the environment of where files are published, and where they are kept."""

_PUBLISHED = (
    "https://brain-wide-bench.s3.amazonaws.com/brainsets/selected_units/ibl_brain_wide_bench_2026"
)
_SPLITS = ("pretrain", "eval")


class BenchSource:
    """A session that is published as a file, which is downloaded before it is read."""

    notes: tuple[str, ...] = ()

    def __init__(self, eid: str) -> None:
        if not is_eid(eid):
            raise SourceError(
                f"{shortened(eid)} is no id of a session; those of {BENCH} are UUIDs."
            )
        self.id = eid.lower()
        self.path = folder() / f"{self.id}.h5"

    @property
    def name(self) -> str:
        """What a person calls the session: its id, until it is here."""
        return self._file.name if self.is_here else self.id

    @property
    def is_here(self) -> bool:
        """Whether the file is on this disk, whole."""
        return is_regular(self.path)

    def fetch(self, progress: Progress = silent) -> None:
        """Download the file, if it is not here; what was cut off goes on where it was."""
        if not self.is_here:
            progress(0.0, f"asking for {self.id}")
            download([self._remote], progress)

    def to_download(self) -> int:
        """Bytes that `fetch` would download; the server is asked."""
        if self.is_here:
            return 0
        return bytes_left(self.path, self._remote.part, self._remote.size)

    def content(self) -> Content:
        """Say which file is read, once it is here."""
        return self._file.content()

    def survey(self, preparation: Preparation) -> Survey:
        """Count what is in the file; raise SourceError before it is here."""
        if not self.is_here:
            raise SourceError(f"What session {self.id} holds is known once it is downloaded.")
        return self._file.survey(preparation)

    def read(self, progress: Progress = silent) -> Recording:
        """Read the file."""
        return self._file.read(progress)

    @property
    def _file(self) -> FileSource:
        found = brain_wide_bench.find(self.path)
        if found is None:
            raise SourceError(
                f"{self.path} is no session of BrainWideBench. Remove it, and open it again."
            )
        return found

    @cached_property
    def _remote(self) -> Remote:
        """The published file; raises SourceError where there is none of this id."""
        address = os.environ.get(ADDRESS, _PUBLISHED).rstrip("/")
        if not may_hear_secrets(address):
            raise SourceError(f"{address} is no https:// address; set another in {ADDRESS}.")
        for split in _SPLITS:
            url = f"{address}/{split}/{self.id}.h5"
            size = _size(url)
            if size is not None:
                return Remote(
                    path=self.path,
                    title=f"session {self.id}",
                    size=size,
                    hash="",
                    places=(Web(url),),
                    server=address,
                    needed=True,
                )
        raise SourceError(f"There is no session {self.id} at {address}.")


def folder() -> Path:
    """Return the folder that downloaded files are kept in."""
    from platformdirs import user_data_path

    named = os.environ.get(FOLDER)
    return Path(named) if named else user_data_path("napari-mtm", appauthor=False) / BENCH


def downloaded() -> list[Path]:
    """Files that were downloaded, by name."""
    return sorted(path for path in folder().glob("*.h5") if is_regular(path))


def _size(url: str) -> int | None:
    """Bytes of a published file, None where there is none."""
    import requests

    try:
        answer = requests.head(
            url, headers={"Accept-Encoding": "identity"}, timeout=PATIENCE, allow_redirects=True
        )
    except (OSError, ValueError) as error:
        raise no_answer(url, error) from None
    if answer.status_code in (403, 404):  # a bucket that may not be listed says 403 of no file
        return None
    length = answer.headers.get("Content-Length", "")
    if answer.status_code != 200 or not length.isdecimal():
        raise SourceError(
            f"{url} does not say how large the file is ({answer.status_code}). Try again later."
        )
    return int(length)
