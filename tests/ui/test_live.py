"""The model, live: asked when the mask or the trial changes, newest first, never in the way."""

import copy
import gc
import threading
import time
import weakref
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mtm import Mask, Session, load_model
from napari_mtm.masking.painting import PREDICTED, TAKEN
from napari_mtm.metrics import tally
from napari_mtm.model.grid import Grid
from napari_mtm.model.readouts import Basis, Decoder, Readouts
from napari_mtm.model.reconstruction import Reconstruction
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.docks.predict.model_panel import ModelPanel
from napari_mtm.ui.live import STALE_MS
from napari_mtm.ui.preferences import preferences
from napari_mtm.ui.text.part_scores import region_scores
from napari_mtm.ui.text.score_table import trial_row
from tests.conftest import trials as trials_table
from tests.going import until_gone
from tests.held_experts import Held, expert_threads
from tests.model.small import BINS, small_model, small_session

PATIENCE_MS = 20_000


def engine_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name == "napari-mtm engine"}


@pytest.fixture(scope="module")
def shipped():
    """The shipped model of the sample."""
    return load_model("sample", device="cpu")


@pytest.fixture
def model(shipped):
    """The shipped model; what a test has it learn to read out is forgotten at its end."""
    known = dict(shipped.readouts)
    yield shipped
    shipped.readouts.clear()
    shipped.readouts.update(known)


@pytest.fixture(autouse=True)
def reports(monkeypatch):
    """Errors that were shown to the person; a test that expects some takes them out."""
    shown = []
    monkeypatch.setattr("napari_mtm.ui.live.report", shown.append)
    yield shown
    assert not shown


@pytest.fixture
def live(qapp, model, coordinator, until):
    """Live of a viewer with the sample, without a model yet; no thread outlives the test.

    `model` is named so that it outlives the thread that may be asking it.
    """
    before = engine_threads()
    yield coordinator.live
    assert coordinator.live.close(PATIENCE_MS / 1000)
    until(lambda: engine_threads() <= before)


@pytest.fixture
def until(qtbot):
    """Let Qt work until something is so."""
    return lambda condition: qtbot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)


@pytest.fixture
def asked(live, model, until):
    """Live with the shipped model, at rest, with nothing hidden."""
    live.use(lambda: model)
    until(lambda: live.answer is not None and not live.stale)
    return live


def listen(signal) -> Mock:
    heard = Mock()
    signal.connect(heard, check_nargs=False)
    return heard


class Gate:
    """Holds back whoever passes while it is shut."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()

    def __call__(self) -> None:
        assert self._open.wait(PATIENCE_MS / 1000)

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()


def all_of(session: Session) -> Readouts:
    """Readouts that lack nothing of a session's behaviour."""
    nothing = Basis(np.zeros((1, 1)), np.zeros((1, 1)))
    return Readouts(Decoder(nothing, nothing, dict.fromkeys(session.traces)))


class Fake:
    """A model whose rates are one number, and which answers when it is let."""

    preset, device = "default", "cpu"

    def __init__(self, *sessions: Session, rate: float = 0.5) -> None:
        self.grid = Grid.of(sessions[0])
        self.readouts = {session.id: all_of(session) for session in sessions}
        self.rate, self.gate, self.error = rate, Gate(), None
        self.asked: list[tuple] = []

    def check(self, session):
        self.grid.check_width(session)

    def forget_readouts_of_another_cut(self, session):
        """Its readouts are of any cut."""

    def lacks_expert(self, session):
        """Know all sessions."""
        return False

    def reconstruct(self, session, mask, trials, *, task=None, decode=True, learn=True):
        self.gate()
        if self.error is not None:
            raise self.error
        if not decode:  # not of the scores over all test trials
            self.asked.append((session, mask, int(trials[0]), task))
        counts = session.counts[trials]
        return Reconstruction(
            session=session.id,
            mask=mask,
            prompt=task or mask.prompt,
            trials=np.asarray(trials),
            units=tuple(session.units["uuid"]),
            counts=counts,
            rates=np.full(counts.shape, self.rate, np.float32),
            decoded={},
        )

    def decode(self, session, mask, trials, *, task=None, learn=True):
        return {"trial": np.asarray(trials, np.float32)}


@pytest.fixture
def fake(live, sample, until):
    """A model that is asked, and can be held back."""
    fake = Fake(sample)
    live.use(lambda: fake)
    until(lambda: live.answer is not None and not live.stale)
    yield fake
    fake.gate.open()


