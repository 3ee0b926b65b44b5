"""The weights in the package."""

import numpy as np
import pytest

import napari_mtm as mtm
from napari_mtm.masking.tasks import SCORES
from napari_mtm.metrics import tally
from napari_mtm.model.weights import SHIPPED, load_model, shipped_file
from napari_mtm.recording.session import Session
from napari_mtm.scoring.held_out import held_out_rates, scored_entries


@pytest.fixture(scope="module")
def session() -> Session:
    return mtm.open_session("sample")


def pooled(model: mtm.Model, session: Session, score: str) -> float:
    test = session.split().test
    rates = held_out_rates(model, session, score, test, quick=True)
    counted = tally(session.counts[test], rates, scored_entries(session, score))
    return float(counted.pooled_bits_per_spike())


def test_they_are_small() -> None:
    assert sum(shipped_file(name).stat().st_size for name in SHIPPED) < 4e6


def test_the_pretrained_never_saw_the_sample(session: Session) -> None:
    model = load_model("pretrained", device="cpu")
    assert not model.trained
    assert model.notes_on(session)
    assert session.id not in str(model.record)


def test_the_sample_is_known_and_predicted(session: Session) -> None:
    model = load_model("sample", device="cpu")
    assert model.trained == {session.id}
    assert not model.notes_on(session)
    least = {"co-smoothing": 0.45, "forward": 0.4, "intra-region": 0.35, "inter-region": 0.4}
    assert set(least) == set(SCORES)
    for score, bound in least.items():
        assert pooled(model, session, score) > bound


def test_behaviour_is_decoded(session: Session) -> None:
    model = load_model("sample", device="cpu")
    test = session.split().test
    result = model.reconstruct(session, mtm.Mask.region(session, "CA1"), trials=test)
    right = np.asarray(session.trials["choice"])[test] == -1  # anticlockwise: the right
    said = result.decoded["choice-by-trial"] > 0.5
    assert (said == right).mean() > 0.8
