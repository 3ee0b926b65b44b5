"""Averages by condition."""

from dataclasses import replace

import numpy as np

from napari_mtm.metrics import conditions
from napari_mtm.scoring.baselines import ConditionPsth
from tests.scoring.baselines.worlds import levels, planted, pooled


def test_averages_by_condition_tell_conditions_apart():
    session = planted(n_trials=90)
    table = session.trials
    counts = session.counts.copy()
    counts[(table["choice"] == 1).to_numpy(), 15:25, 0] += 4
    session = replace(session, counts=counts)
    fitted = ConditionPsth.fit(session, session.split(), slow_levels=False)
    assert fitted.averages.shape[0] == len(set(conditions(table)))
    bump = fitted.rates("co-smoothing", np.arange(90))[:, 20, 0]
    chose = (table["choice"] == 1).to_numpy()
    assert bump[chose].min() > bump[~chose].max() + 1


def test_a_condition_without_training_trials_gets_the_average_of_all(session):
    split = session.split()
    table = session.trials.copy()
    table.loc[split.test[0], "probabilityLeft"] = 0.8
    odd = replace(session, trials=table)
    found = ConditionPsth.fit(odd, split, slow_levels=False)
    rates = found.rates("forward", split.test[:1])[0]
    np.testing.assert_allclose(rates, found.overall, rtol=1e-5)
    slow = ConditionPsth.fit(odd, split)
    level = levels(session, split.test[:1])[0][0]
    rates = slow.rates("forward", split.test[:1])[0]
    np.testing.assert_allclose(rates, slow.overall * level, rtol=1e-4)


def test_counts_are_averaged_relative_to_levels(session):
    """Smoothing moves spikes in time and cannot change by much how many there are."""
    split = session.split()
    fitted = ConditionPsth.fit(session, split)
    level = levels(session, split.train)[0]
    spikes = session.counts[split.train].sum(axis=(0, 1))
    expected = spikes / level.sum(axis=0)
    np.testing.assert_allclose(fitted.overall.sum(axis=0), expected, rtol=0.05)


def test_averages_follow_units_that_drift(session):
    split = session.split()
    slow, off = (
        pooled(session, fitted.rates("co-smoothing", split.test), "co-smoothing", split.test)
        for fitted in (
            ConditionPsth.fit(session, split),
            ConditionPsth.fit(session, split, slow_levels=False),
        )
    )
    assert slow > off + 0.02
