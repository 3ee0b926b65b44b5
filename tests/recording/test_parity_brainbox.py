"""The light loader gives the session that ibllib's own loaders give.

Here brainbox reads the sample through ONE, and everything after that is done the
plain way: merge, select, histogram each trial, interpolate.
"""

import os
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from napari_mtm import open_session
from napari_mtm.recording.opening import sample_folder

pytest.importorskip("ibllib", reason="ibllib is not installed")


@pytest.fixture(scope="module")
def brainbox():
    """Clusters and spikes of each probe, and behaviour, as brainbox loads them."""
    os.environ.setdefault("MPLBACKEND", "agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what ibllib imports is not ours to mend
        from brainbox.io.one import SessionLoader, SpikeSortingLoader
        from iblatlas.regions import BrainRegions
        from one.api import One

        one = One(cache_dir=sample_folder())
        eid = one.search()[0]
        probes = {}
        for name in ("probe00", "probe01"):
            loader = SpikeSortingLoader(
                eid=eid, pname=name, one=one, atlas=SimpleNamespace(regions=BrainRegions())
            )
            spikes, clusters, channels = loader.load_spike_sorting(check_hash=False)
            clusters = loader.merge_clusters(spikes, clusters, channels)
            probes[name] = (
                spikes,
                pd.DataFrame(
                    {k: np.asarray(clusters[k]).squeeze() for k in clusters if k != "metrics"}
                ),
            )
        session = SessionLoader(one=one, eid=eid)
        session.load_trials()
        session.load_wheel()
        session.load_motion_energy(views=["left"])
        beryl = BrainRegions()
        yield SimpleNamespace(
            eid=str(eid),
            probes=probes,
            session=session,
            beryl=lambda acronyms: beryl.acronym2acronym(acronyms, mapping="Beryl"),
        )


@pytest.fixture(scope="module", params=["good", "all"])
def session(request):
    return open_session("sample", units=request.param)


def test_the_same_units(brainbox, session):
    wanted = 1.0 if (session.units["label"] == 1).all() else 0.0
    assert session.id == brainbox.eid
    for name, (spikes, clusters) in brainbox.probes.items():
        fired = np.isin(clusters.index, np.unique(spikes["clusters"]))
        expected = clusters[(clusters["label"] >= wanted) & fired]
        expected = expected.assign(beryl=brainbox.beryl(expected["acronym"])).sort_index()
        ours = session.units[session.units["probe"] == name].sort_values("cluster")
        assert ours["cluster"].tolist() == expected.index.tolist()
        assert ours["uuid"].tolist() == expected["uuids"].tolist()
        assert ours["acronym"].tolist() == expected["acronym"].tolist()
        assert ours["region"].tolist() == expected["beryl"].tolist()
        for column, theirs in (
            ("depth", "depths"),
            ("label", "label"),
            ("firing_rate", "firing_rate"),
        ):
            np.testing.assert_allclose(ours[column], expected[theirs])


def test_the_same_counts(brainbox, session):
    for trial in range(0, session.n_trials, 20):
        edges = session.trials["stimOn_times"][trial] - 0.5 + 0.02 * np.arange(101)
        for name, (spikes, _) in brainbox.probes.items():
            mine = np.flatnonzero(session.units["probe"] == name)
            ids = session.units["cluster"].to_numpy()[mine]
            histogram, _, _ = np.histogram2d(
                spikes["times"], spikes["clusters"], bins=[edges, np.arange(ids.max() + 2)]
            )
            np.testing.assert_array_equal(session.counts[trial][:, mine], histogram[:, ids])


def test_the_same_trials(brainbox, session):
    theirs = brainbox.session.trials
    reaction = theirs["firstMovement_times"] - theirs["stimOn_times"]
    kept = theirs[
        reaction.between(0.08, 2.0)
        & (theirs["choice"] != 0)
        & (theirs["feedback_times"] - theirs["goCue_times"] <= 10)
    ].reset_index(drop=True)
    pd.testing.assert_frame_equal(session.trials[kept.columns], kept)
    assert len(theirs) == session.n_trials + sum(session.excluded.values())


def test_the_same_behaviour(brainbox, session):
    wheel = brainbox.session.wheel
    whisker = brainbox.session.motion_energy["leftCamera"]
    sources = {
        "wheel-velocity": (wheel["times"], wheel["velocity"]),
        "wheel-speed": (wheel["times"], wheel["velocity"].abs()),
        "whisker-motion-energy": (whisker["times"], whisker["whiskerMotionEnergy"]),
    }
    fine = (np.arange(100 * 40) + 0.5) * 0.02 / 40
    for name, (times, values) in sources.items():
        for trial in range(0, session.n_trials, 10):
            t = session.trials["stimOn_times"][trial] - 0.5 + fine
            expected = np.interp(t, times, values).reshape(100, 40).mean(axis=1)
            spread = np.abs(values).max()
            np.testing.assert_allclose(session.behaviour[name][trial], expected, atol=2e-3 * spread)
