"""A store gives back what was put in, opens at once, and is refused when anything is wrong."""

import errno
import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from napari_mtm import Session, save_session
from napari_mtm.errors import StoreError
from napari_mtm.recording import store
from napari_mtm.recording.store import (
    is_store,
    open_store,
    store_id,
    store_of,
    store_origin,
    store_path,
    store_title,
)


@pytest.fixture(scope="module")
def stored(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "sample.mtm"
    save_session(sample, path)
    return path


def test_what_comes_out_is_what_went_in(sample, stored):
    session = open_store(stored)
    assert session == sample
    assert session.units.dtypes.tolist() == sample.units.dtypes.tolist()
    assert store_title(stored) == sample.title
    assert store_id(stored) == sample.id
    assert store_origin(stored) == ""


def test_arrays_are_mapped_and_cannot_be_written(stored):
    session = open_store(stored)
    assert isinstance(session.counts, np.memmap)
    assert isinstance(session.rates, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        session.counts[0, 0, 0] = 1


def test_the_file_is_safetensors(sample, stored):
    with safe_open(stored, framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("counts"), sample.counts)
        assert file.metadata()["format"] == store.FORMAT


def test_the_same_session_gives_the_same_bytes(sample, stored, tmp_path):
    save_session(sample, tmp_path / "again.mtm")
    assert (tmp_path / "again.mtm").read_bytes() == stored.read_bytes()


def test_sessions_with_little_in_them(tmp_path):
    bare = Session.from_counts(np.zeros((2, 3, 1)), ["CA1"], id="a b/c")
    save_session(bare, tmp_path / "bare.mtm")
    assert open_store(tmp_path / "bare.mtm") == bare


def test_a_store_says_what_it_was_made_of(tmp_path):
    bare = Session.from_counts(np.zeros((2, 3, 1)), ["CA1"], id="a")
    save_session(bare, tmp_path / "bare.mtm", origin="some files")
    assert store_origin(tmp_path / "bare.mtm") == "some files"
    assert open_store(tmp_path / "bare.mtm") == bare


def test_a_folder_gets_a_file_named_after_the_session(tmp_path):
    assert store_path(tmp_path, "MOUSE 2024-01-01 001") == tmp_path / "MOUSE_2024-01-01_001.mtm"
    assert store_path(tmp_path, 'a/b\\c:d*e?f"g<h>i|j') == tmp_path / "a_b_c_d_e_f_g_h_i_j.mtm"
    assert store_path(tmp_path / "x", "MOUSE") == tmp_path / "x"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_store_cut_short_is_refused(cut, stored, tmp_path):
    whole = stored.read_bytes()
    short = tmp_path / "short.mtm"
    short.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(StoreError, match="cut short"):
        open_store(short)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), head=st.booleans(), flip=st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place, head, flip, sample, stored, tmp_path):
    damaged = bytearray(stored.read_bytes())
    end = int.from_bytes(damaged[:8], "little") if head else len(damaged)
    damaged[int(place * end)] ^= flip
    path = tmp_path / "damaged.mtm"
    path.write_bytes(damaged)
    message = ""
    try:
        assert open_store(path) == sample  # white space was changed, say
    except StoreError as error:
        message = str(error)
    assert not message or str(path) in message


def large(monkeypatch):
    """Treat every store as too large to compare in full, and every array as large."""
    monkeypatch.setattr(store, "CHECKED_BYTES", 0)
    monkeypatch.setattr(store, "_BLOCK", 4096)


def test_a_large_store_is_compared_when_asked(sample, tmp_path, monkeypatch):
    large(monkeypatch)
    path = tmp_path / "large.mtm"
    save_session(sample, path)
    damaged = bytearray(path.read_bytes())
    damaged[-100] ^= 1  # in the counts, the last array
    path.write_bytes(damaged)
    open_store(path)
    with pytest.raises(StoreError, match="counts does not match its checksum"):
        open_store(path, verify=True)


