"""Decoding: the paper's protocol finds what is planted, and no test trial is trained on."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mtm import Model, Session, new_model
from napari_mtm.model.network import DefaultSizes
from napari_mtm.recording.session import Split
from napari_mtm.scoring.decoding import _kernel_ridge, decode_behaviour, decode_session
from tests.conftest import trials

TRIALS, BINS, UNITS = 80, 12, 6
SPLIT = Split(np.arange(0, 50), np.arange(50, 58), np.arange(58, 80))
PENALTIES = (1e-6, 1e1, 1e2, 1e3, 1e4)


def planted(n_bins: int = BINS, n_units: int = UNITS, noise: float = 0.05) -> Session:
    """Log rates that carry choice and speed; the first counts of a trial are its number."""
    rng = np.random.default_rng(0)
    table = trials(TRIALS)
    table["choice"] = rng.permutation(np.repeat([-1.0, 1.0], [50, 30]))
    table["probabilityLeft"] = np.where(np.arange(TRIALS) // 10 % 2 == 0, 0.2, 0.8)
    speed = np.abs(np.cumsum(rng.normal(size=(TRIALS, n_bins)), axis=1))
    log_rates = -2.0 + noise * rng.normal(size=(TRIALS, n_bins, n_units))
    log_rates[..., 0] += 0.3 * speed
    log_rates[..., 1] += 0.5 * table["choice"].to_numpy()[:, None]
    counts = np.zeros((TRIALS, n_bins, n_units))
    counts[:, 0, 0] = np.arange(TRIALS)
    return Session.from_counts(
        counts,
        ["CA1"] * n_units,
        trials=table,
        behaviour={"wheel-speed": speed},
        rates=np.exp(log_rates),
        id="planted",
    )


class Knowing:
    """Stands for a model whose log rates are the planted ones."""

    def __init__(self, session: Session) -> None:
        self.rates = np.log(session.rates)
        self.asked: list[tuple[str, list[int]]] = []

    def predict(self, counts, hidden, *, task, session, trials) -> np.ndarray:
        assert not hidden.any()
        number = counts[:, 0, 0].astype(int)
        assert number.tolist() == trials.tolist()
        self.asked.append((task, number.tolist()))
        return self.rates[number]


def published(session: Session, split: Split = SPLIT, rates_of: Session | None = None) -> dict:
    return decode_session(Knowing(rates_of or session), session, split, split.test, published=True)


def shuffled(session: Session) -> Session:
    order = np.random.default_rng(1).permutation(TRIALS)
    return replace(
        session,
        trials=session.trials.iloc[order].reset_index(drop=True),
        behaviour={k: v[order] for k, v in session.behaviour.items()},
    )


def small_model(session: Session) -> Model:
    sizes = DefaultSizes(
        bins=session.n_bins, width=16, layers=1, heads=2, hidden=16, rank=6, head=4
    )
    return new_model(session, "default", sizes=sizes, device="cpu")


# As the paper does


def test_what_is_planted_is_decoded_and_what_is_shuffled_is_not():
    session = planted()
    found = published(session)
    assert found.keys() == {"choice", "wheel-speed"}
    assert found["choice"]["accuracy"] == 1.0
    assert found["wheel-speed"]["r2"] > 0.9
    found = published(shuffled(session), rates_of=session)
    assert found["choice"]["accuracy"] < 0.85
    assert found["wheel-speed"]["r2"] < 0.2


def test_choice_is_asked_of_the_neuron_prompt_and_traces_of_the_causal_one():
    session = planted()
    split = replace(SPLIT, train=SPLIT.train[::2], validation=np.array([5, 51]))
    model = Knowing(session)
    decode_session(model, session, split, split.test, published=True)
    fitted = sorted([*split.train.tolist(), 5, 51])
    assert model.asked == [
        ("neuron", [*fitted, *split.test.tolist()]),
        ("causal", [*fitted, *split.test.tolist()]),
    ]


def test_labels_of_test_trials_train_nothing():
    session = planted(noise=1.5)
    before = published(session)
    assert 0.5 < before["choice"]["accuracy"] < 1.0
    table = session.trials.copy()
    table.loc[SPLIT.test, "choice"] *= -1
    after = published(replace(session, trials=table))
    assert after["choice"]["accuracy"] == pytest.approx(1 - before["choice"]["accuracy"])
    assert after["choice"]["chance"] == before["choice"]["chance"]


def test_chance_is_the_larger_class_of_the_test_trials():
    session = planted()
    right = int((session.trials["choice"][SPLIT.test] == -1).sum())
    n = len(SPLIT.test)
    assert right != n - right
    assert published(session)["choice"]["chance"] == pytest.approx(max(right, n - right) / n)


def test_trials_without_a_choice_do_not_count():
    session = planted()
    table = session.trials.copy()
    none = SPLIT.test[:5]
    table.loc[none, "choice"] = 0.0
    table.loc[SPLIT.train[:3], "choice"] = np.nan
    found = published(replace(session, trials=table))["choice"]
    right = (table["choice"][SPLIT.test[5:]] == -1).mean()
    assert found["accuracy"] == 1.0
    assert found["chance"] == pytest.approx(max(right, 1 - right))


def test_a_trial_unlike_all_others_is_decided_without_a_warning():
    session = planted()
    model = Knowing(session)
    sign = session.trials["choice"][SPLIT.test[:6]].to_numpy()
    model.rates[SPLIT.test[:6], :, 1] = 1e5 * sign[:, None]
    found = decode_session(model, session, SPLIT, SPLIT.test, published=True)
    assert found["choice"]["accuracy"] == 1.0


@pytest.mark.parametrize("n_left", [0, 3])
def test_a_class_of_few_trials_is_not_decoded(n_left):
    session = planted()
    choice = np.full(TRIALS, -1.0)
    choice[:n_left] = 1.0
    found = published(replace(session, trials=session.trials.assign(choice=choice)))
    assert found.keys() == {"wheel-speed"}


def with_gaps(session: Session, rows) -> Session:
    speed = session.behaviour["wheel-speed"].copy()
    speed[rows, 3] = np.nan
    return replace(session, behaviour={"wheel-speed": speed})


def test_traces_with_gaps_are_left_out():
    session = planted()
    kept = replace(SPLIT, train=SPLIT.train[9:], test=SPLIT.test[4:])
    expected = published(session, kept)["wheel-speed"]
    gaps = [*SPLIT.train[:9], *SPLIT.test[:4]]
    assert published(with_gaps(session, gaps))["wheel-speed"] == pytest.approx(expected)
    assert published(session)["wheel-speed"] != pytest.approx(expected)


@pytest.mark.parametrize("rows", [slice(None), slice(0, 58), slice(58, 80)])
def test_a_trace_without_a_whole_trial_is_no_readout(rows):
    assert published(with_gaps(planted(), rows)).keys() == {"choice"}


def test_a_trace_that_does_not_move_has_no_r2():
    session = planted()
    still = np.zeros((TRIALS, BINS), np.float32)
    found = published(replace(session, behaviour={"wheel-speed": still}))
    assert np.isnan(found["wheel-speed"]["r2"])


@pytest.mark.parametrize("penalty", PENALTIES[1:])
def test_ridge_from_products_is_plain_ridge_with_a_free_intercept(penalty):
    rng = np.random.default_rng(2)
    x, new = rng.normal(3.0, 2.0, (30, 4)), rng.normal(3.0, 2.0, (7, 4))
    y = rng.normal(size=(30, 3)) + 5.0 + x[:, :3]
    found = _kernel_ridge(x @ x.T, y, new @ x.T, penalty)
    np.testing.assert_allclose(found, plain_ridge(x, y, new, penalty), rtol=1e-8)


def test_a_trace_of_a_penalty_is_least_squares():
    rng = np.random.default_rng(3)
    x, new = rng.normal(3.0, 2.0, (30, 4)), rng.normal(3.0, 2.0, (7, 4))
    y = rng.normal(size=(30, 3)) + x[:, 1:]
    weights, *_ = np.linalg.lstsq(np.c_[x, np.ones(30)], y, rcond=None)
    found = _kernel_ridge(x @ x.T, y, new @ x.T, PENALTIES[0])
    np.testing.assert_allclose(found, np.c_[new, np.ones(7)] @ weights, rtol=1e-5)


def plain_ridge(x: np.ndarray, y: np.ndarray, new: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge regression by the normal equations; the intercept costs nothing."""
    design = np.c_[x, np.ones(len(x))]
    costs = np.diag([penalty] * x.shape[1] + [0.0])
    weights = np.linalg.solve(design.T @ design + costs, design.T @ y)
    return np.c_[new, np.ones(len(new))] @ weights