def close_to(one, other) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def check_answer(live, model) -> None:
    """What is shown is what the model says of the mask and the trial that are shown."""
    coordinator = live._coordinator
    session, trial, mask = coordinator.session, coordinator.trial, coordinator.masks.mask
    answer = live.answer
    assert (answer.request.mask, answer.request.trial) == (mask, trial)
    expected = model.reconstruct(session, mask, [trial])
    close_to(answer.reconstruction.rates, expected.rates)
    found, scores = live.scores, expected.scores()
    for name in ("bps", "bps_pooled", "d2"):
        close_to(getattr(found, name), getattr(scores, name))
    assert found.units["uuid"].tolist() == scores.units["uuid"].tolist()
    close_to(found.units["bps"], scores.units["bps"])
    drawn = np.where(mask.hidden, expected.rates[0], session.counts[trial])
    close_to(coordinator.cells.layer("reconstructed").data, drawn[:, coordinator.rows].T)


# While the linear expert is fitted


def test_the_network_is_shown_until_the_linear_expert_is_there(
    live, coordinator, model, until, monkeypatch
):
    held = Held(monkeypatch)
    session = coordinator.session.select(trials=np.arange(60))
    coordinator.show(session)
    coordinator.masks.toggle_region("CA1")
    panel = ModelPanel(coordinator)
    live.use(lambda: copy.deepcopy(model))
    until(lambda: live.answer is not None and live.fitting)
    assert live.preliminary
    assert panel.status.text() == "Fitting the linear expert: within regions, 50%"
    assert trial_row(live).scores["model"] is None
    assert region_scores(coordinator) == {}
    assert live.whole is None
    held.open.set()
    until(lambda: not live.preliminary and not live.stale and not live.fitting)
    assert "Fitting" not in panel.status.text()
    assert trial_row(live).scores["model"] is not None
    check_answer(live, model)


def test_a_fit_is_given_up_with_its_session(live, coordinator, model, until, monkeypatch):
    Held(monkeypatch)
    coordinator.show(coordinator.session.select(trials=np.arange(60)))
    live.use(lambda: copy.deepcopy(model))
    until(lambda: live.fitting)
    coordinator.close()
    assert not live.fitting
    until(lambda: not expert_threads())


# Answers of the shipped model


def test_before_there_is_a_model_nothing_is_asked(live, coordinator):
    assert live.model is None
    live.once()
    live.ask_if_on()
    live.score_test_trials()
    coordinator.masks.toggle_region("CA1")
    coordinator.viewer.dims.set_current_step(0, 3)
    live.work("count", lambda model: iter([1]), Mock())
    live.set_on(on=False)
    live.set_on(on=True)
    assert not live.stale
    assert live.answer is None
    assert live.dropped == 0
    assert coordinator.cells.shown == ()


def test_a_model_is_loaded_off_the_qt_thread(live, model, until):
    threads, told = [], listen(live.status_changed)

    def load():
        threads.append(threading.current_thread())
        return model

    live.use(load, "the model of the test")
    assert "the model of the test" in live.doing
    assert live.loading
    assert told.called
    until(lambda: live.model is model)
    assert live.doing == ""
    assert not live.loading
    assert threads[0] is not threading.current_thread()


def test_what_is_on_the_way_is_shown_now_and_then_however_fast_requests_come(
    live, fake, sample, coordinator, qtbot, monkeypatch
):
    reconstruct = fake.reconstruct

    def slowly(*given, **options):
        time.sleep(0.03)
        return reconstruct(*given, **options)

    monkeypatch.setattr(fake, "reconstruct", slowly)
    late = []
    live.answered.connect(lambda answer: late.append(live.stale))
    end, k = time.monotonic() + 2.0, 0
    while time.monotonic() < end:
        coordinator.masks.toggle_region(sample.regions[k % 3].name)
        qtbot.wait(2)
        k += 1
    assert sum(late) >= 3


def test_of_two_models_the_one_that_was_asked_for_last_is_used(live, model, until):
    begun, gate = threading.Event(), Gate()

    def slow():
        begun.set()
        gate()
        return load_model("pretrained", device="cpu")

    gate.shut()
    live.use(slow, "the first")
    assert begun.wait(PATIENCE_MS / 1000)
    live.use(lambda: model, "the second")
    gate.open()
    until(lambda: live.name == "the first" or not live.loading)
    until(lambda: not live.loading)
    assert (live.model, live.name, live.doing) == (model, "the second", "")


