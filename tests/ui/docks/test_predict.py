"""The predict dock: one click hides, words and scores follow, the model is asked as it says."""

import threading
import time
from weakref import ref

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_mtm import Mask, Session, load_model, save_model
from napari_mtm.ui.docks.predict.dock import PredictDock
from tests.going import until_gone
from tests.ui.tables import cells
from tests.ui.waiting import until


@pytest.fixture
def dock(qtbot, coordinator, viewer):
    """The dock of a viewer with the sample, before its model is loaded."""
    dock = PredictDock(viewer)
    qtbot.addWidget(dock)
    yield dock
    coordinator.live.close()


@pytest.fixture
def asked(dock, coordinator):
    """The same, with the model's first answer there."""
    until(lambda: coordinator.live.answer is not None)
    return dock


def click(button) -> None:
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def biggest(session) -> str:
    return max(session.regions, key=lambda r: r.size).name


def test_without_a_session_it_says_what_to_do(qtbot, viewer):
    dock = PredictDock(viewer)
    qtbot.addWidget(dock)
    assert not dock.closed.isHidden()
    assert dock.hide_panel.isHidden()
    assert dock.score_panel.isHidden()
    assert dock.model_panel.isHidden()


def test_what_is_said_moves_no_button(asked, coordinator, sample):
    dock = asked
    dock.resize(500, 900)  # wide enough for lines of any font
    dock.show()
    until(lambda: coordinator.live.baseline is not None)
    QTest.qWait(50)  # what was said while it was fitted goes
    places = set()
    for hide in (
        coordinator.masks.clear,
        lambda: coordinator.masks.put(Mask.region(sample, biggest(sample))),
        lambda: coordinator.masks.set_bins(slice(3, 9), 1),
        coordinator.masks.invert,
    ):
        hide()
        QTest.qWait(20)
        parts = dock.hide_panel.prompt, dock.score_panel.baseline, dock.model_panel.live
        places.add(tuple(part.mapTo(dock, QPoint(0, 0)).y() for part in parts))
    assert len(places) == 1


def test_the_four_tasks_by_one_click(dock, coordinator, sample):
    panel, name = dock.hide_panel, biggest(sample)
    panel.region.setCurrentIndex(panel.region.findData(name))
    click(panel.whole_button)
    assert coordinator.masks.mask == Mask.region(sample, name)
    click(panel.within_button)
    assert coordinator.masks.mask == Mask.within_region(sample, name)
    coordinator.select([3, 5])
    click(panel.neurons_button)
    assert coordinator.masks.mask == Mask.neurons(sample, [3, 5])
    coordinator.set_time(0.5)
    click(panel.forward_button)
    assert coordinator.masks.mask == Mask.forward(sample, 0.5)
    coordinator.set_time(sample.window[1])
    click(panel.forward_button)
    assert np.flatnonzero(coordinator.masks.mask.hidden.all(axis=1)).tolist() == [99]


def test_a_region_that_is_chosen_is_hidden_at_once(dock, coordinator, sample):
    panel = dock.hide_panel
    names = [region.name for region in sample.regions]

    def choose(name: str) -> None:
        panel.region.setCurrentIndex(names.index(name))
        panel.region.activated.emit(names.index(name))  # as a person's choice does

    choose(names[1])
    assert coordinator.masks.mask == Mask.region(sample, names[1])
    click(panel.within_button)
    choose(names[2])
    assert coordinator.masks.mask == Mask.within_region(sample, names[2])


def test_within_a_region_selected_units_are_predicted(dock, coordinator, sample):
    panel, name = dock.hide_panel, biggest(sample)
    inside = np.flatnonzero(sample.units["region"] == name)
    outside = np.flatnonzero(sample.units["region"] != name)
    panel.region.setCurrentIndex(panel.region.findData(name))
    coordinator.select([int(inside[0]), int(outside[0])])
    click(panel.within_button)
    assert coordinator.masks.mask == Mask.within_region(sample, name, [inside[0]])


