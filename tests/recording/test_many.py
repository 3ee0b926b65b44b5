"""Many sessions at once: each costs the others nothing, and what is done is done."""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Cancelled, open_session
from napari_mtm.errors import PreparationError, SourceError, StoreError
from napari_mtm.recording.many import prepare_many
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.servers import LoginNeeded, login
from napari_mtm.recording.simulation.animal import Recipe
from napari_mtm.recording.simulation.cache_writer import simulate
from napari_mtm.recording.store import open_store
from tests.recording.alyx import Alyx, Fault, serving

RECIPE = Recipe(units=20, trials=15, areas=("VISa", "LP"))


@pytest.fixture(scope="module")
def animals(tmp_path_factory) -> Path:
    """A ONE cache of four animals."""
    root = tmp_path_factory.mktemp("animals") / "D"
    simulate(root, RECIPE, animals=4, processes=1)
    return root


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


def statuses(outcomes):
    return [o.status for o in outcomes]


def test_every_session_of_a_folder_and_why_others_failed(animals, out, alf, own_cache, monkeypatch):
    table = alf / "alf" / "_ibl_trials.table.pqt"
    pd.read_parquet(table).assign(choice="left").to_parquet(table)
    long = "x" * 300
    seen, threads = [], set()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)

    def progress(fraction, message):
        seen.append((fraction, message))
        for child in active_children():
            environment = Path(f"/proc/{child.pid}/environ")
            if environment.exists():
                threads.update(s for s in environment.read_text().split("\0") if "_THREADS" in s)

    sources = [animals, "/nowhere", alf, long, str(animals), alf.parents[3]]
    outcomes = prepare_many(sources, out, Preparation(), workers=2, progress=progress)

    assert statuses(outcomes) == ["done"] * 4 + ["failed"] * 3
    for animal, outcome in zip(sorted(animals.glob("*/*/*/*/*")), outcomes[:4], strict=True):
        session = open_session(animal)
        assert open_store(outcome.store) == session
        assert outcome.source == str(animal)
        assert outcome.name == session.title
        assert (outcome.units, outcome.trials) == (session.n_units, session.n_trials)
        assert outcome.size == outcome.store.stat().st_size
    nowhere, words, too_long = outcomes[4:]
    assert nowhere.why == "There is no file or folder /nowhere."
    assert (words.name, words.store) == ("MOUSE 2024-02-03 002", None)
    assert words.why == "trials.choice holds something else than numbers."
    assert too_long.name == long
    assert too_long.why.startswith("There is no file or folder xxx")
    assert {p.name for p in out.iterdir()} == {o.store.name for o in outcomes[:4]}

    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert seen[-1] == (1.0, "finished 7 of 7 sessions")
    assert all(setting.endswith("=1") for setting in threads)
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert "MKL_NUM_THREADS" not in os.environ
    assert active_children() == []


def test_the_same_call_goes_on_where_it_was(animals, alf, out):
    def call():
        return prepare_many([animals, alf], out, Preparation(), workers=1)

    first = call()
    removed, changed, cut, kept, other = (o.store for o in first)
    whole = [p.read_bytes() for p in (removed, changed, cut, kept)]
    removed.unlink()
    changed.write_bytes(whole[1][:-100] + bytes([whole[1][-100] ^ 1]) + whole[1][-99:])
    cut.write_bytes(whole[2][:5000])
    before = kept.stat().st_mtime_ns
    spikes = alf / "alf" / "probe00" / "pykilosort" / "spikes.times.npy"
    np.save(spikes, np.load(spikes) * 0.9)

    again = call()
    assert statuses(again) == ["done", "done", "done", "there already", "done"]
    assert [o.store.read_bytes() for o in again[:4]] == whole
    assert kept.stat().st_mtime_ns == before
    assert again[3] == replace(first[3], status="there already")
    assert open_store(other) == open_session(alf)

    (outcome,) = prepare_many([alf], out, Preparation(units="all"))
    assert (outcome.status, outcome.store, outcome.units) == ("done", other, 5)
    assert open_store(other).n_units == 5


def test_sessions_of_one_name_get_stores_of_their_own(animals, out, tmp_path):
    other = tmp_path / "E"
    (second,) = simulate(other, replace(RECIPE, units=10))
    first = next(animals.glob("*/Subjects/SIM000-000/*/*"))
    outcomes = prepare_many([first, second], out, Preparation(), workers=1)
    assert statuses(outcomes) == ["done", "done"]
    ids = [open_session(s).id for s in (first, second)]
    assert [open_store(o.store).id for o in outcomes] == ids
    assert [o.store.name for o in outcomes] == [
        "SIM000-000_2024-01-01_001.mtm",
        f"SIM000-000_2024-01-01_001_{ids[1]}.mtm",
    ]
    # The one that comes first, or alone, does not take what was the other's.
    again = prepare_many([second, first], out, Preparation(), workers=1)
    assert statuses(again) == ["there already", "there already"]
    assert [o.store for o in again] == [o.store for o in reversed(outcomes)]


def test_a_session_in_two_places_is_prepared_once(alf, out, tmp_path):
    other = tmp_path / "copy" / alf.relative_to(tmp_path)
    shutil.copytree(alf, other)
    done, failed = prepare_many([alf, other], out, Preparation())
    assert (done.status, failed.status) == ("done", "failed")
    assert failed.why == f"{other} is the same session as {alf}; name one of them."
    assert [p.name for p in out.iterdir()] == [done.store.name]