def test_the_model_that_answers_is_the_one_that_is_named(live, model, until, reports):
    begun, gate = threading.Event(), Gate()

    def first():
        begun.set()
        gate()
        return model

    def broken():
        raise OSError("no such file")

    gate.shut()
    live.use(first, "the first")
    assert begun.wait(PATIENCE_MS / 1000)
    live.use(broken, "the second")
    gate.open()
    until(lambda: not live.loading)
    assert [str(error) for error in reports] == ["no such file"]
    reports.clear()
    assert (live.model, live.name) == (model, "the first")
    until(lambda: live.answer is not None)


def test_where_edits_apply_is_no_reason_to_score_anew(asked, coordinator, until):
    until(lambda: asked.whole is not None and asked.whole.done)
    whole, answer = asked.whole, asked.answer
    coordinator.masks.everywhere = False
    assert asked.whole is whole
    assert asked.answer is answer
    assert not asked.stale


def test_an_answer_is_what_the_model_says(asked, model, coordinator, until, viewer):
    masks = coordinator.masks
    for trial, edit in (
        (0, lambda: masks.toggle_region("CA1")),
        (5, lambda: masks.put(Mask.forward(coordinator.session))),
        (5, lambda: masks.layer.paint_polygon([(2, 10), (2, 40), (60, 40), (60, 10)], 1)),
        (9, lambda: masks.take_away_region("LP")),
    ):
        viewer.dims.set_current_step(0, trial)
        edit()
        assert asked.stale
        until(lambda: not asked.stale)
        check_answer(asked, model)


def test_behaviour_follows_its_answer(asked, model, coordinator, until, viewer, sample):
    viewer.dims.set_current_step(0, 4)
    coordinator.masks.toggle_region("CA1")
    heard = listen(asked.decoded)
    until(lambda: asked.behaviour is not None and not asked.stale)
    behaviour, mask = asked.behaviour, coordinator.masks.mask
    assert behaviour.request is asked.answer.request
    assert heard.call_args.args == (behaviour,)
    masked = model.decode(sample, mask, [4])
    visible = model.decode(sample, Mask.nothing(sample), [4])
    assert set(behaviour.masked) == set(masked) >= {"choice", "wheel-speed"}
    for name in masked:
        close_to(behaviour.masked[name], masked[name])
        close_to(behaviour.visible[name], visible[name])
    assert np.abs(behaviour.masked["wheel-speed"] - behaviour.visible["wheel-speed"]).max() > 0.01


def test_the_prompt_is_the_persons(asked, model, coordinator, until, sample):
    coordinator.masks.toggle_region("CA1")
    until(lambda: not asked.stale)
    plain = asked.answer.reconstruction
    coordinator.masks.prompt = "causal"
    until(lambda: not asked.stale)
    answer = asked.answer.reconstruction
    assert (plain.prompt, answer.prompt) == ("inter-region", "causal")
    expected = model.reconstruct(sample, coordinator.masks.mask, [0], task="causal")
    close_to(answer.rates, expected.rates)


def test_scores_over_the_test_trials(asked, model, coordinator, until, viewer, sample):
    sample = sample.select(trials=range(30))
    coordinator.show(sample)
    viewer.dims.set_current_step(0, int(sample.split().test[0]))
    coordinator.masks.everywhere = False
    coordinator.masks.toggle_region("LP")  # on this trial alone
    own = coordinator.trial
    viewer.dims.set_current_step(0, 0)
    coordinator.masks.everywhere = True
    unit = int(np.argmax(sample.units["region"] == "CA1"))
    coordinator.masks.set_units([unit, unit + 1], PREDICTED)
    assert asked.whole is None
    sizes = []
    asked.scored.connect(
        lambda: sizes.append(0 if asked.whole is None else len(asked.whole.trials)),
        check_nargs=False,
    )
    until(lambda: asked.whole is not None and asked.whole.done)
    assert sizes == sorted(sizes)
    test = sample.split().test
    assert sorted(asked.whole.trials) == test.tolist()
    scored = np.stack([coordinator.masks.painting.mask(sample, t).scored for t in test])
    rates = np.concatenate(
        [
            model.reconstruct(sample, coordinator.masks.painting.mask(sample, t), [t]).rates
            for t in test
        ]
    )
    assert scored[test == own].sum() > 2 * sample.n_bins
    expected = tally(sample.counts[test], rates, scored).pooled_bits_per_spike()
    assert asked.whole.pooled("model") == pytest.approx(float(expected), rel=1e-3)
    truth = tally(sample.counts[test], sample.rates[test], scored).pooled_bits_per_spike()
    assert asked.whole.pooled("oracle") == pytest.approx(float(truth), rel=1e-6)


# Masks and sessions at the edges