def test_buttons_say_what_can_be_done(dock, coordinator):
    panel = dock.hide_panel
    assert not panel.undo_button.isEnabled()
    assert not panel.redo_button.isEnabled()
    assert not panel.neurons_button.isEnabled()
    coordinator.select([1])
    assert panel.neurons_button.text() == "1 selected unit"
    click(panel.neurons_button)
    click(panel.undo_button)
    assert not coordinator.masks.mask.hidden.any()
    assert not panel.undo_button.isEnabled()
    click(panel.redo_button)
    assert coordinator.masks.mask.hidden.any()


def test_invert_and_clear(dock, coordinator):
    click(dock.hide_panel.invert_button)
    assert coordinator.masks.mask.hidden.all()
    click(dock.hide_panel.clear_button)
    assert not coordinator.masks.mask.hidden.any()


def test_words_follow_the_mask(dock, coordinator, sample):
    coordinator.masks.toggle_region(sample.regions[0].name)
    assert coordinator.masks.mask.describe() in dock.hide_panel.words.text()
    assert dock.hide_panel.region.currentData() == sample.regions[0].name
    coordinator.masks.clear()
    assert dock.hide_panel.words.text().startswith("Nothing is hidden.")


def test_tools_and_labels(dock, coordinator, viewer):
    panel = dock.hide_panel
    click(panel.findChild(object, "tool_paint"))
    assert coordinator.masks.layer.mode == "paint"
    assert viewer.layers.selection.active is coordinator.masks.layer
    coordinator.masks.layer.mode = "erase"
    assert panel.findChild(object, "tool_erase").isChecked()
    panel.findChild(object, "label_2").click()
    assert coordinator.masks.layer.selected_label == 2
    coordinator.masks.layer.selected_label = 1
    assert panel.findChild(object, "label_1").isChecked()


def test_this_trial_or_all(dock, coordinator, viewer):
    dock.hide_panel.everywhere.setChecked(False)
    click(dock.hide_panel.invert_button)
    viewer.dims.set_current_step(0, 1)
    assert not coordinator.masks.mask.hidden.any()
    assert dock.hide_panel.words.text().startswith("Nothing is hidden.")


def test_the_prompt_by_hand(asked, coordinator, sample):
    coordinator.masks.put(Mask.forward(sample))
    asked.hide_panel.prompt.setCurrentIndex(asked.hide_panel.prompt.findData("neuron"))
    until(lambda: not coordinator.live.stale)
    assert coordinator.live.answer.reconstruction.prompt == "neuron"
    assert "chosen by hand" in asked.hide_panel.words.text()


def test_the_model_of_the_sample_is_there_by_itself(asked, coordinator, sample):
    assert coordinator.live.model.knows(sample)
    assert "default on cpu" in asked.model_panel.status.text()
    assert "ms" in asked.model_panel.status.text()
    assert asked.model_panel.model_button.text() == "Fine-tuned on the sample"
    assert asked.score_panel.notes.isHidden()
    assert coordinator.cells.shown == ("reconstructed", "residual")


def test_scores_are_those_of_the_model(asked, coordinator, sample):
    mask = Mask.region(sample, biggest(sample))
    coordinator.masks.put(mask)
    until(lambda: coordinator.live.whole is not None and coordinator.live.whole.done)
    until(lambda: "baseline" in asked.score_panel.scores.text())
    model, test = coordinator.live.model, sample.split().test
    trial = model.reconstruct(sample, mask, [coordinator.trial]).scores().bps_pooled
    every = model.reconstruct(sample, mask, test).scores().bps_pooled
    head, of_trial, of_all = cells(asked.score_panel.scores.text())
    assert head == ["", "model", "baseline", "oracle"]
    part = sample.split().part_of(coordinator.trial)
    assert of_trial[:2] == [f"{part} trial", f"{trial:+.2f}"]
    assert of_all[:2] == [f"{len(test)} test trials", f"{every:+.2f}"]