def test_by_eid(animals, out):
    eids = list(pd.read_parquet(animals / "sessions.pqt").index)[:2]
    unknown = "00000000-0000-4000-8000-000000000000"
    outcomes = prepare_many([*eids, unknown], out, Preparation(), one=animals, workers=1)
    assert statuses(outcomes) == ["done", "done", "failed"]
    assert [open_store(o.store).id for o in outcomes[:2]] == eids
    assert outcomes[2].why == f"Session {unknown} is not in the ONE cache {animals}."


def test_a_process_that_is_killed_costs_its_own_session_only(animals, out):
    killed = []

    def progress(fraction, message):
        for child in active_children() if not killed else ():
            os.kill(child.pid, signal.SIGKILL)
            killed.append(child)

    outcomes = prepare_many([animals], out, Preparation(), workers=1, progress=progress)
    assert statuses(outcomes) == ["failed", "done", "done", "done"]
    assert outcomes[0].why == (
        "Its process was killed, as happens where memory runs out; "
        "prepare it again with fewer workers."
    )
    assert len(list(out.iterdir())) == 3
    assert active_children() == []


def test_being_stopped_leaves_whole_stores_and_no_process(animals, out):
    def stop(fraction, message):
        if fraction > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        prepare_many([animals], out, Preparation(), workers=1, progress=stop)
    assert active_children() == []
    (store,) = out.iterdir()
    assert open_store(store).n_units == 20


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"workers": 0}, PreparationError, "at least one worker"),
        ({"out": "{tmp}/file"}, StoreError, "file cannot be a folder: File exists"),
        ({"one": "{tmp}/none"}, SourceError, "no ONE cache folder"),
    ],
)
def test_mistakes_that_concern_all(change, error, message, alf, tmp_path):
    (tmp_path / "file").write_text("words")
    given = {k: v.format(tmp=tmp_path) if isinstance(v, str) else v for k, v in change.items()}
    with pytest.raises(error, match=message):
        prepare_many([alf], given.pop("out", tmp_path / "out"), Preparation(), **given)


def test_nothing_to_do(out):
    assert prepare_many([], out, Preparation()) == []


# With a server


@pytest.fixture
def alyx(animals, one_home) -> Iterator[Alyx]:
    """A server with the animals, and a login to it."""
    folders = sorted(animals.glob("*/Subjects/*/*/*"))
    with serving(animals, *folders) as served:
        login(served.address, user="someone", password="a password")
        yield served


def test_what_a_server_has_is_prepared_as_it_comes(alyx, out, animals):
    eids = list(alyx.ids)
    alyx.files = lambda name, _: Fault(cut=2000) if name == "spikes.times.npy" else None
    told = []
    unknown = "00000000-0000-4000-8000-000000000000"
    outcomes = prepare_many(
        [*eids, unknown],
        out,
        Preparation(),
        one=alyx.address,
        workers=2,
        progress=lambda _, words: told.append(words),
    )
    assert statuses(outcomes) == ["done"] * 4 + ["failed"]
    for eid, outcome in zip(eids, outcomes, strict=False):
        here = open_session(alyx.ids[eid])
        there = open_store(outcome.store)
        assert there.id == eid
        assert np.array_equal(there.counts, here.counts)
    assert any(", SIM000-" in words and "spikes" in words for words in told)
    assert told[-1] == "finished 5 of 5 sessions"
    assert "(404)" in outcomes[4].why

    alyx.requests.clear()
    again = prepare_many(eids, out, Preparation(), one=alyx.address, workers=1)
    assert statuses(again) == ["there already"] * 4
    assert alyx.asked == {}
    alyx.stop()
    offline = prepare_many(eids, out, Preparation(), one=alyx.address, workers=1)
    assert statuses(offline) == ["there already"] * 4


def test_a_session_that_cannot_be_downloaded_costs_no_other(alyx, out):
    eids = list(alyx.ids)
    gone = next(alyx.ids[eids[1]].rglob("spikes.times.npy"))
    moved = gone.with_name("moved")
    record = alyx.datasets(eids[1])
    gone.rename(moved)
    alyx.datasets = lambda eid, found=alyx.datasets: record if eid == eids[1] else found(eid)
    try:
        outcomes = prepare_many(eids, out, Preparation(), one=alyx.address, workers=2)
    finally:
        moved.rename(gone)
    assert statuses(outcomes) == ["done", "failed", "done", "done"]
    assert "does not have what was asked for (404)" in outcomes[1].why


def test_being_stopped_while_it_downloads(alyx, out):
    alyx.files = Fault(rate=5000)

    def stop(_, words):
        if "MB/s" in words:
            raise Cancelled

    with pytest.raises(Cancelled):
        prepare_many(list(alyx.ids), out, Preparation(), one=alyx.address, progress=stop)
    assert list(out.iterdir()) == []
    assert not [t for t in threading.enumerate() if t.name == "downloads"]


def test_a_login_is_asked_for_once_for_all(alyx, out):
    alyx.expired = True
    with pytest.raises(LoginNeeded):
        prepare_many(list(alyx.ids), out, Preparation(), one=alyx.address)