def test_nothing_hidden(asked, model, until):
    check_answer(asked, model)
    assert np.isnan(asked.scores.bps)
    until(lambda: asked.whole is not None)
    assert np.isnan(asked.whole.pooled("model"))


def test_everything_hidden(asked, model, coordinator, until):
    coordinator.masks.invert()
    until(lambda: not asked.stale)
    check_answer(asked, model)
    assert np.isfinite(asked.answer.reconstruction.rates).all()
    until(lambda: asked.whole is not None)
    assert np.isfinite(asked.whole.pooled("model"))


def test_a_single_entry(asked, model, coordinator, until):
    coordinator.masks.layer.brush_size = 1
    coordinator.masks.layer.paint((17, 50), 1)
    assert coordinator.masks.mask.hidden.sum() == 1
    until(lambda: not asked.stale)
    check_answer(asked, model)


def test_a_single_bin(asked, model, coordinator, until):
    coordinator.masks.set_bins(slice(50, 51), PREDICTED)
    until(lambda: not asked.stale)
    check_answer(asked, model)


def test_what_is_only_taken_away(asked, model, coordinator, until):
    coordinator.masks.set_bins(slice(20, 30), TAKEN)
    until(lambda: not asked.stale)
    check_answer(asked, model)
    assert np.isnan(asked.scores.bps_pooled)


def test_a_trial_without_spikes(asked, model, coordinator, until, sample):
    counts = sample.counts.copy()
    counts[3] = 0
    coordinator.show(replace(sample, counts=counts))
    coordinator.viewer.dims.set_current_step(0, 3)
    coordinator.masks.toggle_region("CA1")
    until(lambda: asked.answer is not None and not asked.stale)
    check_answer(asked, model)
    assert np.isnan(asked.scores.bps_pooled)


def test_a_session_of_one_region(asked, model, coordinator, until, sample):
    coordinator.show(sample.select(regions=["CA1"], trials=range(20)))
    coordinator.masks.toggle_region("CA1")
    until(lambda: asked.answer is not None and not asked.stale)
    assert asked.answer.request.mask.hidden.all()
    check_answer(asked, model)
    until(lambda: asked.whole is not None and asked.whole.done)


def test_another_session_that_fits_is_shown_in_the_same_layers(asked, coordinator, until, sample):
    coordinator.cells.set_shown("residual", False)
    layers = list(coordinator.viewer.layers)
    other = replace(sample.select(regions=["CA1", "LP"], trials=range(10, 30)), id="other")
    coordinator.show(other)
    assert list(coordinator.viewer.layers) == layers
    assert coordinator.layer.name == other.title
    assert coordinator.cells.shown == ("reconstructed",)
    for layer in layers:  # what was drawn of the session before is gone
        shape = (len(coordinator.rows), other.n_bins)
        fine = np.asarray(layer.data.shape[-2:]) // shape
        np.testing.assert_allclose(layer.scale[-2:] * fine, coordinator.layer.scale[-2:])
        corner = layer.translate[-2:] - layer.scale[-2:] / 2
        np.testing.assert_allclose(corner[-1], other.window[0])
    for layer in layers[1:]:
        assert not layer.data.any()
    coordinator.masks.toggle_region("CA1")
    until(lambda: asked.answer is not None and not asked.stale)
    assert asked.answer.request.session is other
    drawn = coordinator.cells.layer("reconstructed").data
    rates = asked.answer.reconstruction.rates[0][:, coordinator.rows].T
    hidden = coordinator.masks.mask.hidden[:, coordinator.rows].T
    np.testing.assert_allclose(drawn[hidden], rates[hidden])


def test_a_session_that_the_model_does_not_know(asked, model, coordinator, until, sample):
    few = sample.select(trials=range(30))
    uuids = few.units.assign(uuid=[f"stranger {k}" for k in range(few.n_units)])
    coordinator.show(replace(few, id="stranger", units=uuids))
    coordinator.masks.toggle_region("CA1")
    until(lambda: asked.answer is not None and not asked.stale)
    check_answer(asked, model)
    assert any("not fine-tuned" in note for note in asked.answer.reconstruction.notes)
    until(lambda: "stranger" in model.readouts)
    until(lambda: asked.behaviour is not None and "choice" in asked.behaviour.masked)


@pytest.mark.parametrize("n_trials", [1, 2])
def test_a_session_of_hardly_any_trials(asked, model, coordinator, until, sample, n_trials):
    few = replace(sample.select(trials=range(n_trials)), id="short")
    coordinator.show(few)
    coordinator.masks.toggle_region("CA1")
    until(lambda: "short" in model.readouts and not asked.stale)
    check_answer(asked, model)


