"""One function opens everything, and says what it cannot open."""

import numpy as np
import pytest

from napari_mtm import Cancelled, open_session, save_session, survey_source
from napari_mtm.errors import PreparationError, SourceError, StoreError
from napari_mtm.recording.opening import sample_folder
from tests.recording.test_alf import EID, write_tables


def test_the_sample(sample):
    assert sample.simulated
    assert "(simulated)" in sample.title
    assert {"VISa", "CA1", "DG", "LP", "PO"} <= {r.name for r in sample.regions}
    assert sample.rates.shape == sample.counts.shape
    assert all(np.isfinite(t).all() for t in sample.behaviour.values())
    assert sum(f.stat().st_size for f in sample_folder().rglob("*")) < 12e6


def test_a_folder_an_eid_and_a_store_are_the_same_session(alf, tmp_path, own_cache):
    write_tables(tmp_path, alf)
    by_folder = open_session(alf)
    by_eid = open_session(EID, one=tmp_path)
    save_session(by_folder, tmp_path / "store")
    assert by_folder == by_eid == open_session(tmp_path / "store")
    assert by_folder.id == EID


def test_a_cache_folder_with_one_session(alf, tmp_path, own_cache):
    write_tables(tmp_path, alf)
    assert open_session(tmp_path).id == EID


def test_settings_reach_the_session(alf, own_cache):
    session = open_session(
        str(alf),
        units="all",
        min_rate=1.0,
        align="feedback_times",
        window=(-0.2, 0.4),
        bin_size=0.1,
    )
    assert session.counts.shape == (12, 6, 5)
    assert session.align == "feedback_times"
    assert session.window == (-0.2, 0.4)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("/nowhere/at all", SourceError, "no file or folder /nowhere/at all"),
        (EID, SourceError, "name a ONE cache"),
        ("{tmp}", SourceError, "no spikes.times.npy"),
        ("{tmp}/text", StoreError, "not a prepared session"),
    ],
)
def test_what_cannot_be_opened(source, error, message, tmp_path):
    (tmp_path / "text").write_text("words")
    with pytest.raises(error, match=message):
        open_session(source.format(tmp=tmp_path))


def test_a_cache_with_several_sessions_asks_for_one(alf, tmp_path):
    from tests.conftest import write_alf

    write_alf(alf.parent / "003")
    with pytest.raises(SourceError, match="holds 2 sessions; name one of them, for example lab/"):
        open_session(tmp_path)


def test_settings_are_checked_before_anything_is_read(alf):
    with pytest.raises(PreparationError, match="whole number of bins"):
        open_session(alf, bin_size=0.3)


def test_progress_is_reported_and_can_cancel(alf, own_cache):
    seen = []
    open_session(alf, progress=lambda fraction, message: seen.append((fraction, message)))
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert {"binning spikes", "reading behaviour"} <= {m for _, m in seen}

    def cancel(fraction, message):
        if fraction > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        open_session(alf, units="all", progress=cancel)
    assert len(list(own_cache.iterdir())) == 1  # the first one only


def test_survey_of_a_source(alf):
    assert survey_source(alf).n_trials == 12
    assert survey_source("sample").simulated