def test_scoring_the_test_trials_is_stopped_and_begun_again(asked, coordinator, sample):
    live, score = coordinator.live, asked.score_panel.score_button
    until(lambda: live.baseline is not None and live.whole is not None and live.whole.done)
    until(lambda: not score.isEnabled())
    coordinator.masks.put(Mask.region(sample, biggest(sample)))
    assert score.text() == "Stop"
    until(lambda: live.whole is not None)
    click(score)
    QTest.qWait(200)
    done, total = len(live.whole.trials), len(sample.split().test)
    assert 0 < done < total
    assert cells(asked.score_panel.scores.text())[-1][0] == f"test, {done} of {total}"
    assert not live.scoring
    assert (score.text(), score.isEnabled()) == ("Score", True)
    click(score)
    until(lambda: live.whole is not None and live.whole.done and not score.isEnabled())


def test_while_live_is_off_test_trials_are_scored_when_told(asked, coordinator, sample):
    live, panel = coordinator.live, asked.score_panel
    until(lambda: live.baseline is not None and live.whole is not None and live.whole.done)
    live.set_on(False)
    mask = Mask.region(sample, biggest(sample))
    coordinator.masks.put(mask)
    assert panel.score_button.isEnabled()
    QTest.qWait(600)
    assert live.whole is None
    click(panel.score_button)
    until(lambda: live.whole is not None and live.whole.done)
    test = sample.split().test
    every = live.model.reconstruct(sample, mask, test).scores().bps_pooled
    assert cells(panel.scores.text())[-1][:2] == [f"{len(test)} test trials", f"{every:+.2f}"]


def test_every_baseline_but_the_mean_rate_which_scores_are_against_can_be_chosen(asked):
    from napari_mtm.scoring.baselines import BASELINES

    box = asked.score_panel.baseline
    offered = {box.itemData(i) for i in range(box.count())}
    assert offered == {kind.name for kind in BASELINES} - {"mean-rate"}


def test_forecasts_are_shown_beside_a_regression_on_the_own_past(asked, coordinator, sample):
    from napari_mtm.scoring.baselines import RidgeAr

    live, box = coordinator.live, asked.score_panel.baseline
    coordinator.masks.put(Mask.forward(sample))
    box.setCurrentIndex(box.findData("ridge-ar"))
    until(lambda: live.baseline is not None and live.baseline[0] == "ridge-ar")
    until(lambda: live.behaviour is not None and live.behaviour.baseline is not None)
    until(lambda: live.answer.request.baseline is live.baseline[1] and not live.stale)
    until(lambda: live.behaviour.request.baseline is live.baseline[1])
    trial = np.array([coordinator.trial])
    expected = RidgeAr.fit(sample, sample.split()).rates("forward", trial)
    np.testing.assert_allclose(live.behaviour.baseline, expected, rtol=1e-5)


def test_fitting_a_baseline_is_stopped(asked, coordinator, monkeypatch):
    from napari_mtm.scoring import baselines

    class Endless:
        name = "reduced-rank"

        @staticmethod
        def fit(session, split, progress):
            while True:
                progress(0.5, "fitting on and on")
                time.sleep(0.002)

    live, panel = coordinator.live, asked.score_panel
    until(lambda: live.baseline is not None and live.whole is not None and live.whole.done)
    monkeypatch.setattr(baselines, "BASELINES", (Endless,))
    panel.baseline.setCurrentIndex(panel.baseline.findData("reduced-rank"))
    until(lambda: "on and on" in panel.fitting.text())
    assert panel.score_button.text() == "Stop"
    click(panel.score_button)
    assert panel.fitting.isHidden()
    assert live.baseline is None
    click(panel.score_button)
    until(lambda: not panel.fitting.isHidden())
    click(panel.score_button)
    until(lambda: not any("fitting" in thread.name for thread in threading.enumerate()))


