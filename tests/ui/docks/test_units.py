"""Cards of units, without a window around them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from napari_mtm import Session, load_model
from napari_mtm.errors import WeightsError
from napari_mtm.live.unit import UnitPrediction
from napari_mtm.masking.mask import Mask
from napari_mtm.model.reconstruction import Reconstruction
from napari_mtm.recording.session import ANY_TIME
from napari_mtm.scoring.reliability import reliability
from napari_mtm.ui.docks.units.cards import UnitCards
from tests.ui.tables import cells

UNIT, OTHER, THIRD = 40, 7, 90


class Model:
    """Stands for one that is asked through `Live.work`; `refuses` is what it says of a session."""

    def __init__(self, refuses: str = "") -> None:
        self.readouts = {}
        self._refuses = refuses

    def forget_readouts_of_another_cut(self, session: Session) -> None:
        """It has none."""

    def check(self, session: Session) -> None:
        if self._refuses:
            raise WeightsError(self._refuses)


@pytest.fixture
def work(coordinator, monkeypatch):
    """What was asked of the engine: names, and the units in the order they are predicted in."""
    asked = []

    def remember(name, steps, heard):
        asked.append(SimpleNamespace(name=name, steps=steps, heard=heard))

    monkeypatch.setattr(coordinator.live, "work", remember)
    return asked


@pytest.fixture
def cards(viewer, coordinator, qtbot) -> UnitCards:
    cards = UnitCards(viewer)
    qtbot.addWidget(cards)
    cards.resize(330, 700)
    cards.show()
    return cards


@pytest.fixture
def use(coordinator):
    """Let the viewer have a model."""

    def use(model):
        coordinator.live.model = model
        coordinator.live.status_changed.emit()

    return use


def uuid(sample, unit):
    return sample.units["uuid"][unit]


def predicted(sample, unit, n=None, level=0.25):
    trials = sample.split().test
    done = trials[:n]
    rates = np.full((len(done), sample.n_bins), level, np.float32)
    return UnitPrediction(sample, unit, done, len(trials), rates)


def smoothed(rate):
    """Average over three bins, fewer at the ends, one by one."""
    return np.array([rate[max(k - 1, 0) : k + 2].mean() for k in range(len(rate))])


def answer(sample, coordinator, mask):
    trial = coordinator.trial
    found = Reconstruction(
        session=sample.id,
        mask=mask,
        prompt="neuron",
        trials=np.array([trial]),
        units=tuple(sample.units["uuid"]),
        counts=sample.counts[[trial]],
        rates=np.full((1, sample.n_bins, sample.n_units), 0.2, np.float32),
        decoded={},
    )
    return SimpleNamespace(reconstruction=found, request=SimpleNamespace(trial=trial))


def test_nothing_is_selected(cards, coordinator):
    assert cards.hint.isVisible()
    assert "Click a unit in the raster" in cards.hint.text()
    assert cards.shown == ()
    assert not cards.sort.isVisible()
    coordinator.close()
    assert cards.hint.text() == "No session is open."


def test_the_unit_that_was_selected_last(cards, coordinator, sample):
    coordinator.select([UNIT, OTHER])
    assert cards.shown == (uuid(sample, OTHER),)
    coordinator.select([UNIT])
    assert list(cards.cards) == [uuid(sample, UNIT)]
    header = cards.cards[uuid(sample, UNIT)].header
    assert all(line in header.text() for line in coordinator.unit_lines(UNIT))
    assert not cards.hint.isVisible()


def test_without_a_model_all_trials_as_recorded(cards, coordinator, sample):
    coordinator.select([UNIT])
    card = cards.cards[uuid(sample, UNIT)]
    assert "Predictions need a model." in card.note.text()
    assert f"All {sample.n_trials} trials" in card.note.text()
    assert card.predicted.isHidden()
    assert card.residual.isHidden()
    counts = sample.counts[:, :, UNIT] / 0.02
    right = sample.trials["choice"] == -1
    np.testing.assert_allclose(
        card.psths.curves["choice", "right", "recorded"], smoothed(counts[right].mean(axis=0))
    )
    error = sample.trials["feedbackType"] == -1
    np.testing.assert_allclose(
        card.psths.curves["reward", "error", "recorded"], smoothed(counts[error].mean(axis=0))
    )
    assert f"right {right.sum()}" in card.psths.legends[0].text()
    (fano,), (ceiling,) = reliability(sample, [UNIT])
    assert cells(card.scores.text()) == [
        ["mean rate", f"{counts.mean():.3g} spikes/s"],
        ["Fano factor", f"{fano:.2f}, ceiling {ceiling:.2f}"],
    ]
    assert not any(what == "predicted" for *_, what in card.psths.curves)


def test_with_a_prediction_both_on_the_test_trials(cards, coordinator, sample, work, use):
    coordinator.select([UNIT])
    card = cards.cards[uuid(sample, UNIT)]
    assert not work
    use(Model())
    (asked,) = work
    assert "Predicting" in card.note.text()
    asked.heard(predicted(sample, UNIT, n=8))
    test = sample.split().test
    assert f"8 of {len(test)} test trials" in card.note.text()
    assert card.predicted.isHidden()
    asked.heard(predicted(sample, UNIT))
    assert not card.predicted.isHidden()
    assert f"{len(test)} test trials" in card.note.text()
    assert "60 ms" in card.note.text()
    counts = sample.counts[test][:, :, UNIT] / 0.02
    left = (sample.trials["probabilityLeft"] == 0.8).to_numpy()[test]
    np.testing.assert_allclose(
        card.psths.curves["block", "left", "recorded"], smoothed(counts[left].mean(axis=0))
    )
    np.testing.assert_allclose(card.psths.curves["block", "left", "predicted"], 12.5)
    assert f"left {left.sum()}" in card.psths.legends[1].text()
    bits = f"{predicted(sample, UNIT).bits_per_spike():.2f}".replace("-", "−")
    assert f"{bits} bits/spike, hidden alone" in card.scores.text()
    assert "predicted 12.5" in card.scores.text()


def test_what_can_be_predicted_of_a_unit_is_said_and_explained(
    cards, coordinator, sample, work, use
):
    every, _ = reliability(sample)
    regular = int(np.nanargmin(every))
    coordinator.select([regular])
    card = cards.cards[uuid(sample, regular)]
    (said,) = (row for row in cells(card.scores.text()) if row[0] == "Fano factor")
    use(Model())
    work[-1].heard(predicted(sample, regular))
    assert said in cells(card.scores.text())
    assert said[1].startswith(f"{every[regular]:.2f}, ceiling ")
    tip = card.scores.toolTip()
    assert "Fano factor: the variance" in tip
    assert "100 ms" in tip
    assert "Ceiling: how much of these averages repeats" in tip


def test_at_any_time_there_is_no_ceiling_and_of_a_silent_unit_no_fano_factor(cards, coordinator):
    counts = np.random.default_rng(0).poisson(0.5, (20, 30, 2))
    counts[..., 1] = 0
    session = Session.from_counts(counts, ["CA1"] * 2, id="any")
    coordinator.show(replace(session, align=ANY_TIME))
    for unit, fano in ((0, f"{reliability(session)[0][0]:.2f}"), (1, "not known")):
        coordinator.select([unit])
        card = cards.cards[session.units["uuid"][unit]]
        assert cells(card.scores.text())[-1] == ["Fano factor", fano]


def test_images_are_sorted_and_on_one_scale(cards, coordinator, sample, work, use):
    use(Model())
    coordinator.select([UNIT])
    work[-1].heard(predicted(sample, UNIT))
    card = cards.cards[uuid(sample, UNIT)]
    cards.sort.setCurrentText("reward")
    test = sample.split().test
    feedback = sample.trials["feedbackType"].to_numpy()[test]
    order = np.concatenate([test[feedback == 1], test[feedback == -1]])
    recorded = sample.counts[order][:, :, UNIT] / 0.02
    np.testing.assert_allclose(card.recorded.values, recorded)
    np.testing.assert_allclose(card.residual.values, recorded - 12.5)
    assert card.recorded.levels == card.predicted.levels
    low, high = card.residual.levels
    assert low == -high < 0
    trial = int(order[3])
    coordinator.viewer.dims.set_current_step(0, trial)
    assert {i.marked for i in (card.recorded, card.predicted, card.residual)} == {3}
    coordinator.viewer.dims.set_current_step(0, int(sample.split().train[0]))
    assert card.recorded.marked is None
    assert "is not one of them" in card.note.text()


def test_the_score_under_the_mask(cards, coordinator, sample, work, use):
    use(Model())
    coordinator.select([UNIT])
    card = cards.cards[uuid(sample, UNIT)]
    assert "not asked yet" in card.scores.text()
    trial = int(sample.counts[:, :, UNIT].sum(axis=1).argmax())
    coordinator.viewer.dims.set_current_step(0, trial)
    given = answer(sample, coordinator, Mask.neurons(sample, [UNIT]))
    coordinator.live.answer = given
    coordinator.live.answered.emit(given)
    units = given.reconstruction.scores().units.set_index("uuid")
    bits = f"{units.loc[uuid(sample, UNIT), 'bps']:.2f}".replace("-", "−")
    assert f"{bits} bits/spike as masked" in card.scores.text()
    given = answer(sample, coordinator, Mask.neurons(sample, [OTHER]))
    coordinator.live.answer = given
    coordinator.live.answered.emit(given)
    assert "not hidden by the mask" in card.scores.text()
    coordinator.viewer.dims.set_current_step(0, trial - 1)
    assert "not asked yet" in card.scores.text()


def test_pins_stay_beside_the_next_ones(cards, coordinator, sample):
    names = [uuid(sample, unit) for unit in (UNIT, OTHER, THIRD)]
    coordinator.select([UNIT])
    cards.cards[names[0]].pin_button.click()
    coordinator.select([OTHER])
    assert cards.shown == (names[1], names[0])
    cards.cards[names[1]].pin_button.click()
    coordinator.select([UNIT])  # is pinned: there is no second card of it
    assert cards.shown == (names[1], names[0])
    coordinator.select([THIRD])
    assert cards.shown == (names[2], names[1], names[0])
    assert list(cards.cards) == [names[0], names[1], names[2]]
    cards.cards[names[0]].pin_button.click()
    assert cards.shown == (names[2], names[1])
    coordinator.select([])
    assert cards.shown == (names[1],)
    assert cards.hint.isVisible()


def test_pins_go_with_their_session(cards, coordinator, sample):
    coordinator.select([UNIT])
    cards.cards[uuid(sample, UNIT)].pin_button.click()
    coordinator.show(sample.select(units=np.arange(50)))
    assert cards.pins == ()
    assert cards.cards == {}
    assert cards.hint.isVisible()
    coordinator.show(sample)
    assert cards.pins == (uuid(sample, UNIT),)
    assert list(cards.cards) == [uuid(sample, UNIT)]
    coordinator.close()
    coordinator.show(sample.select(units=np.arange(60)))
    assert cards.pins == ()


def test_what_is_lacking_is_asked_for_once(cards, coordinator, sample, work, use):
    use(Model())
    coordinator.select([UNIT])
    cards.cards[uuid(sample, UNIT)].pin_button.click()
    assert len(work) == 1
    coordinator.select([OTHER])
    assert len(work) == 2  # the new one first, then the one that was given up
    assert {asked.name for asked in work} == {"neuron cards"}
    work[-1].heard(predicted(sample, OTHER))
    work[-1].heard(predicted(sample, UNIT))
    coordinator.select([UNIT])
    coordinator.select([OTHER])
    assert len(work) == 2  # both are known
    assert not cards.cards[uuid(sample, OTHER)].predicted.isHidden()
    use(Model())
    assert len(work) == 3  # another model
    assert cards.cards[uuid(sample, OTHER)].predicted.isHidden()


def test_news_of_another_session_are_not_heard(cards, coordinator, sample, work, use):
    use(Model())
    coordinator.select([UNIT])
    heard = work[-1].heard
    other = sample.select(trials=np.arange(100))
    coordinator.show(other)
    coordinator.select([UNIT])
    heard(predicted(sample, UNIT))
    assert cards.cards[uuid(sample, UNIT)].predicted.isHidden()


def test_a_session_that_the_model_refuses(cards, coordinator, sample, work, use):
    coordinator.select([UNIT])
    coordinator.live.doing = "The bins differ."
    use(Model(refuses="The bins differ."))
    assert not work
    assert "The bins differ." in cards.cards[uuid(sample, UNIT)].note.text()


def test_a_hidden_dock_rests_and_catches_up(cards, coordinator, sample, work, use):
    cards.hide()
    use(Model())
    coordinator.select([UNIT])
    assert cards.cards == {}
    assert not work
    cards.show()
    assert cards.shown == tuple(cards.cards) == (uuid(sample, UNIT),)
    assert len(work) == 1
    cards.hide()
    work[0].heard(predicted(sample, UNIT))
    cards.show()
    assert not cards.cards[uuid(sample, UNIT)].predicted.isHidden()


def test_cards_lie_side_by_side_where_there_is_room(cards, coordinator, sample, qtbot):
    coordinator.select([UNIT])
    cards.cards[uuid(sample, UNIT)].pin_button.click()
    coordinator.select([OTHER])
    first, second = (cards.cards[uuid(sample, unit)] for unit in (OTHER, UNIT))
    qtbot.waitUntil(lambda: second.y() >= first.y() + first.height() > 0)
    assert second.x() == first.x()
    cards.resize(800, 700)
    qtbot.waitUntil(lambda: second.x() >= first.x() + first.width())
    assert second.y() == first.y()


def test_colours_follow_the_theme(cards, coordinator, viewer):
    coordinator.select([UNIT])
    (card,) = cards.cards.values()

    def corner():
        colour = card.psths.grab().toImage().pixelColor(2, card.psths.height() - 2)
        return colour.lightness()

    assert corner() < 80
    viewer.theme = "light"
    assert corner() > 180


def test_trials_that_tell_nothing_apart(cards, coordinator):
    counts = np.zeros((4, 10, 2), int)
    counts[0] = 1
    coordinator.show(Session.from_counts(counts, ["CA1", "LP"]))
    coordinator.select([0])
    (card,) = cards.cards.values()
    assert cards.sort.currentText() == "all trials"
    # One spike in each bin of one of four trials, in bins of 20 ms.
    np.testing.assert_allclose(card.psths.curves["all trials", "all", "recorded"], 12.5)


def test_a_silent_unit(cards, coordinator, sample, work, use):
    silent = sample.counts.copy()
    silent[:, :, UNIT] = 0
    session = replace(sample, counts=silent)
    coordinator.show(session)
    use(Model())
    coordinator.select([UNIT])
    work[-1].heard(predicted(session, UNIT))
    assert "no spike to predict" in cards.cards[uuid(sample, UNIT)].scores.text()


def test_with_the_live_model(cards, coordinator, sample, qtbot):
    coordinator.select([UNIT])
    coordinator.live.use(lambda: load_model("sample"), "the sample's")
    card = cards.cards[uuid(sample, UNIT)]
    qtbot.waitUntil(card.predicted.isVisible, timeout=60_000)
    model = coordinator.live.model
    assert coordinator.live.close(10)
    hidden = np.zeros((sample.n_bins, sample.n_units), bool)
    hidden[:, UNIT] = True
    test = sample.split().test
    found = model.predict(sample.counts[test], hidden, session=sample, trials=test)
    rates = np.exp(found[:, :, UNIT])
    order = np.argsort(sample.trials["choice"].to_numpy()[test] != 1, kind="stable")
    np.testing.assert_allclose(card.predicted.values, rates[order] / 0.02, rtol=1e-3)
