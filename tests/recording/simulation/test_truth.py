"""True rates are integrated exactly over any bins, and survive the disk."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mtm.errors import SourceError
from napari_mtm.recording.simulation.truth import (
    HIGHEST_RATE,
    LATENT_LEVELS,
    SLOW_LEVELS,
    SLOW_STEP,
    STEP,
    SimulatedTruth,
    rounded,
)

STEPS = 500


@pytest.fixture
def truth() -> SimulatedTruth:
    rng = np.random.default_rng(0)
    return SimulatedTruth(
        uuids=("a", "b", "c"),
        latents=rounded(rng.normal(0, 1, (STEPS, 2)), LATENT_LEVELS),
        base=np.log([5.0, 50.0, 0.1]).astype(np.float32),
        loadings=rng.normal(0, 0.5, (3, 2)).astype(np.float32),
        slow=rounded(rng.normal(0, 0.5, (round(STEPS * STEP / SLOW_STEP) + 2, 3)), SLOW_LEVELS),
    )


def rate_by_definition(truth: SimulatedTruth, step: int, unit: int) -> float:
    middle = (step + 0.5) * STEP / SLOW_STEP
    low = int(middle)
    slow = truth.slow[:, unit] / SLOW_LEVELS
    private = slow[low] + (middle - low) * (slow[low + 1] - slow[low])
    shared = truth.latents[step] / LATENT_LEVELS @ truth.loadings[unit]
    return min(np.exp(truth.base[unit] + shared + private), HIGHEST_RATE)


def test_the_rate_is_what_it_is_defined_to_be(truth):
    rate = truth.rate(100, 120, [2, 0])
    assert rate.shape == (20, 2)
    for k, step in enumerate(range(100, 120)):
        assert rate[k, 0] == pytest.approx(rate_by_definition(truth, step, 2), rel=1e-6)
        assert rate[k, 1] == pytest.approx(rate_by_definition(truth, step, 0), rel=1e-6)


def test_bins_that_cut_through_steps_are_integrated(truth):
    edges = np.array([[1.0033, 1.0233, 1.0433], [2.5, 2.507, 2.55]])
    expected = truth.rates(edges, ["b", "a"])
    assert expected.shape == (2, 2, 2)
    fine = 2000
    for w, row in enumerate(edges):
        for b in range(2):
            at = row[b] + (np.arange(fine) + 0.5) / fine * (row[b + 1] - row[b])
            rates = [rate_by_definition(truth, int(t / STEP), 1) for t in at]
            assert expected[w, b, 0] == pytest.approx(
                np.mean(rates) * (row[b + 1] - row[b]), rel=2e-3
            )


def test_the_order_of_the_latents_changes_no_bit(truth):
    """As the order does in which a linear-algebra library adds up a product."""
    rng = np.random.default_rng(1)
    many = replace(
        truth,
        latents=rounded(rng.normal(0, 1, (STEPS, 31)), LATENT_LEVELS),
        loadings=rng.normal(0, 0.3, (3, 31)).astype(np.float32),
    )
    order = rng.permutation(31)
    turned = replace(many, latents=many.latents[:, order], loadings=many.loadings[:, order])
    np.testing.assert_array_equal(turned.rate(0, STEPS, [0, 1]), many.rate(0, STEPS, [0, 1]))


def test_the_rate_does_not_depend_on_what_else_is_asked_for(truth):
    whole = truth.rate(0, STEPS, [0, 1, 2])
    np.testing.assert_array_equal(truth.rate(123, 457, [2, 1]), whole[123:457, [2, 1]])


def test_the_sample_has_the_rates_that_drove_its_spikes(sample_path):
    """They were made in single precision, and the file is as it was then."""
    truth = SimulatedTruth.load(sample_path / "alf" / "_mtm_simulation.truth.safetensors")
    steps = np.arange(90_000, 91_000)
    place = ((steps + 0.5) * (STEP / SLOW_STEP)).astype(np.float32)
    low = place.astype(int)
    slow = truth.slow / np.float32(SLOW_LEVELS)
    log_rate = truth.latents[steps].astype(np.float32) @ truth.loadings.T / LATENT_LEVELS
    log_rate += slow[low] + (place - low)[:, None] * (slow[low + 1] - slow[low]) + truth.base
    expected = np.minimum(np.exp(log_rate), HIGHEST_RATE)
    rate = truth.rate(90_000, 91_000, np.arange(len(truth.base)))
    np.testing.assert_allclose(rate, expected, rtol=5e-6)


def test_windows_beyond_the_session_do_not_fail(truth):
    edges = np.array([[-0.1, 0.0, 0.1], [4.9, 5.0, 5.1]])
    expected = truth.rates(edges, ["a"])
    assert np.isfinite(expected).all()
    assert expected[0, 0, 0] == 0.0
    assert expected[1, 1, 0] == 0.0


def test_rates_are_capped(truth):
    loud = SimulatedTruth(
        ("x",), truth.latents, np.array([9.0], np.float32), truth.loadings[:1], truth.slow[:, :1]
    )
    assert loud.rate(0, STEPS, [0]).max() == pytest.approx(HIGHEST_RATE, rel=1e-5)


def test_save_and_load(truth, tmp_path):
    truth.save(tmp_path / "truth.safetensors")
    loaded = SimulatedTruth.load(tmp_path / "truth.safetensors")
    assert loaded.uuids == truth.uuids
    np.testing.assert_array_equal(loaded.rate(0, STEPS, [0, 1, 2]), truth.rate(0, STEPS, [0, 1, 2]))


def test_unknown_units_and_damaged_files(truth, tmp_path):
    with pytest.raises(SourceError, match="do not include unit z"):
        truth.rates(np.array([[0.0, 1.0]]), ["a", "z"])
    path = tmp_path / "truth.safetensors"
    truth.save(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SourceError, match="is damaged"):
        SimulatedTruth.load(path)