def test_closed_while_a_baseline_is_fitted_it_hears_no_more(
    qapp, viewer, coordinator, sample, monkeypatch
):
    from napari_mtm.scoring import baselines

    began, end = threading.Event(), threading.Event()

    class Slow:
        name = "psth"

        @staticmethod
        def fit(session, split, progress):
            began.set()
            assert end.wait(60)

    monkeypatch.setattr(baselines, "BASELINES", (Slow,))
    dock = PredictDock(viewer)  # held by nobody else, as one that napari took out of its window
    assert began.wait(60)
    gone = ref(dock.score_panel)
    del dock
    try:
        until_gone(gone)
        coordinator.masks.put(Mask.region(sample, biggest(sample)))
        until(lambda: coordinator.live.answer is not None and not coordinator.live.stale)
    finally:
        end.set()
        coordinator.live.close()


def test_a_baselines_score_is_never_that_of_another_mask(asked, coordinator, sample):
    live, words = coordinator.live, asked.score_panel.scores
    coordinator.masks.put(Mask.region(sample, biggest(sample)))
    until(lambda: "baseline" in words.text() and not live.stale and live.behaviour is not None)
    assert "…" not in words.text()
    said = []
    live.answered.connect(lambda answer: said.append(words.text()))
    mask = Mask.neurons(sample, [2, 7])
    coordinator.masks.put(mask)
    until(lambda: live.behaviour is not None and live.answer.request.mask == mask)
    assert "…" in said[0]
    trial, (_, predict) = [coordinator.trial], live.baseline
    expected = predict(mask.hidden, np.array(trial)).astype(float)[mask.scored[None]]
    counts = sample.counts[trial][mask.scored[None]]
    spikes, mean = counts.reshape(-1, 2), counts.reshape(-1, 2).mean(axis=0)
    gained = (spikes * np.log(expected.reshape(-1, 2) / mean)).sum() - expected.sum() + spikes.sum()
    score = f"{gained / np.log(2) / spikes.sum():+.2f}".replace("-", "−")
    assert cells(words.text())[1][2] == score


def test_live_switched_off_asks_only_when_told(asked, coordinator, sample):
    panel = asked.model_panel
    until(lambda: coordinator.live.baseline is not None and not coordinator.live.stale)
    panel.live.setChecked(False)
    before = coordinator.live.answer
    coordinator.masks.toggle_region(biggest(sample))
    QTest.qWait(100)
    assert coordinator.live.answer is before
    assert coordinator.cells.layer("reconstructed").opacity < 1
    click(panel.once_button)
    until(lambda: coordinator.live.answer is not before)
    assert coordinator.cells.layer("reconstructed").opacity == 1


def test_cells_are_shown_and_hidden(asked, coordinator):
    boxes = asked.model_panel.cells
    assert [boxes[n].isChecked() for n in ("reconstructed", "residual", "baseline")] == [
        True,
        True,
        False,
    ]
    boxes["baseline"].setChecked(True)
    boxes["residual"].setChecked(False)
    assert coordinator.cells.shown == ("reconstructed", "baseline")
    assert len(coordinator.views) == 3


def another(session) -> Session:
    """A few units of a session, as one that no model knows."""
    return Session.from_counts(session.counts[:, :, :9], session.units["region"][:9], id="another")


def choose(dock, model: str) -> None:
    """Choose a model in the menu."""
    menu = dock.model_panel.model_button.menu()
    (action,) = (action for action in menu.actions() if action.text() == model)
    action.trigger()


def test_each_session_is_asked_of_the_model_that_suits_it(asked, coordinator, sample):
    live = coordinator.live
    assert live.source == "sample"
    coordinator.show(another(sample))
    until(lambda: live.source == "pretrained" and live.answer is not None)
    coordinator.show(sample)
    until(lambda: live.source == "sample" and live.answer is not None)