def edited(path, change):
    """Rewrite a store's header with its checksum put right."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + length])
    change(head)
    metadata = dict(head["__metadata__"])
    metadata.pop("checksum")
    said = [metadata, {name: about for name, about in head.items() if name != "__metadata__"}]
    checksum = zlib.crc32(json.dumps(said, sort_keys=True).encode())
    head["__metadata__"]["checksum"] = str(checksum)
    text = json.dumps(head, separators=(",", ":")).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["__metadata__"].update(version="3"), "newer napari-mtm .*store version 3"),
        (lambda h: h["__metadata__"].update(version="1"), "older napari-mtm .*Prepare the session"),
        (lambda h: h["__metadata__"].update(version="x"), "header cannot be read"),
        (lambda h: h["__metadata__"].update(session="{}"), "Field required"),
        (lambda h: h["__metadata__"].update(session="[" * 99_999), "recursion limit"),
        (lambda h: h["__metadata__"].update(session=None), "is damaged"),
        (lambda h: h["counts"].update(shape=[10**30]), "counts has the wrong size"),
        (lambda h: h["counts"].update(more=1), "in counts.more"),
        (lambda h: h.update(counts=None), "in counts"),
        (lambda h: h.pop("counts"), "counts is not described"),
        (lambda h: h["counts"].update(shape=[1, 2, 3]), "counts has the wrong size"),
        (lambda h: h["counts"].update(dtype="C64"), "counts is not described"),
        (lambda h: h["counts"].update(data_offsets=[-8, 0]), "in counts.data_offsets.0"),
    ],
)
def test_headers_that_make_no_sense(change, message, stored, tmp_path):
    path = tmp_path / "edited.mtm"
    path.write_bytes(stored.read_bytes())
    edited(path, change)
    with pytest.raises(StoreError, match=message):
        open_store(path)


def test_kind_and_shape_of_an_array_are_under_the_checksum(sample, stored, tmp_path):
    """One byte of a header makes other numbers of the same bytes."""
    damaged = stored.read_bytes()
    for before, after in ((b'"F64"', b'"I64"'), (b'"F32"', b'"I32"'), (b'"U8"', b'"I8"')):
        assert before in damaged
        (tmp_path / "damaged.mtm").write_bytes(damaged.replace(before, after, 1))
        with pytest.raises(StoreError, match="damaged"):
            open_store(tmp_path / "damaged.mtm")


def test_a_header_without_end(tmp_path):
    path = tmp_path / "deep.mtm"
    text = b'{"__metadata__":{"format":"napari-mtm session","a":' + b"[" * 200_000
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    assert is_store(path)
    with pytest.raises(StoreError, match="header cannot be read"):
        open_store(path)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="there is no /proc/self/fd")
def test_an_open_session_costs_one_open_file(stored):
    def n_open() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = n_open()
    sessions = [open_store(stored) for _ in range(20)]
    assert n_open() - before <= 20
    assert sessions[0] == sessions[-1]


def test_columns_of_any_kind_of_numbers_come_back(tmp_path):
    session = Session.from_counts(
        np.ones((3, 4, 1)),
        ["CA1"],
        trials=pd.DataFrame(
            {
                "big-endian": np.array([1.5, 2.5, -3.0], dtype=">f8"),
                "short": np.array([1, 2, 3], dtype=">u2"),
                "wide": np.array([1.5, 2.5, np.nan], dtype=np.longdouble),
                "nullable": pd.array([1, None, 3], dtype="Int64"),
                "whole": pd.array([1, 2, 3], dtype="Int16"),
            }
        ),
    )
    save_session(session, tmp_path / "s.mtm")
    trials = open_store(tmp_path / "s.mtm").trials
    assert trials["big-endian"].tolist() == [1.5, 2.5, -3.0]
    assert trials["short"].tolist() == [1, 2, 3]
    assert trials["wide"].tolist()[:2] == [1.5, 2.5]
    assert trials["nullable"].tolist()[::2] == [1, 3]
    assert np.isnan(trials["wide"][2])
    assert np.isnan(trials["nullable"][1])
    assert trials["whole"].dtype.kind == "i"


def test_two_columns_of_one_name_cannot_be_kept_apart(tmp_path):
    trials = pd.DataFrame([[1, 2]] * 3, columns=["a", "a"])
    session = Session.from_counts(np.ones((3, 4, 1)), ["CA1"], trials=trials)
    with pytest.raises(StoreError, match="trials table has two columns of one name"):
        save_session(session, tmp_path / "s.mtm")


def test_tables_that_do_not_fit(sample, stored, tmp_path):
    def drop_unit(head):
        session = json.loads(head["__metadata__"]["session"])
        session["units"][0]["texts"].pop()
        head["__metadata__"]["session"] = json.dumps(session)

    path = tmp_path / "edited.mtm"
    path.write_bytes(stored.read_bytes())
    edited(path, drop_unit)
    with pytest.raises(StoreError, match="its parts do not fit"):
        open_store(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x10\0\0\0\0\0\0\0" + b"{}" * 8])
def test_other_files_are_no_stores(content, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(content)
    assert not is_store(path)
    with pytest.raises(StoreError, match="not a prepared session"):
        open_store(path)


def test_a_missing_file(tmp_path):
    assert not is_store(tmp_path / "none")
    with pytest.raises(StoreError, match=r"Cannot read .*none"):
        open_store(tmp_path / "none")


def test_a_full_disk_leaves_what_was_there(sample, tmp_path, monkeypatch):
    path = tmp_path / "store.mtm"
    path.write_bytes(b"before")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left on device\. Nothing was changed"):
        save_session(sample, path)
    assert [p.name for p in tmp_path.iterdir()] == ["store.mtm"]
    assert path.read_bytes() == b"before"


def test_a_really_full_disk(sample):
    """Every write to this device fails as on a full disk."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full")
    with pytest.raises(StoreError, match="Cannot write"):
        save_session(sample, full / "store.mtm")


def test_an_interrupted_write_leaves_nothing(sample, tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(store.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_session(sample, tmp_path / "store.mtm")
    assert list(tmp_path.iterdir()) == []


def test_a_session_knows_the_store_that_it_was_opened_from(sample, stored, tmp_path):
    assert store_of(open_store(stored)) == stored
    in_memory = Session.from_counts(np.ones((4, 5, 3)), ["CA1"] * 3)
    assert store_of(in_memory) is None


def test_a_store_that_is_gone_or_another_by_now_is_none(sample, stored, tmp_path):
    path = tmp_path / "moved.mtm"
    path.write_bytes(stored.read_bytes())
    session = open_store(path)
    assert store_of(session) == path
    other = Session.from_counts(np.ones((4, 5, 3)), ["CA1"] * 3, id=session.id)
    save_session(other, path)
    assert store_of(session) is None
    path.unlink()
    assert store_of(session) is None
