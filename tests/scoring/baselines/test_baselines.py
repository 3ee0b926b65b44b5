"""All baselines: right order, nothing hidden seen, odd sessions survived."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session
from napari_mtm.errors import Cancelled
from napari_mtm.masking.mask import Mask
from napari_mtm.scoring.baselines import BASELINES, SCORES
from tests.scoring.baselines.worlds import hidings, planted, pooled, scored, silenced, swapped

NAMES = ["mean-rate", "slow-rate", "psth", "shrinkage", "ridge-ar", "reduced-rank"]


def test_they_have_names_of_their_own():
    assert [baseline.name for baseline in BASELINES] == NAMES


@pytest.mark.parametrize("slow_levels", [False, True])
def test_strengths_on_the_sample(sample, slow_levels):
    split = sample.split()
    fitted = {b.name: b.fit(sample, split, slow_levels=slow_levels) for b in BASELINES}
    for score in SCORES:
        found = {
            name: pooled(sample, predictor.rates(score, split.test), score, split.test)
            for name, predictor in fitted.items()
        }
        assert found["mean-rate"] < 0.01
        assert found["psth"] > found["mean-rate"] + 0.1
        assert found["reduced-rank"] > found["psth"] + 0.1
        if score == "forward":
            assert found["shrinkage"] > found["psth"] + 0.1
            assert found["ridge-ar"] > found["shrinkage"] + 0.1
            assert found["reduced-rank"] > found["ridge-ar"] + 0.03


def test_reduced_rank_is_as_strong_as_it_was(sample):
    """What the regression that was here before had on the sample, without slow levels."""
    split = sample.split()
    (kind,) = (b for b in BASELINES if b.name == "reduced-rank")
    fitted = kind.fit(sample, split, slow_levels=False)
    before = {"co-smoothing": 0.485, "forward": 0.448, "intra-region": 0.430, "inter-region": 0.411}
    for score, expected in before.items():
        assert pooled(sample, fitted.rates(score, split.test), score, split.test) > expected


@pytest.mark.parametrize("baseline", BASELINES)
def test_slow_levels_help_where_units_drift(baseline):
    """In co-smoothing; others tell a regression much of a drift, and a mean rate knows none."""
    session = planted(n_trials=150, n_bins=20, drift=0.8)
    split = session.split()
    slow, off = (
        pooled(session, fitted.rates("co-smoothing", split.test), "co-smoothing", split.test)
        for fitted in (
            baseline.fit(session, split, slow_levels=slow_levels) for slow_levels in (True, False)
        )
    )
    least = {"mean-rate": 0.0, "reduced-rank": 0.0}.get(baseline.name, 0.03)
    assert slow >= off + least


@pytest.mark.parametrize("baseline", BASELINES[3:])
@pytest.mark.parametrize("score", SCORES)
def test_hidden_counts_change_no_prediction(session, baseline, score):
    rows = session.split().test
    fitted = baseline.fit(session, session.split())
    before = fitted.rates(score, rows)
    for mask in hidings(session, score):
        after = replace(fitted, session=swapped(session, mask)).rates(score, rows)
        np.testing.assert_array_equal(after[:, mask], before[:, mask])


@pytest.mark.parametrize("baseline", BASELINES[3:])
def test_any_mask_hides_what_it_hides(session, baseline):
    rows = session.split().test
    fitted = baseline.fit(session, session.split())
    rng = np.random.default_rng(5)
    block = np.zeros(session.counts.shape[1:], dtype=bool)
    block[10:25, 3:9] = True
    gap = np.zeros_like(block)
    gap[18:33] = True
    for mask in (block, gap, block | gap, rng.random(block.shape) < 0.3, np.ones_like(block)):
        before = fitted.predict(mask, rows)
        after = replace(fitted, session=swapped(session, mask)).predict(mask, rows)
        np.testing.assert_array_equal(after, before)
        assert (before > 0).all()


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(planted(regions=["CA1"] * 6), id="one region"),
        pytest.param(planted(regions=["CA1"]), id="one unit"),
        pytest.param(planted(regions=["CA1", "LP", "DG"]), id="regions of one unit"),
        pytest.param(silenced(planted(), [0, 3, 15]), id="silent units"),
        pytest.param(silenced(planted(), list(range(16))), id="silence"),
        pytest.param(planted(n_trials=3), id="three trials"),
        pytest.param(planted(n_trials=2), id="no validation trials"),
        pytest.param(planted(n_trials=1), id="one trial"),
        pytest.param(planted(n_bins=1), id="one bin"),
        pytest.param(planted(n_bins=5), id="shorter than what forward prediction hides"),
        pytest.param(planted(n_bins=12), id="little past"),
        pytest.param(replace(planted(), trials=pd.DataFrame(index=range(60))), id="no conditions"),
    ],
)
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("slow_levels", [False, True])
def test_odd_sessions_have_rates_everywhere(baseline, session, slow_levels):
    rows = np.arange(min(session.n_trials, 4))
    fitted = baseline.fit(session, session.split(), slow_levels=slow_levels)
    hidden = np.zeros(session.counts.shape[1:], dtype=bool)
    hidden[2:4, 0] = True
    for rates in (*(fitted.rates(s, rows) for s in SCORES), fitted.predict(hidden, rows)):
        assert rates.dtype == np.float32
        assert rates.shape == (len(rows), *hidden.shape)
        assert np.isfinite(rates).all()
        assert (rates > 0).all()
        assert rates.flags.writeable


@pytest.mark.parametrize("bin_size", [0.005, 0.02, 0.03, 0.15])
def test_forward_prediction_hides_what_the_mask_of_it_hides(bin_size):
    session = Session.from_counts(np.zeros((2, 40, 3)), ["CA1"] * 3, bin_size=bin_size)
    np.testing.assert_array_equal(scored(session, "forward"), Mask.forward(session).hidden)


@pytest.mark.parametrize("baseline", BASELINES)
def test_fitting_reports_and_can_be_stopped(session, baseline):
    seen = []
    baseline.fit(session, session.split(), lambda fraction, text: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(fraction: float, text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        baseline.fit(session, session.split(), stop)