def test_a_model_that_a_person_chose_stays(asked, coordinator, sample):
    live = coordinator.live
    choose(asked, "Pretrained on simulated animals")
    until(lambda: live.source == "pretrained" and live.answer is not None)
    coordinator.show(another(sample))
    coordinator.show(sample)
    until(lambda: live.answer is not None and not live.loading)
    assert live.source == "pretrained"


@pytest.fixture
def docks(qapp, coordinator, viewer):
    """A dock, held by nobody else, as one in a window; its model answered."""
    held = [PredictDock(viewer)]
    until(lambda: coordinator.live.answer is not None)
    yield held
    coordinator.live.close()


def close(docks) -> None:
    gone = ref(docks.pop())
    until_gone(gone)


def reopen(docks, viewer) -> None:
    close(docks)
    docks.append(PredictDock(viewer))


def test_the_model_follows_the_session_however_often_the_dock_is_closed(
    docks, coordinator, viewer, sample
):
    live, other = coordinator.live, another(sample)
    for session, source in ((other, "pretrained"), (sample, "sample"), (other, "pretrained")):
        reopen(docks, viewer)
        coordinator.show(session)
        until(lambda source=source: live.source == source and live.answer is not None)
    close(docks)
    coordinator.show(sample)  # while there is none
    until(lambda: live.source == "sample" and live.answer is not None)


def test_a_model_that_a_person_chose_stays_when_the_dock_is_opened_again(
    docks, coordinator, viewer, sample
):
    live = coordinator.live
    choose(docks[0], "Pretrained on simulated animals")
    until(lambda: live.source == "pretrained" and live.answer is not None)
    coordinator.show(another(sample))  # which it suits
    reopen(docks, viewer)
    coordinator.show(sample)  # which it does not
    until(lambda: live.answer is not None and not live.loading)
    assert live.source == "pretrained"
    assert docks[0].model_panel.model_button.text() == "Pretrained on simulated animals"


def test_weights_of_a_file_stay(docks, coordinator, viewer, sample, tmp_path, monkeypatch):
    live, file = coordinator.live, str(tmp_path / "mine.safetensors")
    save_model(load_model("pretrained"), tmp_path / "mine.safetensors")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (file, ""))
    choose(docks[0], "Open weights…")
    until(lambda: live.source == file and live.answer is not None)
    reopen(docks, viewer)
    coordinator.show(another(sample))
    until(lambda: live.answer is not None and not live.loading)
    assert live.source == file
    assert docks[0].model_panel.model_button.text() == "mine"


def test_a_choice_that_cannot_be_loaded_is_none(asked, coordinator, sample, tmp_path, monkeypatch):
    live, shown = coordinator.live, []
    monkeypatch.setattr("napari_mtm.ui.live.report", shown.append)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "no"), ""))
    choose(asked, "Open weights…")
    until(lambda: bool(shown))
    assert live.source == "sample"
    coordinator.show(another(sample))
    until(lambda: live.source == "pretrained" and live.answer is not None)


def test_a_session_that_the_model_does_not_fit(asked, coordinator, viewer):
    counts = np.ones((30, 7, 5), np.uint8)
    coordinator.show(Session.from_counts(counts, ["CA1"] * 5, bin_size=0.05))
    until(lambda: "bins" in asked.model_panel.status.text())
    assert coordinator.cells.shown == ()
    click(asked.hide_panel.invert_button)
    assert coordinator.masks.mask.hidden.all()


def test_a_session_that_the_model_does_not_know_is_noted_beside_the_scores(
    asked, coordinator, sample
):
    coordinator.show(another(sample))
    notes = asked.score_panel.notes
    # Before, the model that is replaced may say that it has no linear expert yet.
    until(lambda: notes.text().startswith("The model is not fine-tuned on another"))
    assert not notes.isHidden()
    coordinator.show(sample)
    until(lambda: coordinator.live.answer is not None and notes.isHidden())


def test_keys_are_listed(dock, qtbot):
    click(dock.keys_button)
    (box,) = dock.findChildren(QMessageBox)
    assert "Ctrl+Shift+Z" in box.text()
    box.close()
