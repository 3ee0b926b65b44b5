"""Sessions of a server open as they lie there: downloaded once, and from disk without it."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from one import params

from napari_mtm import Cancelled, open_session
from napari_mtm.errors import SourceError
from napari_mtm.recording import cache
from napari_mtm.recording import download as downloading
from napari_mtm.recording.alf import FolderFiles
from napari_mtm.recording.opening import find_source, survey_source
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.reading import used
from napari_mtm.recording.servers import LoginNeeded, ServerOffline, cache_folder, login
from tests.conftest import write_alf
from tests.recording.alyx import BUCKET, EID, Alyx, Fault, serving

SPIKES = {"spikes.times.npy", "spikes.clusters.npy"}


@pytest.fixture
def alyx(
    alf: Path, tmp_path: Path, one_home: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Alyx]:
    """A server with the small session, logged in to."""
    monkeypatch.setattr(downloading, "PAUSES", (0.01,))
    with serving(tmp_path, alf) as served:
        for name, value in served.settings.items():
            monkeypatch.setenv(name, value)
        login(served.address, user="someone", password="a password")
        yield served


@pytest.fixture
def sorting(alf: Path) -> Path:
    return alf / "alf" / "probe00" / "pykilosort"


def read_of(alf: Path) -> dict[str, int]:
    """Names and bytes of what is read of a session."""
    files = FolderFiles(alf)
    return {d.path.rpartition("/")[2]: files.size(d) for d in files.datasets if used(d)}


def stores(own_cache: Path) -> list[str]:
    return sorted(p.name for p in own_cache.iterdir())


@pytest.mark.parametrize("aws", [False, True], ids=["web", "s3"])
def test_only_what_is_read_is_downloaded_once(alyx, alf, own_cache, aws):
    alyx.aws = aws
    files = read_of(alf)
    source = find_source(EID, one=alyx.address)
    assert source.to_download() == sum(files.values())
    session = open_session(EID, one=alyx.address)
    here = open_session(alf)
    assert session.id == EID
    assert session.notes == ()
    assert np.array_equal(session.counts, here.counts)
    assert session.units.equals(here.units)
    assert alyx.asked == dict.fromkeys(files, 1)
    bucket = {a.place.startswith(f"/{BUCKET}/") for a in alyx.requests if a.name in files}
    assert bucket == {aws}
    assert find_source(EID, one=alyx.address).to_download() == 0
    before = stores(own_cache)
    assert open_session(EID, one=alyx.address) == session
    assert alyx.asked == dict.fromkeys(files, 1)
    assert stores(own_cache) == before


def test_without_s3_the_web_is_asked(alyx, alf):
    alyx.aws = True

    def fails(name: str, _: int) -> Fault | None:
        return Fault(403) if alyx.requests[-1].place.startswith(f"/{BUCKET}/") else None

    alyx.files = fails
    assert open_session(EID, one=alyx.address).n_units == 3
    assert set(alyx.asked.values()) == {2}


def test_it_opens_from_disk_when_the_server_is_gone(alyx, own_cache):
    session = open_session(EID, one=alyx.address)
    before = stores(own_cache)
    folder = cache_folder(alyx.address)
    alyx.stop()
    offline = open_session(EID, one=alyx.address)
    note = f"{alyx.address} did not answer, so this is the session as it was downloaded before."
    assert offline.notes == (note,)
    assert replace(offline, notes=()) == session
    assert open_session(EID, one=folder) == session
    assert stores(own_cache) == before
    found = find_source(EID, one=alyx.address)
    assert survey_source(EID, one=alyx.address).notes == (note,)
    assert cache.key(found, Preparation()) + ".mtm" in before


def test_what_was_not_downloaded_whole_needs_the_server(alyx, own_cache):
    def cancel(fraction: float, message: str) -> None:
        if message.startswith("spikes.times.npy") and fraction > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        open_session(EID, one=alyx.address, progress=cancel)
    before = dict(alyx.asked)
    assert before.keys() >= {"_ibl_trials.table.pqt", "_ibl_wheel.position.npy"}
    alyx.stop()
    with pytest.raises(ServerOffline, match=r"no answer .* open what is on disk"):
        open_session(EID, one=alyx.address)


def test_what_was_cancelled_goes_on(alyx, alf):
    files = read_of(alf)

    told = []

    def cancel(fraction: float, message: str) -> None:
        told.append(message.startswith("spikes.times.npy"))
        if sum(told) == 2:  # once the first of it came
            raise Cancelled

    with pytest.raises(Cancelled):
        open_session(EID, one=alyx.address, progress=cancel)
    left = find_source(EID, one=alyx.address).to_download()
    assert 0 < left < files["spikes.times.npy"]
    alyx.requests.clear()
    assert open_session(EID, one=alyx.address).n_units == 3
    (asked,) = (a for a in alyx.requests if a.place.startswith("/public/"))
    assert (asked.name, asked.start) == ("spikes.times.npy", files["spikes.times.npy"] - left)


def test_what_the_server_turns_out_not_to_have_is_missing(alyx, alf, own_cache):
    alyx.lost = {"_ibl_wheel.position.npy", "clusters.uuids.csv"}
    session = open_session(EID, one=alyx.address)
    assert session.n_units == 3
    (listed, *others) = session.notes
    assert listed.startswith("These files are listed, but not here: alf/_ibl_wheel.position.npy")
    assert "alf/probe00/pykilosort/clusters.uuids.csv" in listed
    assert others == ["There is no wheel trace."]
    before = stores(own_cache)
    assert open_session(EID, one=alyx.address) == session
    alyx.stop()
    offline = open_session(EID, one=alyx.address)
    assert offline.notes[1:] == session.notes
    assert stores(own_cache) == before


@pytest.mark.parametrize("name", sorted(SPIKES))
def test_spikes_that_the_server_turns_out_not_to_have(alyx, name):
    alyx.lost = {name}
    with pytest.raises(SourceError, match=r"does not have what was asked for \(404\)"):
        open_session(EID, one=alyx.address)


def test_spikes_that_are_not_listed(alyx):
    alyx.unlisted = {"spikes.times.npy"}
    with pytest.raises(SourceError, match=r"spikes\.clusters but no spikes\.times"):
        open_session(EID, one=alyx.address)
    assert alyx.asked == {}


def revise(sorting: Path, revision: str, *names: str) -> None:
    """Add a revision of some datasets, with spikes later by a microsecond."""
    (sorting / f"#{revision}#").mkdir()
    for name in names:
        shutil.copy2(sorting / name, sorting / f"#{revision}#" / name)
    times = sorting / f"#{revision}#" / "spikes.times.npy"
    if times.exists():
        np.save(times, np.load(times) + 1e-6)


@pytest.mark.parametrize(("qc", "n"), [("FAIL", 1), ("CRITICAL", 1), ("PASS", 0), ("NOT_SET", 0)])
def test_a_probe_that_failed_its_quality_control_is_said_to(alyx, own_cache, qc, n):
    alyx.qc["probe00"] = qc
    notes = open_session(EID, one=alyx.address).notes
    said = f"Probe probe00 failed its quality control ({qc.lower()})"
    assert [note.startswith(said) for note in notes] == [True] * n


def test_the_revision_is_the_default_and_is_said(alyx, alf, sorting):
    revise(sorting, "2023-01-01", *SPIKES)
    revise(sorting, "2024-05-06", *SPIKES)
    alyx.default_revision = "2023-01-01"
    session = open_session(EID, one=alyx.address)
    assert session.notes == ("Spike sorting of revision 2023-01-01.",)
    (there,) = cache_folder(alyx.address).rglob("spikes.times.npy")
    assert there.parent.name == "#2023-01-01#"
    # A folder alone does not know the default.
    assert open_session(alf).notes == ("Spike sorting of revision 2024-05-06.",)
    alyx.stop()
    assert open_session(EID, one=alyx.address).notes[1:] == session.notes


@pytest.mark.parametrize(
    ("asked", "found"),
    [("2023-01-01", "2023-01-01"), ("2024-01-01", "2023-01-01"), ("2024-05-06", "2024-05-06")],
)
def test_another_revision_can_be_asked_for(alyx, sorting, own_cache, asked, found):
    revise(sorting, "2023-01-01", *SPIKES)
    revise(sorting, "2024-05-06", *SPIKES)
    session = open_session(f"{EID}@{asked}", one=alyx.address)
    assert session.id == EID
    assert session.notes == (f"Spike sorting of revision {found}.",)
    alyx.stop()
    offline = open_session(f"{EID}@{asked}", one=alyx.address)
    assert offline.notes[1:] == session.notes
    assert len(stores(own_cache)) == 1


def test_revisions_that_differ_are_said(alyx, alf, sorting):
    revise(sorting, "2024-05-06", "spikes.times.npy")
    said = (
        "Probe probe00 has spikes.times of revision 2024-05-06 and spikes.clusters of no revision."
    )
    assert open_session(EID, one=alyx.address).notes == (said,)
    assert survey_source(alf).notes == (said,)


def test_two_probes_of_two_revisions(alyx, alf, sorting):
    write_alf(alf, "probe01")
    revise(sorting, "2024-05-06", *SPIKES)
    session = open_session(EID, one=alyx.address)
    assert session.notes == ("Probe probe00: spike sorting of revision 2024-05-06.",)
    revise(sorting.parents[1] / "probe01" / "pykilosort", "2024-05-06", *SPIKES)
    assert survey_source(alf).notes == ("Spike sorting of revision 2024-05-06.",)


def test_a_survey_downloads_no_spikes(alyx, alf):
    found = survey_source(EID, one=alyx.address)
    assert found == replace(survey_source(alf), id=EID)
    assert found.read_mb == sum(read_of(alf)[name] for name in SPIKES) / 1e6
    assert not SPIKES & alyx.asked.keys()
    assert not any("wheel" in name or "Camera" in name for name in alyx.asked)


def test_windows_that_only_spikes_would_tell_are_not_known_before(alyx):
    alyx.unlisted = {"_ibl_trials.table.pqt"}
    found = survey_source(EID, one=alyx.address)
    assert found.n_trials is None
    assert [(c.n_units, c.counts_mb) for c in found.choices] == [(3, None), (5, None)]
    assert not SPIKES & alyx.asked.keys()


def test_units_that_only_spikes_would_tell_are_not_known_before(alyx, sorting):
    alyx.unlisted = {p.name for p in sorting.glob("clusters.*")}
    found = survey_source(EID, one=alyx.address, preparation=Preparation(align="any-time"))
    assert found.choices == ()
    assert "seen once the spikes are downloaded" in " ".join(found.notes)
    assert not SPIKES & alyx.asked.keys()
    open_session(EID, one=alyx.address, units="all", align="any-time")
    found = survey_source(EID, one=alyx.address)
    assert [c.n_units for c in found.choices] == [5, 5]
    assert found.choices[1].counts_mb > 0


def test_a_login_that_ends_meanwhile(alyx):
    source = find_source(EID, one=alyx.address)
    alyx.expired = True
    with (
        pytest.warns(UserWarning, match="No password, token or cached token"),
        pytest.raises(LoginNeeded, match="napari-mtm login"),
    ):
        source.fetch()


@pytest.mark.parametrize("part", ["subject", "lab", "start_time"])
def test_a_session_of_no_place_in_the_cache(alyx, monkeypatch, part):
    record = {**alyx.whole_session(EID), part: "../../../elsewhere"}
    monkeypatch.setattr(alyx, "whole_session", lambda _: record)
    with pytest.raises(SourceError, match=r"it cannot be|could not be asked"):
        open_session(EID, one=alyx.address)


def test_the_password_of_the_file_server_is_sent_to_it_alone(alyx):
    def sent() -> set[str | None]:
        return {a.login for a in alyx.requests if a.place.startswith("/public/")}

    par = params.get(client=alyx.address, silent=True)
    par = par.set("HTTP_DATA_SERVER_LOGIN", "reader").set("HTTP_DATA_SERVER_PWD", "secret")
    elsewhere = par.set("HTTP_DATA_SERVER", "https://example.org/public")
    params.save(elsewhere, alyx.address)
    with pytest.raises(Cancelled):
        open_session(EID, one=alyx.address, progress=_until_spikes)
    assert sent() == {None}
    alyx.requests.clear()
    params.save(par.set("HTTP_DATA_SERVER", f"{alyx.address}/public"), alyx.address)
    open_session(EID, one=alyx.address)
    assert sent() == {"Basic cmVhZGVyOnNlY3JldA=="}


def _until_spikes(_: float, message: str) -> None:
    if message.startswith("spikes"):
        raise Cancelled


def test_a_database_that_is_busy_is_asked_again(alyx):
    alyx.rest = lambda place, time: (
        Fault(503, {"Retry-After": "0"}) if place == f"/sessions/{EID}" and time == 1 else None
    )
    assert open_session(EID, one=alyx.address).n_units == 3


def test_tables_of_other_sessions_stay(alyx, alf, tmp_path):
    other = tmp_path / "lab" / "Subjects" / "MOUSE" / "2024-02-04" / "001"
    write_alf(other)
    with serving(tmp_path, alf, other) as both:
        login(both.address, user="someone", password="a password")
        second = next(eid for eid in both.ids if eid != EID)
        for eid in (EID, second, EID):
            open_session(eid, one=both.address)
        folder = cache_folder(both.address)
        sessions = pd.read_parquet(folder / "sessions.pqt")
        datasets = pd.read_parquet(folder / "datasets.pqt").reset_index()
    assert sorted(sessions.index) == sorted([EID, second])
    assert datasets.groupby("eid").size().to_dict() == {
        eid: sum(p.is_file() for p in path.rglob("*")) for eid, path in both.ids.items()
    }
    path = datasets[datasets["rel_path"].str.endswith("spikes.times.npy")].set_index("eid")
    content = (alf / path.loc[EID, "rel_path"]).read_bytes()
    assert path.loc[EID, "hash"] == hashlib.md5(content).hexdigest()
    assert not list(folder.glob(".*lock*"))
    assert json.loads((folder.parents[2] / ".one" / ".caches").read_text())["CLIENT_MAP"]