def test_readouts_that_are_missing_are_fitted(live, coordinator, until):
    session = small_session(
        40,
        trials=trials_table(40),
        behaviour={"wheel-speed": np.random.default_rng(0).random((40, BINS))},
    )
    small = small_model("default", session)
    live.use(lambda: small)
    coordinator.show(session)
    until(lambda: live.behaviour is not None and "wheel-speed" in live.behaviour.masked)
    assert session.id in small.readouts
    assert live.behaviour.request.trial == coordinator.trial
    until(lambda: live.whole is not None and live.whole.done and live.whole.masked)
    for decoded in (live.whole.masked, live.whole.visible):
        assert len(decoded["wheel-speed"]) == len(session.split().test)


def test_further_behaviour_is_decoded_and_the_answer_stands(live, coordinator, until):
    rng = np.random.default_rng(0)
    session = small_session(
        40, trials=trials_table(40), behaviour={"wheel-speed": rng.random((40, BINS))}
    )
    small = small_model("default", session)
    live.use(lambda: small)
    coordinator.show(session)
    until(lambda: live.whole is not None and live.whole.done and live.whole.masked)
    answer, wheel = live.answer, small.readouts[session.id].latents.traces["wheel-speed"]
    licks = rng.random((40, BINS)).astype(np.float32)
    more = replace(session, behaviour={**session.behaviour, "lick-rate": licks})
    coordinator.extend(more)
    assert live.answer is answer
    until(lambda: live.behaviour is not None and "lick-rate" in live.behaviour.masked)
    assert small.readouts[session.id].latents.traces["wheel-speed"] is wheel
    until(lambda: live.whole is not None and live.whole.done)
    for decoded in (live.whole.masked, live.whole.visible):
        assert len(decoded["lick-rate"]) == len(session.split().test)


# A model that does not fit


def misfit(sample) -> Session:
    return Session.from_counts(
        np.ones((5, 30, 4)),
        ["CA1", "CA1", "LP", "LP"],
        id="misfit",
        trials=None,
        bin_size=0.05,
    )


def test_a_session_that_does_not_fit_the_model(asked, coordinator, until, sample, qtbot):
    coordinator.show(misfit(sample))
    assert "bins" in asked.doing
    assert asked.answer is None
    assert asked.whole is None
    told = listen(asked.answered)
    coordinator.viewer.dims.set_current_step(0, 2)
    coordinator.masks.toggle_region("CA1")
    coordinator.masks.layer.paint((1, 3), 1)
    asked.once()
    asked.set_on(on=False)
    asked.set_on(on=True)
    asked.set_baseline(("flat", lambda hidden, trials: np.ones((1, 30, 4), np.float32)))
    qtbot.wait(300)
    assert not told.called
    assert not asked.stale
    assert "bins" in asked.doing
    assert coordinator.cells.shown == ()
    coordinator.show(sample)  # one that fits
    assert asked.doing == ""
    until(lambda: asked.answer is not None and not asked.stale)
    assert coordinator.cells.shown


def test_closing_a_session_that_does_not_fit(asked, coordinator, sample):
    coordinator.show(misfit(sample))
    assert asked.doing
    coordinator.close()
    assert asked.doing == ""


def test_another_model_that_does_not_fit(asked, coordinator, until, sample):
    coordinator.masks.toggle_region("CA1")
    until(lambda: asked.whole is not None)
    other = Fake(misfit(sample))
    asked.use(lambda: other)
    until(lambda: asked.model is other)
    assert "bins" in asked.doing
    assert asked.answer is None
    assert asked.whole is None
    assert not asked.stale


# Live on and off


def test_switched_off_nothing_is_asked_until_once(live, fake, coordinator, until, qtbot, viewer):
    coordinator.masks.toggle_region("CA1")
    until(lambda: live.whole is not None and live.whole.done and not live.stale)
    opacity = coordinator.cells.layer("reconstructed").opacity
    status = listen(live.status_changed)
    live.set_on(on=False)
    assert status.called
    assert coordinator.cells.layer("reconstructed").opacity == opacity == 1  # it still holds
    answered = listen(live.answered)
    coordinator.masks.toggle_region("LP")
    assert coordinator.cells.layer("reconstructed").opacity < 0.6
    assert live.whole is None
    viewer.dims.set_current_step(0, 3)
    coordinator.masks.layer.paint((5, 50), 1)
    qtbot.wait(200)
    assert not answered.called
    live.once()
    until(lambda: not live.stale)
    check_answer(live, fake)
    assert answered.call_count == 1
    assert coordinator.cells.layer("reconstructed").opacity == 1
    assert live.whole is None
    live.set_on(on=True)
    until(lambda: live.whole is not None and live.whole.done)
    check_answer(live, fake)