@pytest.mark.parametrize("noise", [0.02, 0.6, 5.0])
def test_traces_are_decoded_by_cross_validated_ridge(noise):
    session = planted(n_bins=3, n_units=2, noise=noise)
    fitted = np.r_[SPLIT.train, SPLIT.validation]
    x = np.log(session.rates).reshape(TRIALS, -1).astype(float)
    y = session.behaviour["wheel-speed"].astype(float)
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for fold in range(4):
            out = np.arange(len(fitted)) % 4 == fold
            guess = plain_ridge(x[fitted][~out], y[fitted][~out], x[fitted][out], penalty)
            error += ((guess - y[fitted][out]) ** 2).sum()
        errors.append(error)
    penalty = PENALTIES[int(np.argmin(errors))]
    guess = plain_ridge(x[fitted], y[fitted], x[SPLIT.test], penalty)
    truth = y[SPLIT.test]
    expected = 1 - ((guess - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert published(session)["wheel-speed"]["r2"] == pytest.approx(expected, abs=1e-5)


# By readouts


def recorded() -> Session:
    """Counts from which choice, block and speed can be read."""
    rng = np.random.default_rng(5)
    session = planted()
    table = session.trials
    rates = np.full((TRIALS, BINS, 8), 0.3)
    rates[..., :2] += 0.4 * session.behaviour["wheel-speed"][..., None]
    rates[(table["choice"] == -1).to_numpy(), :, 2:4] += 3.0
    rates[(table["probabilityLeft"] == 0.2).to_numpy(), :, 4:6] += 3.0
    return Session.from_counts(
        rng.poisson(rates), ["CA1"] * 8, trials=table, behaviour=dict(session.behaviour), id="r"
    )


def test_readouts_decode_what_the_counts_carry():
    session = recorded()
    found = decode_session(small_model(session), session, SPLIT, SPLIT.test)
    assert found.keys() == {"choice", "block", "wheel-speed"}
    assert found["choice"]["accuracy"] > 0.9
    assert found["wheel-speed"]["r2"] > 0.3
    assert found["block"]["accuracy"] > 0.9
    right = (session.trials["probabilityLeft"][SPLIT.test] == 0.2).mean()
    assert found["block"]["chance"] == pytest.approx(max(right, 1 - right))


def test_readouts_are_not_fitted_on_test_trials():
    session = shuffled(recorded())
    model = small_model(session)
    model.teach(session, SPLIT.train)
    before = decode_session(model, session, SPLIT, SPLIT.test)["choice"]
    table = session.trials.copy()
    table.loc[SPLIT.test, "choice"] *= -1
    after = decode_session(model, replace(session, trials=table), SPLIT, SPLIT.test)["choice"]
    assert after["accuracy"] == pytest.approx(1 - before["accuracy"])
    assert not model.readouts


def test_what_test_trials_hold_does_not_show_in_what_is_decoded():
    """Nor in how much each decoder counts: the split's own validation trials judge that."""
    session = recorded()
    model = small_model(session)
    model.teach(session, SPLIT.train)
    before = decode_behaviour(model, session, SPLIT, SPLIT.test)
    table, speed = session.trials.copy(), session.behaviour["wheel-speed"].copy()
    table.loc[SPLIT.test, ["choice", "probabilityLeft"]] = [1.0, 0.2]
    speed[SPLIT.test] = -speed[SPLIT.test]
    changed = replace(session, trials=table, behaviour={"wheel-speed": speed})
    after = decode_behaviour(model, changed, SPLIT, SPLIT.test)
    assert before.keys() == after.keys() == {"wheel-speed", "choice", "choice-by-trial", "block"}
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])
    speed[SPLIT.validation] = -speed[SPLIT.validation]
    judged = decode_behaviour(
        model, replace(changed, behaviour={"wheel-speed": speed}), SPLIT, SPLIT.test
    )
    assert np.abs(judged["wheel-speed"] - after["wheel-speed"]).max() > 1e-3
