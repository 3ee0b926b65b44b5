"""Arms: how many steps and trials each has, and what it is pretrained on."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mtm.reproducing.arms import (
    FEW,
    REAL,
    REFERENCES,
    SIMULATED,
    Scale,
    SimulatedScale,
    spread,
)
from napari_mtm.reproducing.page import CLAIMS
from napari_mtm.reproducing.real_page import CLAIMS as REAL_CLAIMS
from napari_mtm.scoring.baselines import BASELINES

SCALE = Scale(steps=300, paper_steps=900, pretraining_steps=50, rate=0.003)


def test_few_trials_are_spread_over_the_session() -> None:
    trials = np.arange(100, 300, 2)
    some = spread(trials, 5)
    assert some.tolist() == [100, 150, 200, 248, 298]
    assert spread(trials, 500).tolist() == trials.tolist()


@pytest.mark.parametrize(
    ("name", "steps", "rate"),
    [
        ("default", 300, 0.002),
        ("default, pretrained, a third of the steps", 100, 0.002),
        ("default, few trials", 100, 0.002),
        ("mtm", 900, 0.003),
        ("mtm, as many steps as ours", 300, 0.003),
        ("temporal", 900, 0.003),
    ],
)
def test_ours_and_the_papers_networks_have_steps_of_their_own(
    name: str, steps: int, rate: float
) -> None:
    arm = SIMULATED.arms[name]
    settings = arm.settings(SCALE, seed=7)
    assert (settings.steps, settings.rate, settings.seed) == (steps, rate, 7)
    assert settings.objective.masking == ("temporal" if name == "temporal" else "mtm")
    pretraining = arm.pretraining(SCALE, seed=7)
    assert (pretraining.steps, pretraining.seed) == (50, 7)


def test_each_network_is_tried_in_every_way_on_real_sessions() -> None:
    for name in ("default", "mtm", "temporal"):
        ways = [arm for way, arm in REAL.arms.items() if way.split(",")[0] == name]
        assert {(arm.others, arm.few) for arm in ways} == {
            (0, False),
            (None, False),
            (0, True),
            (None, True),
        }


def test_all_baselines_stand_beside_real_sessions_with_all_trials_and_with_few() -> None:
    for kind in BASELINES:
        assert not REFERENCES[kind.name].few
        assert REFERENCES[f"{kind.name}, few trials"].few
        assert REFERENCES[kind.name].baseline is kind
    assert set(REAL.references) == set(REFERENCES)


@pytest.mark.parametrize(("study", "claims"), [(SIMULATED, CLAIMS), (REAL, REAL_CLAIMS)])
def test_claims_are_about_arms_that_there_are(study, claims) -> None:
    known = {*study.arms, *study.references}
    assert {name for claim in claims for name in (claim.better, claim.worse)} <= known


def test_a_simulated_scale_is_a_scale_with_animals() -> None:
    assert replace(SimulatedScale(), seeds=1).animals == SimulatedScale().animals
    assert FEW == 40
