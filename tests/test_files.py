"""Only regular files are read and replaced, and never half."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from napari_mtm import files
from napari_mtm.errors import SourceError, StoreError
from napari_mtm.files import (
    filling,
    is_regular,
    must_be_regular,
    new_folder,
    reading,
    remove_partial,
    remove_unfinished,
    replacing,
    shortened,
)

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and devices are POSIX's")


def put(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def fail_halfway(path: Path, problem: Exception) -> None:
    with replacing(path) as file:
        file.write(b"half")
        raise problem


def test_a_file_is_replaced_when_all_is_written(tmp_path):
    path = tmp_path / "new" / "file"
    put(path, b"first")
    with replacing(path) as file:
        file.write(b"second")
        assert path.read_bytes() == b"first"
    assert path.read_bytes() == b"second"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_what_goes_wrong_meanwhile_leaves_all_as_it_was(tmp_path):
    path = tmp_path / "file"
    put(path, b"before")
    for problem, told in ((ValueError("mine"), ValueError), (OSError(28, "Full"), StoreError)):
        with pytest.raises(told):
            fail_halfway(path, problem)
        assert [p.name for p in tmp_path.iterdir()] == ["file"]
        assert path.read_bytes() == b"before"


def in_use(times: int, code: int):
    """`Path.replace` as on Windows, where a program has the file open for so many attempts."""
    replace, left = Path.replace, [times]

    def fail_at_first(self: Path, target: Path) -> Path:
        if left[0]:
            left[0] -= 1
            problem = OSError(13, "Access is denied")
            problem.winerror = code
            raise problem
        return replace(self, target)

    return fail_at_first


def test_on_windows_a_file_is_replaced_once_nobody_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_PAUSE", 0.0)
    path, renamed = tmp_path / "file", Path.replace
    put(path, b"before")
    for code in (5, 32, 1224):
        monkeypatch.setattr(Path, "replace", in_use(3, code))
        put(path, f"after {code}".encode())
        assert path.read_bytes() == f"after {code}".encode()
        monkeypatch.setattr(Path, "replace", renamed)
    monkeypatch.setattr(Path, "replace", in_use(10_000, 32))
    with pytest.raises(StoreError, match="another program has it open"):
        put(path, b"never")
    monkeypatch.setattr(Path, "replace", renamed)
    monkeypatch.setattr(Path, "replace", in_use(1, 112))  # the disk is full
    with pytest.raises(StoreError, match="Access is denied"):
        put(path, b"never")
    assert path.read_bytes() == b"after 1224"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_filled_though_its_lock_cannot_be_removed_while_it_is_held(
    tmp_path, monkeypatch
):
    unlink = Path.unlink

    def unless_a_lock(self: Path, missing_ok: bool = False) -> None:
        if self.suffix == ".lock":
            raise PermissionError(13, "another program has it open")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", unless_a_lock)
    with filling(tmp_path / "D") as folder:
        (folder / "file").write_bytes(b"all")
    assert (tmp_path / "D" / "file").read_bytes() == b"all"


@posix
def test_permissions_stay_and_new_files_have_the_usual_ones(tmp_path):
    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        put(path, b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    put(path, b"2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@posix
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    target, link = tmp_path / "far" / "file", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    for content in (b"new", b"replaced"):  # at first it leads nowhere
        put(link, content)
        assert link.is_symlink()
        assert target.read_bytes() == content
    assert [p.name for p in target.parent.iterdir()] == ["file"]


@posix
def test_devices_pipes_and_folders_are_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (Path("/dev/null"), *(tmp_path / n for n in ("pipe", "folder", "link"))):
        before = path.stat()
        with pytest.raises(StoreError, match=r"Cannot write .* it is a (device|folder)"):
            put(path, b"x")
        assert path.stat().st_ino == before.st_ino
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "link", "pipe"]


@posix
def test_links_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(StoreError, match="Cannot write"):
        put(tmp_path / "a", b"x")
    with pytest.raises(SourceError, match="Cannot read"):
        must_be_regular(tmp_path / "a", SourceError)


@pytest.mark.parametrize("name", ["null\0character", "long" * 2000])
def test_names_that_no_file_can_have(tmp_path, name):
    path = tmp_path / name
    assert not is_regular(path)
    with pytest.raises(SourceError, match="Cannot read"):
        must_be_regular(path, SourceError)
    with pytest.raises(StoreError, match="Cannot write") as told:
        put(path, b"x")
    assert len(str(told.value)) < 400
    with pytest.raises(StoreError, match="cannot be a folder"):
        new_folder(path)


@posix
def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (tmp_path / "pipe", "a device or a pipe"),
        (Path("/dev/zero"), "a device or a pipe"),
        (tmp_path, "it is a folder"),
        (tmp_path / "nothing", "No such file"),
    ):
        assert not is_regular(path)
        with pytest.raises(SourceError, match=why), reading(path, SourceError):
            pass
    put(tmp_path / "file", b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with reading(tmp_path / "link", SourceError) as file:
        assert file.read() == b"content"


def test_a_folder_in_the_way_of_a_file(tmp_path):
    put(tmp_path / "file", b"x")
    with pytest.raises(StoreError, match="cannot be a folder"):
        new_folder(tmp_path / "file")
    with pytest.raises(StoreError, match="Cannot write"):
        put(tmp_path / "file" / "below", b"x")
    assert new_folder(tmp_path / "a" / "b").is_dir()


def test_what_a_killed_process_had_written_can_be_removed(tmp_path):
    path = tmp_path / "file"
    code = (
        "import os, signal; from pathlib import Path;"
        "from napari_mtm.files import replacing\n"
        f"with replacing(Path({str(path)!r})): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [p.wait() for p in killed] == [-signal.SIGKILL] * 2
    assert len(list(tmp_path.iterdir())) == 2
    remove_partial(path, killed[0].pid)
    (other,) = tmp_path.iterdir()
    assert f"-{killed[1].pid}-" in other.name


def test_paths_in_sentences_are_short_and_printable():
    assert shortened("a/b c") == "a/b c"
    assert shortened("a\0b") == r"a\x00b"
    assert len(shortened("x" * 5000)) < 200


# Folders


def test_a_folder_takes_its_place_when_it_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with filling(tmp_path / name) as folder:
            (folder / "file").touch()
            assert not (tmp_path / name / "file").exists()
        assert (tmp_path / name / "file").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "new"]


def test_what_goes_wrong_meanwhile_leaves_no_folder(tmp_path):
    def fill(problem: BaseException) -> None:
        with filling(tmp_path / "new") as folder:
            (folder / "file").touch()
            raise problem

    for problem, told in ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "x"), StoreError)):
        with pytest.raises(told):
            fill(problem)
        assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_or_being_filled_is_left_alone(tmp_path):
    put(tmp_path / "D" / "mine", b"x")
    with pytest.raises(StoreError, match="is not empty"), filling(tmp_path / "D"):
        pass
    busy = pytest.raises(StoreError, match="Another process is writing")
    with filling(tmp_path / "E"), busy, filling(tmp_path / "E"):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["D", "E"]


def test_what_a_killed_process_had_left_of_a_folder_goes(tmp_path):
    code = (
        "import os, signal; from pathlib import Path; from napari_mtm.files import filling\n"
        f"with filling(Path({str(tmp_path / 'D')!r})) as folder:\n"
        "    (folder / 'file').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".D-of-mine").mkdir()
    with filling(tmp_path / "D") as folder:
        (folder / "whole").touch()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".D-of-mine", "D"]
    assert [p.name for p in (tmp_path / "D").iterdir()] == ["whole"]


def test_what_is_unfinished_goes_even_while_others_write_there_yet(tmp_path):
    """As where a simulation is ended: each of its processes tidies while another still writes."""
    for k in range(20):
        folder = tmp_path / f".D.unfinished-{k}"
        folder.mkdir()

        def write(folder=folder) -> None:
            for i in range(200):
                try:
                    (folder / f"{threading.get_ident()}-{i}").write_bytes(b"x" * 1000)
                except OSError:
                    return  # it is gone

        writing = [threading.Thread(target=write) for _ in range(2)]
        for thread in writing:
            thread.start()
        remove_unfinished(folder)
        for thread in writing:
            thread.join()
    assert list(tmp_path.iterdir()) == []
