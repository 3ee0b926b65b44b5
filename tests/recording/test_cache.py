"""Prepared sessions are kept and found again, and a broken cache breaks nothing."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from napari_mtm import open_session
from napari_mtm.recording import cache


def test_the_second_opening_uses_the_cache(own_cache, alf, monkeypatch):
    first = open_session(alf)
    (entry,) = cache.entries()
    assert entry.path.parent == own_cache
    assert entry.title == "MOUSE 2024-02-03 002"
    assert entry.size == entry.path.stat().st_size
    monkeypatch.setattr("napari_mtm.recording.opening.prepare", None)  # not needed again
    second = open_session(alf)
    assert second == first
    assert isinstance(second.counts, np.memmap)


def test_other_settings_are_other_entries(own_cache, alf):
    open_session(alf)
    open_session(alf, units="all")
    open_session(alf, bin_size=0.05)
    assert len(cache.entries()) == 3


def test_a_changed_source_is_prepared_again(own_cache, alf):
    before = open_session(alf)
    file = alf / "alf" / "probe00" / "pykilosort" / "spikes.times.npy"
    times = np.load(file)
    np.save(file, np.sort(times * 0.9))
    assert open_session(alf) != before
    assert len(cache.entries()) == 2


def test_files_that_do_not_bear_on_it_do_not_count(own_cache, alf):
    open_session(alf)
    np.save(alf / "alf" / "probe00" / "pykilosort" / "spikes.amps.npy", np.zeros(5))
    open_session(alf)
    assert len(cache.entries()) == 1


def test_a_damaged_entry_is_made_again(own_cache, alf):
    session = open_session(alf)
    (entry,) = cache.entries()
    damaged = entry.path.read_bytes()[:5000]
    entry.path.unlink()  # the session has the whole file mapped
    entry.path.write_bytes(damaged)
    assert open_session(alf) == session
    (entry,) = cache.entries()
    assert entry.title == "MOUSE 2024-02-03 002"


def test_a_damaged_entry_that_cannot_be_removed_is_passed_over(own_cache, alf, monkeypatch):
    session = open_session(alf)
    (entry,) = cache.entries()
    entry.path.unlink()
    entry.path.write_bytes(b"damaged")

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "another program has it open")

    with monkeypatch.context() as on_windows:
        on_windows.setattr(Path, "unlink", refuse)
        assert cache.load(entry.path.stem, own_cache) is None
    assert open_session(alf) == session


def test_a_cache_that_cannot_be_written_is_said_and_no_more(tmp_path, alf, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("NAPARI_MTM_CACHE", str(blocked / "cache"))
    session = open_session(alf)
    assert session.n_units == 3
    assert any("Not kept for next time" in note for note in session.notes)


def test_clear_frees_what_was_not_used_lately(own_cache, alf):
    open_session(alf)
    open_session(alf, units="all")
    old, new = cache.entries()
    month = time.time() - 30 * 86_400
    os.utime(old.path, (month, month))
    assert cache.clear(unused_days=7) == old.size
    assert [e.path for e in cache.entries()] == [new.path]
    cache.clear()
    assert cache.entries() == []


def test_the_place_is_the_users_cache_folder(monkeypatch):
    monkeypatch.delenv("NAPARI_MTM_CACHE")
    assert "napari-mtm" in cache.folder().parts
    assert cache.folder(Path("/preferred")) == Path("/preferred")
    monkeypatch.setenv("NAPARI_MTM_CACHE", "/somewhere/else")
    assert cache.folder() == cache.folder(Path("/preferred")) == Path("/somewhere/else")


def header(text: bytes) -> bytes:
    """A store of a header alone."""
    text = b'{"__metadata__":{"format":"napari-mtm session",' + text
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        header(b'"a":' + b"[" * 200_000),
        header(b'"version":1e999}}'),
        header(b'"version":"2","session":5,"checksum":"0"}}'),
        header(b'"version":"' + b"9" * 5000 + b'"}}'),
        header(b'"version":[2]}}'),
    ],
    ids=range(7),
)
def test_other_files_in_the_cache_do_no_harm(content, own_cache, alf):
    own_cache.mkdir()
    (own_cache / "stray.mtm").write_bytes(content)
    open_session(alf)
    assert sorted(e.title for e in cache.entries()) == ["MOUSE 2024-02-03 002", "damaged"]
    assert cache.clear() > 0
    assert list(own_cache.iterdir()) == []


def test_what_is_no_file_in_the_cache_stays_there(own_cache):
    (own_cache / "folder.mtm").mkdir(parents=True)
    assert cache.entries() == []
    assert cache.clear() == 0
    assert (own_cache / "folder.mtm").is_dir()
