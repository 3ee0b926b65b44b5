"""On a real session of mice that choose: as strong as the regression before it, and stronger."""

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session
from napari_mtm.masking.tasks import SCORES
from napari_mtm.scoring.baselines import BASELINES
from tests.conftest import SHARED
from tests.scoring.baselines.worlds import pooled

FILE = SHARED / "data/real/steinmetz/session07_Forssmann_2017-11-05.npz"

BEFORE = {"co-smoothing": 0.251, "forward": 0.087, "intra-region": 0.178, "inter-region": 0.234}
"""Pooled bits per spike of the reduced-rank regression that this one took the place of."""


@pytest.fixture(scope="module")
def real() -> Session:
    if not FILE.exists():
        pytest.skip(f"{FILE.name} is not in ../shared")
    with np.load(FILE) as file:
        counts, regions = file["counts"], file["regions"]
        table = {"choice": file["choice"], "feedbackType": file["feedback_type"]}
    n_trials, n_bins, n_units = counts.shape
    counts = counts.reshape(n_trials, n_bins // 2, 2, n_units).sum(axis=2)
    busy = counts.mean(axis=(0, 1)) / 0.02 > 0.5
    return Session.from_counts(
        counts[:, :, busy],
        regions[busy].tolist(),
        trials=pd.DataFrame({name: values.astype(float) for name, values in table.items()}),
        window=(0, 0.4),
        id="real",
    )


def test_strengths_on_a_real_session(real):
    split = real.split()
    found = {
        (kind.name, slow_levels, score): pooled(
            real, fitted.rates(score, split.test), score, split.test
        )
        for kind in BASELINES
        for slow_levels in (False, True)
        for fitted in (kind.fit(real, split, slow_levels=slow_levels),)
        for score in SCORES
    }
    for score, before in BEFORE.items():
        assert found["reduced-rank", False, score] > before + 0.005
        assert found["reduced-rank", True, score] > found["reduced-rank", False, score] + 0.005
        # Its units drift: a rate that follows them tells more than trials of a kind do.
        assert found["slow-rate", True, score] > found["psth", False, score] + 0.05
    forward = {name: found[name, True, "forward"] for name, *_ in found}
    assert forward["reduced-rank"] > forward["ridge-ar"] + 0.02
    assert forward["ridge-ar"] > forward["shrinkage"] > forward["slow-rate"] + 0.02
