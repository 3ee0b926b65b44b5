"""True rates are integrated exactly over any bins, and survive the disk."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

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
    nowhere = np.array([[-3.0, -2.0], [5.0, 6.0], [70.0, 71.0]])
    assert (truth.rates(nowhere, ["a"]) == 0.0).all()


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


def test_unknown_units(truth):
    with pytest.raises(SourceError, match="do not include unit z"):
        truth.rates(np.array([[0.0, 1.0]]), ["a", "z"])


@pytest.fixture
def saved(truth, tmp_path):
    path = tmp_path / "truth.safetensors"
    truth.save(path)
    return path


def refused(path, why=""):
    with pytest.raises(SourceError, match=rf"truth\.safetensors, the true rates .*damaged.*{why}"):
        SimulatedTruth.load(path)


def test_a_file_cut_short(saved):
    saved.write_bytes(saved.read_bytes()[:100])
    refused(saved)


@pytest.mark.parametrize(
    "uuids",
    [
        "null",
        "[",
        '"abc"',
        '{"a": 0, "b": 0, "c": 0}',
        '["a", "b", 3]',
        '["a", "b"]',
        '["a", "b", "a"]',
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_units_that_are_no_list_of_three_names(saved, uuids):
    save_file(load_file(saved), saved, metadata={"uuids": uuids})
    refused(saved)


def test_no_units(saved):
    save_file(load_file(saved), saved)
    refused(saved, "list of units")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("latents", lambda a: a.astype(np.float32)),
        ("latents", lambda a: a.ravel()),
        ("latents", lambda a: a[:0]),
        ("latents", lambda a: a[:, :1]),
        ("base", lambda a: a.astype(np.float64)),
        ("base", lambda a: a[:2]),
        ("base", lambda a: a[None]),
        ("base", lambda a: a * np.float32(np.nan)),
        ("loadings", lambda a: a.T),
        ("loadings", lambda a: a[0, 0]),
        ("loadings", lambda a: a * np.float32(np.inf)),
        ("loadings", lambda a: a * np.float32(1e30)),
        ("slow", lambda a: a[0, 0]),
        ("slow", lambda a: a.astype(np.int16)),
        ("slow", lambda a: a[:, :2]),
        ("slow", lambda a: a[:20]),
        ("slow", lambda a: a[:0]),
    ],
)
def test_arrays_that_do_not_fit(saved, name, change):
    tensors = load_file(saved)
    tensors[name] = np.ascontiguousarray(change(tensors[name]))
    save_file(tensors, saved, metadata={"uuids": json.dumps(["a", "b", "c"])})
    refused(saved)


def test_a_missing_array(saved):
    tensors = load_file(saved)
    del tensors["slow"]
    save_file(tensors, saved, metadata={"uuids": json.dumps(["a", "b", "c"])})
    refused(saved, "slow")


def test_kinds_of_numbers_that_numpy_does_not_know(saved):
    whole = saved.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = whole[8:end].replace(b'"I8"', b'"F8_E5M2"')
    saved.write_bytes(len(header).to_bytes(8, "little") + header + whole[end:])
    refused(saved, "F8_E5M2")


def test_whatever_bytes_are_wrong_rates_can_be_computed_or_the_file_is_refused(saved):
    rng = np.random.default_rng(0)
    whole = saved.read_bytes()
    numbers = 8 + int.from_bytes(whole[:8], "little")
    read = 0
    for _ in range(400):
        # Most of them in the header and in the few floating-point numbers behind it.
        place = rng.integers(0, rng.choice([numbers + 40, len(whole)]))
        wrong = rng.choice([rng.bytes(4), b"\xff" * 4])[: rng.integers(1, 5)]
        saved.write_bytes(whole[:place] + wrong + whole[place + len(wrong) :])
        try:
            truth = SimulatedTruth.load(saved)
        except SourceError:
            continue
        read += 1
        rates = truth.rates(np.array([[0.0, 2.0, 9.0]]), list(truth.uuids))
        assert np.isfinite(rates).all()
        assert (rates >= 0).all()
    assert read > 50
