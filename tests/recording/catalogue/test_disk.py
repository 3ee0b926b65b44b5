"""What is known of sessions on this disk before they are opened."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_mtm import Cancelled
from napari_mtm.progress import silent
from napari_mtm.recording.catalogue.disk import in_cache, in_folder
from napari_mtm.recording.catalogue.query import Query
from tests.conftest import write_alf
from tests.recording.test_alf import EID, write_tables

EVERY = Query()


@pytest.fixture
def cache(alf: Path, tmp_path: Path) -> Path:
    """A ONE cache with the small session."""
    write_tables(tmp_path, alf)
    return tmp_path


def sorting(alf: Path) -> Path:
    return alf / "alf" / "probe00" / "pykilosort"


def test_a_session_of_a_cache(cache, alf):
    (found,) = in_cache(cache, EVERY, silent)
    lab, _, subject, date, number = alf.relative_to(cache).parts
    assert (found.lab, found.subject, found.date) == (lab, subject, date)
    assert found.number == int(number)
    assert (found.eid, found.source, found.one) == (EID, EID, str(cache))
    assert found.probes == ("probe00",)
    assert found.regions == ("VISa", "CA1", "LP")
    assert found.good_units == 3
    assert found.on_disk
    # All that was written is read, but for coordinates in the brain, which nothing uses.
    written = sum(p.stat().st_size for p in alf.rglob("*.*") if "mlapdv" not in p.name)
    assert found.megabytes == pytest.approx(written / 1e6)


def test_a_session_that_was_not_downloaded_is_listed(cache, alf):
    before = in_cache(cache, EVERY, silent)
    shutil.rmtree(alf / "alf")
    (found,) = in_cache(cache, EVERY, silent)
    assert not found.on_disk
    assert found.probes == ("probe00",)
    assert found.regions is None
    assert found.good_units is None
    assert found.megabytes == pytest.approx(before[0].megabytes)


def test_one_that_was_downloaded_in_part_is_not_on_disk(cache, alf):
    (sorting(alf) / "spikes.clusters.npy").unlink()
    (found,) = in_cache(cache, EVERY, silent)
    assert not found.on_disk


@pytest.mark.parametrize(
    ("query", "n"),
    [
        (Query(region="CA1"), 1),
        (Query(region="CA3"), 0),
        (Query(subject="mou"), 1),
        (Query(subject="rat"), 0),
        (Query(id=EID), 1),
        (Query(id="11111111-1111-4111-8111-111111111111"), 0),
        (Query(first="2024-02-03", last="2024-02-03"), 1),
        (Query(first="2024-02-04"), 0),
        (Query(release=True), 0),
    ],
)
def test_what_is_asked_for(cache, alf, query, n):
    assert len(in_cache(cache, query, silent)) == n


def test_two_probes(cache, alf):
    write_alf(alf, "probe01")
    write_tables(cache, alf)
    (found,) = in_cache(cache, EVERY, silent)
    assert found.probes == ("probe00", "probe01")
    assert found.good_units == 6


@pytest.mark.parametrize("name", ["channels.brainLocationIds_ccf_2017.npy", "clusters.metrics.pqt"])
@pytest.mark.parametrize("content", [b"", b"damaged", None])
def test_small_files_that_are_damaged_or_missing_are_not_known(cache, alf, name, content):
    path = sorting(alf) / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    (found,) = in_folder(alf, EVERY, silent)
    assert (found.regions is None) is name.startswith("channels")
    assert (found.good_units is None) is name.startswith("clusters")


def test_a_folder_of_sessions(alf, tmp_path):
    write_alf(alf.parent / "003")
    found = in_folder(tmp_path, EVERY, silent)
    assert [f.number for f in found] == [2, 3]
    assert [f.source for f in found] == [str(alf), str(alf.parent / "003")]
    assert all(f.one is None and f.on_disk for f in found)
    assert len({f.eid for f in found}) == 2


def test_a_folder_that_is_one_session(alf):
    (found,) = in_folder(alf, EVERY, silent)
    assert found.source == str(alf)


def test_a_folder_without_sessions(tmp_path):
    np.save(tmp_path / "other.data.npy", np.zeros(3))
    assert in_folder(tmp_path, EVERY, silent) == []


def test_looking_can_be_cancelled(cache):
    def cancel(fraction: float, message: str) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        in_cache(cache, EVERY, cancel)
    with pytest.raises(Cancelled):
        in_folder(cache, EVERY, cancel)