def test_switching_on_asks(asked, model, coordinator, until):
    asked.set_on(on=False)
    coordinator.masks.toggle_region("CA1")
    asked.set_on(on=True)
    until(lambda: not asked.stale)
    check_answer(asked, model)


# Slow models


def test_what_is_shown_is_stale_until_its_successor_comes(live, fake, coordinator, until, qtbot):
    layer = coordinator.cells.layer("reconstructed")
    fake.gate.shut()
    coordinator.masks.toggle_region("CA1")
    assert live.stale
    assert layer.opacity == 1  # a fast answer does not flicker
    until(lambda: layer.opacity < 0.6)
    fake.gate.open()
    until(lambda: not live.stale)
    assert layer.opacity == 1
    qtbot.wait(2 * STALE_MS)
    assert layer.opacity == 1


def test_a_slow_model_is_seen_to_be_slow_while_one_goes_on_asking(
    live, fake, coordinator, until, qtbot
):
    layer = coordinator.cells.layer("reconstructed")
    fake.gate.shut()
    for k in range(2 * STALE_MS // 20):
        coordinator.masks.set_units([k], PREDICTED)
        qtbot.wait(20)
    assert layer.opacity < 0.6
    fake.gate.open()
    until(lambda: not live.stale)
    assert layer.opacity == 1


def test_only_the_newest_of_many_edits_is_waited_for(live, fake, coordinator, until):
    fake.gate.shut()
    for k in range(10):
        coordinator.masks.set_units([k], PREDICTED)
    assert live.dropped >= 8
    fake.gate.open()
    until(lambda: not live.stale)
    assert live.answer.request.mask == coordinator.masks.mask
    hidden = [int(mask.hidden[0].sum()) for _, mask, _, _ in fake.asked[1:]]
    assert hidden == sorted(hidden)
    assert hidden[-1] == 10
    assert len(hidden) <= 2


def test_an_answer_of_a_trial_that_is_left_is_not_shown(live, fake, coordinator, until, viewer):
    shown = []
    live.answered.connect(lambda answer: shown.append(answer.request.trial))
    fake.gate.shut()
    viewer.dims.set_current_step(0, 3)
    time.sleep(0.05)  # it is being asked
    viewer.dims.set_current_step(0, 4)
    fake.gate.open()
    until(lambda: not live.stale)
    assert shown == [4]
    assert live.answer.request.trial == 4


def test_an_answer_of_a_session_that_is_left_is_not_shown(live, fake, coordinator, until, sample):
    other = replace(sample.select(trials=range(10)), id="other")
    fake.readouts["other"] = all_of(other)
    answered = listen(live.answered)
    fake.gate.shut()
    coordinator.masks.toggle_region("CA1")
    time.sleep(0.05)
    coordinator.show(other)
    assert live.answer is None
    fake.gate.open()
    until(lambda: live.answer is not None and not live.stale)
    for call in answered.call_args_list:
        assert call.args[0].request.session is other
    assert not live.answer.request.mask.hidden.any()


def test_closing_the_session_while_it_is_asked(live, fake, coordinator, until, qtbot):
    fake.gate.shut()
    coordinator.masks.toggle_region("CA1")
    time.sleep(0.05)
    answered = listen(live.answered)
    coordinator.close()
    assert not live.stale
    fake.gate.open()
    qtbot.wait(200)
    assert not answered.called
    assert live.answer is live.whole is live.behaviour is None


# Strokes


def test_during_a_stroke_the_model_is_asked_now_and_then(live, fake, coordinator, until, qtbot):
    layer, masks = coordinator.masks.layer, coordinator.masks
    until(lambda: live.whole is not None and live.whole.done)
    before, whole = len(fake.asked), live.whole
    began = time.perf_counter()
    with layer.block_history():  # as the mouse paints
        for k in range(40):
            layer.paint((20, 10 + 2 * k), 1)
            qtbot.wait(4)
            assert live.whole is whole  # scored once it stands
    most = (time.perf_counter() - began) * 1e3 / preferences().throttle_ms + 3
    until(lambda: not live.stale)
    qtbot.wait(100)
    asked = fake.asked[before:]
    assert 2 <= len(asked) < most
    assert asked[-1][1] == masks.mask
    sizes = [int(mask.hidden.sum()) for _, mask, _, _ in asked]
    assert sizes == sorted(sizes)
    assert sizes[:-1] == sorted(set(sizes[:-1]))  # nothing is asked twice, but at its end
    assert live.answer.request.mask == masks.mask
    until(lambda: live.whole is not None and live.whole.done)
    assert live.whole is not whole


def test_behaviour_is_decoded_when_the_stroke_has_ended(live, fake, coordinator, until, qtbot):
    until(lambda: live.behaviour is not None)
    layer, decoded = coordinator.masks.layer, listen(live.decoded)
    with layer.block_history():
        layer.paint((20, 30), 1)
        until(lambda: live.answer.request.mask.hidden.any() and not live.stale)
        qtbot.wait(200)
        assert not decoded.called
        assert live.behaviour is None
    until(lambda: live.behaviour is not None)
    assert live.behaviour.request.mask == coordinator.masks.mask


def test_a_short_stroke_is_asked_at_its_end(live, fake, coordinator, until, qtbot):
    layer = coordinator.masks.layer
    before = len(fake.asked)
    with layer.block_history():
        layer.paint((20, 10), 1)
        layer.paint((20, 20), 1)
    qtbot.wait(150)
    assert [mask == coordinator.masks.mask for _, mask, _, _ in fake.asked[before:]][-1]
    assert len(fake.asked) - before <= 2


# Scores over the test trials


def test_scores_of_another_mask_are_never_shown(live, fake, coordinator, until, qtbot):
    wrong = []

    def check() -> None:
        if live.whole is not None:
            entries = live.whole.tallies["model"].entries
            expected = coordinator.masks.mask.scored.sum(axis=0)
            if not (entries == expected).all():
                wrong.append(entries)

    live.scored.connect(check, check_nargs=False)
    for k in range(6):
        coordinator.masks.put(Mask.neurons(coordinator.session, list(range(k + 1))))
        until(lambda: live.whole is not None)
        time.sleep(0.05)  # more is told while Qt is busy
    until(lambda: live.whole is not None and live.whole.done)
    assert not wrong


def test_scores_of_another_session_are_never_shown(live, fake, coordinator, until, sample):
    other = replace(sample.select(trials=range(30)), id="other")
    fake.readouts["other"] = all_of(other)
    coordinator.masks.toggle_region("CA1")
    until(lambda: live.whole is not None)
    time.sleep(0.05)
    coordinator.show(other)
    assert live.whole is None
    until(lambda: live.whole is not None and live.whole.done)
    assert sorted(live.whole.trials) == other.split().test.tolist()


def test_the_test_trials_are_scored_without_an_edit(live, fake, coordinator, until, sample):
    until(lambda: live.whole is not None and live.whole.done)
    coordinator.show(sample.select(trials=range(50)))
    until(lambda: live.whole is not None and live.whole.done)
    assert live.whole.n_trials == 10


def test_another_model_scores_anew(live, fake, coordinator, until, sample):
    coordinator.masks.toggle_region("CA1")
    until(lambda: live.whole is not None and live.whole.done)
    before = live.whole.pooled("model")
    other = Fake(sample, rate=0.1)
    live.use(lambda: other)
    until(lambda: live.model is other)
    assert live.whole is None
    until(lambda: live.whole is not None and live.whole.done and not live.stale)
    assert live.whole.pooled("model") != pytest.approx(before, rel=1e-3)
    np.testing.assert_allclose(live.answer.reconstruction.rates, 0.1)


# A baseline


def test_a_baseline_goes_with_answers_and_scores(live, fake, coordinator, until, sample):
    def flat(hidden, trials):
        return np.full((len(trials), *hidden.shape), 0.25, np.float32)

    coordinator.cells.set_shown("baseline", shown=True)
    coordinator.masks.invert()
    live.set_baseline(("flat", flat))
    until(lambda: live.behaviour is not None and live.behaviour.baseline is not None)
    assert live.behaviour.baseline.shape == (1, sample.n_bins, sample.n_units)
    assert (coordinator.cells.layer("baseline").data == 0.25).all()
    until(lambda: live.whole is not None and live.whole.done)
    test = sample.split().test
    counts = sample.counts[test]
    expected = tally(counts, np.full(counts.shape, 0.25)).pooled_bits_per_spike()
    assert live.whole.pooled("baseline") == pytest.approx(float(expected), rel=1e-5)
    live.set_baseline(None)
    until(lambda: live.behaviour is not None and live.behaviour.baseline is None)
    assert not coordinator.cells.layer("baseline").data.any()
    live.set_baseline(("flat", flat))
    coordinator.show(sample)
    assert live.baseline is None


def test_a_baseline_that_fails_is_told_and_rates_are_shown(live, fake, coordinator, until, reports):
    def broken(hidden, trials):
        raise ValueError("no baseline")

    coordinator.masks.toggle_region("CA1")
    live.set_baseline(("broken", broken))
    until(lambda: reports and not live.stale)
    assert live.answer.request.mask == coordinator.masks.mask
    assert "no baseline" in live.doing
    live.set_baseline(None)
    until(lambda: live.behaviour is not None)
    assert {str(error) for error in reports} == {"no baseline"}
    reports.clear()


# Errors


def test_a_model_that_does_not_load_is_told(live, model, until, reports):
    def broken():
        raise OSError("no such file")

    live.use(broken)
    until(lambda: not live.loading)
    assert live.model is None
    assert live.doing == "no such file"
    assert [str(error) for error in reports] == ["no such file"]
    reports.clear()
    live.use(lambda: model)
    assert live.loading
    until(lambda: live.answer is not None)
    assert live.doing == ""


def test_a_model_that_fails_is_told_until_it_answers_again(live, fake, coordinator, until, reports):
    until(lambda: live.whole is not None and live.whole.done)
    live.set_on(on=False)
    fake.error = ValueError("it broke")
    live.once()
    until(lambda: not live.stale)
    assert live.doing == "it broke"
    assert [str(error) for error in reports] == ["it broke"]
    reports.clear()
    fake.error = None
    live.once()
    until(lambda: not live.stale)
    assert live.doing == ""


# Other work


class Hears:
    """Keeps what it hears; only held weakly."""

    def __init__(self) -> None:
        self.values: list = []

    def hear(self, value) -> None:
        self.values.append(value)


def test_other_work_is_heard_step_by_step(live, fake, until):
    one = Hears()
    live.work("count", lambda model: iter([model.rate, 2, 3]), one.hear)
    until(lambda: len(one.values) == 3)
    assert one.values == [fake.rate, 2, 3]


def test_work_that_was_replaced_is_not_heard_any_more(live, fake, until, qtbot):
    one, other = Hears(), Hears()
    live.work("count", lambda model: iter(range(3)), one.hear)
    time.sleep(0.3)  # it is told, and not heard yet
    live.work("count", lambda model: iter("ab"), other.hear)
    until(lambda: len(other.values) == 2)
    qtbot.wait(50)
    assert (one.values, other.values) == ([], ["a", "b"])


def test_whoever_is_gone_hears_nothing(live, fake, until, qtbot):
    one = Hears()
    live.work("count", lambda model: iter(range(3)), one.hear)
    del one
    gc.collect()
    qtbot.wait(300)


def test_another_model_gives_up_work_of_the_one_before(live, fake, until, sample, qtbot):
    one = Hears()

    def steps(model):
        for _ in range(1000):
            fake.gate()
            yield model.rate

    live.work("count", steps, one.hear)
    until(lambda: one.values)
    live.use(lambda: Fake(sample, rate=0.1))
    until(lambda: live.model is not fake)
    n = len(one.values)
    qtbot.wait(300)
    assert len(one.values) == n
    until(lambda: live.whole is not None)  # nothing stands in the way of the rest


# The end


def test_closing_leaves_no_thread_and_it_can_be_used_again(live, fake, coordinator, until, sample):
    before = engine_threads()
    coordinator.masks.toggle_region("CA1")
    assert live.close(PATIENCE_MS / 1000)
    assert live.close()
    assert len(engine_threads()) == len(before) - 1
    assert live.model is None
    assert not live.stale
    coordinator.masks.toggle_region("LP")
    live.once()
    again = Fake(sample)
    live.use(lambda: again)
    until(lambda: live.answer is not None and live.model is again and not live.stale)
    assert live.answer.request.mask == coordinator.masks.mask


def test_closing_does_not_wait_for_a_slow_model_longer_than_it_is_told(live, fake, coordinator):
    fake.gate.shut()
    coordinator.masks.toggle_region("CA1")
    time.sleep(0.05)
    began = time.perf_counter()
    assert not live.close(0.05)
    assert time.perf_counter() - began < 5
    fake.gate.open()


def test_a_viewer_that_goes_takes_its_thread_along(qapp, sample, until):
    before = engine_threads()
    viewer = ViewerModel()
    coordinator = coordinator_of(viewer)
    coordinator.show(sample)
    coordinator.live.use(lambda: Fake(sample))
    live = weakref.ref(coordinator.live)
    until(lambda: live().answer is not None)
    coordinator.masks.toggle_region("CA1")
    gone = weakref.ref(coordinator), weakref.ref(viewer)
    del viewer, coordinator
    until_gone(*gone)
    until(lambda: engine_threads() <= before)
