"""The fine-tune dock: each state shows what belongs to it, and its buttons do what they say."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea

from napari_mtm.masking.mask import Mask
from napari_mtm.model.weights import load_model
from napari_mtm.recording.session import Session
from napari_mtm.training.comparison import Comparison, Interval, save_comparison
from napari_mtm.training.messages import Comparing, Ended, Measured, Paused, Preparing
from napari_mtm.training.pace import Pace
from napari_mtm.training.places import new_folder
from napari_mtm.training.run import Run, Status, Taught
from napari_mtm.training.settings import Settings
from napari_mtm.ui.docks.finetune.dock import FinetuneDock
from napari_mtm.ui.finetune.course import Choices
from napari_mtm.ui.finetune.state import Finetuning
from tests.training.waves import waves
from tests.ui.docks.finetune.conftest import report
from tests.ui.waiting import until


@pytest.fixture
def dock(qtbot, ready, viewer, played, told):
    dock = FinetuneDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(345, 800)
    dock.show()
    return dock


@pytest.fixture
def finetuning(dock) -> Finetuning:
    return dock.coordinator.finetuning


@pytest.fixture
def training(dock, finetuning, played):
    """The process of a fine-tuning that was begun with a click."""
    click(dock.plan.start_button)
    until(lambda: training_of(played) is not None)
    return training_of(played)


def training_of(played):
    return next((p for p in played if p.assignment.work == "fine-tune"), None)


def click(button) -> None:
    assert button.isVisible()
    assert button.isEnabled()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def fits(dock) -> bool:
    """Whether nothing is cut off at the right."""
    area = dock.findChild(QScrollArea)
    return area.widget().minimumSizeHint().width() <= area.viewport().width()


def run_in(folder, session, *, state="finished", step=300, weights="pretrained") -> Run:
    """A run as a training would leave it."""
    model = load_model("sample", device="cpu")
    run = Run.begin(
        folder,
        model,
        kind="finetune",
        settings=Settings(steps=300),
        sessions=[Taught(id=session.id, title=session.title, trials=9)],
        weights=weights,
    )
    run.save_model(model, "best")
    run.add_to_log([{"step": 0, "validation": {"neuron": 0.1}}])
    run.set_status(Status(state=state, step=step, steps=300, best=0.5, best_step=step))
    return run


def comparison() -> Comparison:
    scores = {"before": Interval.of(0.1, 0.0, 0.2), "after": Interval.of(0.4, 0.3, 0.5)}
    scores |= {"gain": Interval.of(0.3, 0.25, 0.35), "psth": Interval.of(0.2)}
    scores |= {"reduced-rank": Interval.of(-0.25)}
    tasks = ("co-smoothing", "forward", "intra-region", "inter-region")
    readouts = {"choice": {"before": Interval.of(0.6), "after": Interval.of(0.8, 0.7, 0.9)}}
    readouts["wheel-speed"] = {"after": Interval.of(math.nan)}
    return Comparison(
        trials=44, started=False, tasks=dict.fromkeys(tasks, scores), readouts=readouts
    )


# -- before ------------------------------------------------------------------------------


def test_without_a_session_it_says_what_to_do(qtbot, viewer):
    dock = FinetuneDock(viewer)
    qtbot.addWidget(dock)
    assert "Open a session" in dock.plan.why_not.text()
    assert not dock.plan.start_button.isEnabled()
    assert dock.monitor.isHidden()
    assert dock.result.isHidden()
    assert dock.runs.isHidden()


def test_without_a_model_it_says_so(qtbot, coordinator, viewer):
    dock = FinetuneDock(viewer)
    qtbot.addWidget(dock)
    assert dock.plan.why_not.text() == "Choose a model first."
    assert not dock.plan.start_button.isEnabled()


def test_weights_that_are_in_no_file_cannot_be_begun_with(dock, finetuning, ready):
    model = load_model("pretrained", device="cpu")
    ready.live.use(lambda: model)
    until(lambda: ready.live.model is model)
    assert "came from no file" in dock.plan.why_not.text()
    assert not dock.plan.start_button.isEnabled()


def test_where_the_weights_do_not_fit_a_new_model_is_begun(dock, finetuning, ready, played):
    counts = np.ones((30, 7, 5), np.uint8)
    ready.show(Session.from_counts(counts, ["CA1"] * 5, id="coarse", bin_size=0.05))
    plan = dock.plan
    until(lambda: "bins of 20 ms" in plan.why_not.text())
    assert "begin a new model" in plan.why_not.text()
    assert "Begins with a new model" in re.sub("<.*?>", "", plan.words.text())
    assert plan.weights.count() == 1
    assert fits(dock)
    click(plan.start_button)
    until(lambda: training_of(played) is not None)
    assert training_of(played).assignment.weights == "new"


def test_a_window_that_no_model_takes_is_refused(dock, ready):
    counts = np.ones((30, 501, 2), np.uint8)
    ready.show(Session.from_counts(counts, ["CA1"] * 2, id="long"))
    until(lambda: "at most 10 s" in dock.plan.why_not.text())
    assert not dock.plan.start_button.isEnabled()


def test_a_new_model_can_be_begun_where_others_fit(dock, played, ready):
    plan = dock.plan
    plan.weights.setCurrentIndex(plan.weights.findData("new"))
    assert "a new model" in plan.words.text()
    click(plan.start_button)
    until(lambda: training_of(played) is not None)
    assert training_of(played).assignment.weights == "new"


def test_idle_it_says_what_will_happen(dock, sample):
    split, words = sample.split(), dock.plan.words.text()
    assert f"{sample.n_units} units" in words
    for part in (split.train, split.validation, split.test):
        assert f"{len(part)} " in words
    assert "Pretrained on simulated animals" in words
    assert "all weights" in words
    assert "300 steps" in words
    assert dock.plan.isVisible()
    assert dock.monitor.isHidden()
    assert fits(dock)


def test_choices_are_said_and_sent(dock, finetuning, played, ready):
    plan = dock.plan
    plan.lengths["thorough"].click()
    plan.scope.setCurrentIndex(plan.scope.findData("units"))
    plan.weights.setCurrentIndex(plan.weights.findData("sample"))
    plan.seed.setValue(7)
    plan.batch.setValue(4)
    assert "1500 steps of 4 trials" in plan.words.text()
    assert "this session's units alone" in plan.words.text()
    assert "Fine-tuned on the sample" in plan.words.text()
    click(plan.start_button)
    until(lambda: training_of(played) is not None)
    sent = training_of(played).assignment
    assert (sent.scope, sent.weights, sent.threads) == ("units", "sample", 1)
    assert sent.settings == replace(Settings(), steps=1500, check_every=50, batch=4, seed=7)
    assert not sent.out.exists()
    assert sent.session.is_file()


def test_how_long_it_takes_is_measured_once(dock, finetuning, played):
    until(lambda: any(p.assignment.work == "measure" for p in played))
    (process,) = played
    assert "Measuring" in dock.plan.pace.text()
    pace = Pace(2.0, {"units": 0.1, "lora": 0.2, "full": 0.3}, 1.0)
    process.say(Measured(pace, "cpu"), Ended("finished"))
    # 2 s, 300 steps of 0.3 s, 12 validations of 1 s: 104 s
    assert dock.plan.pace.text() == "About 2 minutes on cpu, then the test trials."
    dock.plan.scope.setCurrentIndex(dock.plan.scope.findData("units"))
    assert dock.plan.pace.text().startswith("About 45 seconds")  # 2 + 30 + 12
    dock.hide()
    dock.show()
    assert len(played) == 1


def test_a_measurement_that_fails_is_not_tried_again(dock, finetuning, played):
    until(lambda: bool(played))
    played[0].say(Ended("failed", "No room."))
    assert dock.plan.pace.text() == ""
    finetuning.pacing.measure(Choices())
    assert len(played) == 1


# -- during ------------------------------------------------------------------------------


def test_preparing(dock, finetuning, training):
    training.say(Preparing(0.25, "trying to move units"))
    assert finetuning.phase == "preparing"
    assert dock.plan.isHidden()
    assert dock.monitor.words.text() == "Trying to move units…"
    assert dock.monitor.bar.value() == 250
    assert not dock.monitor.pause_button.isEnabled()
    assert fits(dock)


def test_running_it_shows_how_it_goes(dock, finetuning, training):
    monitor = dock.monitor
    training.say(report(0, 0.3), report(10), report(25, 0.4, best=25), report(30, best=25))
    assert finetuning.phase == "running"
    assert monitor.words.text() == "Step 30 of 300, a minute left (100 trials/s)"
    assert monitor.bar.value() == 100
    assert "step 25, mean 0.400 bits/spike, +0.100 over the start" in monitor.best.text()
    steps, scores = monitor.curves.validations.drawn["neuron"]
    assert (steps, scores) == ([0, 25], [0.3, 0.4])
    assert monitor.curves.validations.marked == 25
    assert monitor.curves.losses.drawn["causal"][0] == [10, 25, 30]
    assert fits(dock)


def test_it_pauses_and_goes_on(dock, finetuning, training):
    training.say(report(0, 0.3), report(10))
    click(dock.monitor.pause_button)
    assert finetuning.phase == "running"  # until the step in hand is done
    training.say(Paused())
    assert finetuning.phase == "paused"
    assert dock.monitor.words.text() == "Step 10 of 300: paused"
    click(dock.monitor.pause_button)
    assert finetuning.phase == "running"
    assert training.orders == ["pause", "go on"]


def test_it_stops_and_compares(dock, finetuning, training, told, sample):
    training.say(report(0, 0.3), report(25, 0.4, best=25))
    click(dock.monitor.stop_button)
    assert finetuning.phase == "stopping"
    assert "Stopping" in dock.monitor.words.text()
    assert not dock.monitor.stop_button.isEnabled()
    training.say(report(30, best=25))
    assert finetuning.phase == "stopping"
    run_in(training.assignment.out, sample, state="stopped", step=30)
    training.say(Comparing(0.5, "scoring"))
    assert finetuning.phase == "comparing"
    assert dock.monitor.stop_button.text() == "Skip the comparison"
    training.say(Ended("stopped"))
    assert finetuning.phase == "finished"
    assert "was stopped at step 30" in dock.result.words.text()
    assert told[-1] == dock.result.words.text()
    assert training.orders == ["stop"]
    assert training.closed


def test_the_comparison_is_skipped(dock, finetuning, training, sample):
    run_in(training.assignment.out, sample)
    training.say(report(0, 0.3), report(300, 0.4, best=300), Comparing(0.1, "scoring"))
    click(dock.monitor.stop_button)
    training.say(Comparing(0.2, "scoring"))
    assert finetuning.phase == "stopping"
    training.say(Ended("finished"))
    assert finetuning.phase == "finished"
    assert dock.result.table.isHidden()


def test_killed_while_it_compares_it_is_finished_all_the_same(dock, finetuning, training, sample):
    run_in(training.assignment.out, sample)
    training.say(report(0, 0.3), report(300, 0.4, best=300), Comparing(0.1, "scoring"))
    training.say(Ended("killed", "By signal 9."))
    assert finetuning.phase == "finished"
    assert "The comparison was cut off" in dock.result.words.text()


def test_cancelling_leaves_nothing_to_see(dock, finetuning, training):
    training.say(report(0, 0.3))
    click(dock.monitor.cancel_button)
    training.say(Ended("cancelled"))
    assert finetuning.phase == "idle"
    assert dock.plan.isVisible()
    assert finetuning.course is None
    assert training.orders == ["cancel"]


def test_it_goes_faster_when_asked(dock, training, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    training.say(report(0, 0.3))
    dock.monitor.faster.click()
    dock.monitor.faster.click()
    assert training.orders == [8, 2]


def test_what_was_begun_faster_is_shown_to_be(dock, played):
    dock.plan.faster.click()
    click(dock.plan.start_button)
    assert dock.monitor.faster.isChecked()


def test_newer_weights_are_shown_beside_the_old(dock, finetuning, training, ready, sample):
    region = max(sample.regions, key=lambda r: r.size)
    ready.masks.put(Mask.region(sample, region.name))
    run_in(training.assignment.out, sample, state="running")
    training.say(report(0, 0.3), report(25, 0.4, best=25))
    until(lambda: "step 25" in dock.monitor.preview.words.text())
    assert ready.cells.shown == ("reconstructed", "fine-tuned", "residual")
    newest = load_model("sample", device="cpu").reconstruct(sample, ready.masks.mask, [0])
    shown = ready.cells.layer("fine-tuned").data
    hidden = ready.masks.mask.hidden[:, ready.rows].T
    assert shown[hidden] == pytest.approx(newest.rates[0][:, ready.rows].T[hidden], abs=1e-5)
    assert f"{newest.scores().bps_pooled:.2f}" in dock.monitor.preview.words.text()
    dock.monitor.preview.on.click()
    assert ready.cells.shown == ("reconstructed", "residual")
    assert ready.cells.layer("fine-tuned") is None


# -- after -------------------------------------------------------------------------------


@pytest.fixture
def finished(dock, finetuning, training, sample, told):
    run = run_in(training.assignment.out, sample)
    training.say(report(0, 0.3), report(300, 0.5, best=300))
    save_comparison(run, comparison())
    training.say(Ended("finished"))
    until(lambda: finetuning.weights.shown == "after")
    return run


def test_finished_it_shows_before_and_after(dock, finetuning, finished, told):
    assert finetuning.phase == "finished"
    table = dock.result.table.text()
    for number in ("0.10", "0.40", "0.30, 0.50", "+0.30", "0.25, 0.35", "0.20", "PSTH", "0.80"):
        assert number in table
    assert "nan" not in table
    assert "44 test trials" in table
    assert told == [
        "Fine-tuning on " + finetuning.course.session.title + " is finished. The best "
        "weights are those of step 300."
    ]
    assert fits(dock)


def test_a_key_flips_between_the_weights(dock, finetuning, finished, ready):
    assert dock.result.after.isChecked()
    assert ready.live.name.startswith("Fine-tuned 2")
    flip(ready)
    until(lambda: finetuning.weights.shown == "before")
    assert ready.live.name == "Pretrained on simulated animals"
    assert dock.result.before.isChecked()
    flip(ready)
    until(lambda: finetuning.weights.shown == "after")
    click(dock.result.before)
    until(lambda: finetuning.weights.shown == "before")


def flip(coordinator) -> None:
    from napari_mtm.ui.canvas.keys import KEYS

    next(key for key in KEYS if key.key == "N").act(coordinator)


def test_keeping_goes_on_with_the_new_weights(dock, finetuning, finished, ready):
    click(dock.result.keep_button)
    assert finetuning.phase == "idle"
    assert ready.live.source == str(finished.folder / "best.safetensors")
    assert dock.plan.isVisible()
    until(dock.runs.isVisible)
    assert "Fine-tuned" in dock.plan.words.text()


def test_discarding_goes_back_and_deletes(dock, finetuning, finished, ready, monkeypatch):
    from qtpy.QtWidgets import QMessageBox

    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.No)
    click(dock.result.discard_button)
    assert finetuning.phase == "finished"
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    click(dock.result.discard_button)
    until(lambda: ready.live.source == "pretrained")
    until(lambda: not finished.folder.exists())
    assert finetuning.phase == "idle"
    until(dock.runs.isHidden)


def test_weights_are_saved_where_a_person_says(dock, finished, monkeypatch, tmp_path, told):
    from qtpy.QtWidgets import QFileDialog

    path = tmp_path / "mine.safetensors"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    click(dock.result.save_button)
    until(lambda: str(path) in told[-1])
    ours, theirs = (
        load_model(p, device="cpu") for p in (path, finished.folder / "best.safetensors")
    )
    for name, value in ours.network.state_dict().items():
        assert (value == theirs.network.state_dict()[name]).all()


def test_failed_it_says_why_and_can_be_resumed(dock, finetuning, training, played, sample, told):
    run_in(training.assignment.out, sample, state="failed", step=40)
    training.say(report(0, 0.3), report(40))
    training.say(Ended("failed", "Cannot write there: No space left on device."))
    assert finetuning.phase == "failed"
    assert "No space left" in dock.result.words.text()
    assert "No space left" in told[-1]
    until(dock.result.resume_button.isVisible)
    click(dock.result.resume_button)
    until(lambda: len([p for p in played if p.assignment.work == "fine-tune"]) == 2)
    again = played[-1].assignment
    assert again.out == training.assignment.out
    assert finetuning.phase == "preparing"


def test_what_fails_before_there_is_a_run_can_only_be_closed(dock, finetuning, training):
    training.say(Ended("failed", "There are no such weights."))
    assert finetuning.phase == "failed"
    assert dock.result.resume_button.isHidden()
    assert dock.result.save_button.isHidden()
    click(dock.result.keep_button)
    assert finetuning.phase == "idle"


def test_no_step_was_better(dock, finetuning, training, sample):
    run_in(training.assignment.out, sample)
    training.say(report(0, 0.3, best=0), report(300, 0.2, best=0), Ended("finished"))
    assert "No step was better than the start" in dock.result.words.text()


# -- another session ---------------------------------------------------------------------


def test_it_goes_on_when_another_session_is_opened(dock, finetuning, training, ready, sample, told):
    training.say(report(0, 0.3), report(10))
    ready.show(waves(3))
    assert finetuning.phase == "running"
    assert "goes on" in dock.monitor.title.text()
    assert sample.title in dock.monitor.title.text()
    assert dock.monitor.preview.isHidden()
    training.say(report(20))
    assert dock.monitor.words.text().startswith("Step 20")
    run_in(training.assignment.out, sample)
    training.say(Ended("finished"))
    assert "Show that session to see it" in told[-1]
    assert finetuning.phase == "idle"
    assert not finetuning.weights.there
    assert ready.live.source == "pretrained"
    ready.show(sample)
    assert finetuning.phase == "finished"
    assert finetuning.course.folder == training.assignment.out
    until(lambda: finetuning.weights.shown == "after")
    assert ready.live.name.startswith("Fine-tuned 2")
    flip(ready)
    until(lambda: finetuning.weights.shown == "before")
    assert ready.live.source == "pretrained"


def test_it_goes_on_when_its_session_is_closed(dock, finetuning, training, ready, sample, told):
    ready.show(waves(3))
    ready.close(sample)
    training.say(report(0, 0.3), report(10))
    assert sample.title in dock.monitor.title.text()
    run_in(training.assignment.out, sample)
    training.say(Ended("finished"))
    assert "Open that session again" in told[-1]
    assert finetuning.phase == "idle"
    ready.show(sample)
    assert finetuning.phase == "idle"
    until(lambda: finetuning.shelf.at(training.assignment.out) is not None)


def test_what_came_of_one_waits_with_its_session(dock, finetuning, finished, ready, sample):
    flip(ready)
    until(lambda: finetuning.weights.shown == "before")
    table = dock.result.table.text()
    ready.show(waves(3))
    assert finetuning.phase == "idle"
    assert dock.result.isHidden()
    assert not finetuning.weights.there
    flip(ready)  # there is nothing to flip between
    ready.show(sample)
    until(lambda: finetuning.weights.shown == "before")
    assert finetuning.phase == "finished"
    assert finetuning.course.folder == finished.folder
    assert dock.result.table.text() == table
    click(dock.result.keep_button)
    ready.show(waves(3))
    ready.show(sample)
    assert finetuning.phase == "idle"


def test_what_fails_is_not_shown_with_another_session(
    dock, finetuning, training, ready, sample, told
):
    ready.show(waves(3))
    training.say(Ended("failed", "Cannot write there: No space left on device."))
    assert "No space left" in told[-1]
    assert sample.title in told[-1]
    assert finetuning.phase == "idle"
    assert dock.result.isHidden()
    ready.show(sample)
    assert finetuning.phase == "failed"
    assert "No space left" in dock.result.words.text()


def test_two_fine_tunings_stay_with_their_sessions(
    dock, finetuning, finished, ready, sample, played, told
):
    other = replace(sample.select(trials=range(60)), id="other", name="other")
    ready.show(other)
    until(lambda: not finetuning.why_not)
    finetuning.start(Choices(steps=40))
    assert finetuning.course.session is other
    until(lambda: played[-1].assignment.work == "fine-tune" and len(fine_tunings(played)) == 2)
    second = fine_tunings(played)[-1]
    second.say(report(0, 0.1), report(10, steps=40))
    ready.show(sample)
    assert finetuning.phase == "running"
    assert finetuning.course.session is other
    assert other.title in dock.monitor.title.text()
    run_in(second.assignment.out, other, step=40)
    second.say(Ended("finished"))
    assert other.title in told[-1]
    assert finetuning.phase == "finished"  # what came of the first, which waited
    assert finetuning.course.folder == finished.folder
    assert finetuning.weights.there
    ready.show(other)
    assert finetuning.phase == "finished"
    assert finetuning.course.folder == second.assignment.out
    until(lambda: finetuning.weights.shown == "after")
    ready.show(sample)
    assert finetuning.course.folder == finished.folder
    until(lambda: finetuning.weights.shown == "after")


def fine_tunings(played):
    return [p for p in played if p.assignment.work == "fine-tune"]


def test_it_goes_on_when_the_raster_is_deleted(dock, finetuning, training, ready, viewer):
    training.say(report(0, 0.3), report(10))
    viewer.layers.clear()
    assert finetuning.phase == "running"
    training.say(report(20))
    click(dock.monitor.cancel_button)
    training.say(Ended("cancelled"))
    assert "Open a session" in dock.plan.why_not.text()


# -- runs --------------------------------------------------------------------------------


@pytest.fixture
def two_runs(dock, finetuning, sample):
    """An older one that finished, a newer one that was cut off."""
    older = run_in(new_folder(sample.id), sample)
    save_comparison(older, comparison())
    newer = run_in(new_folder(sample.id), sample, state="interrupted", step=120)
    finetuning.shelf.refresh()
    until(lambda: dock.runs.tree.topLevelItemCount() == 2)
    return older, newer


def select(dock, *rows: int) -> None:
    dock.runs.tree.clearSelection()
    for row in rows:
        dock.runs.tree.topLevelItem(row).setSelected(True)


def test_runs_are_listed_the_newest_first(dock, two_runs):
    tree = dock.runs.tree
    texts = [[tree.topLevelItem(k).text(c) for c in (1, 2)] for k in range(2)]
    assert texts == [["interrupted, 120/300", ""], ["finished", "0.400"]]
    assert "began with pretrained" in tree.topLevelItem(0).toolTip(0)
    assert fits(dock)


def test_one_that_was_cut_off_is_offered_to_be_resumed(dock, finetuning, two_runs, played):
    assert "was cut off at step 120 of 300" in dock.runs.offer.text()
    click(dock.runs.offer_button)
    until(lambda: training_of(played) is not None)
    assert training_of(played).assignment.out == two_runs[1].folder
    assert dock.runs.offer.isHidden()
    until(lambda: 0 in finetuning.course.validations)  # from its log
    assert finetuning.course.step == 120


def test_a_run_that_was_cut_off_is_told_of_once_whatever_is_on_screen(
    qtbot, coordinator, sample, told
):
    run_in(new_folder(sample.id), sample, state="interrupted", step=120)
    for _ in range(2):
        coordinator.finetuning.shelf.refresh()
        until(lambda: bool(coordinator.finetuning.shelf.entries))
    assert len(told) == 1
    assert "cut off at step 120 of 300" in told[0]


def test_a_run_is_opened(dock, finetuning, two_runs, ready):
    select(dock, 1)
    click(dock.runs.open_button)
    until(lambda: finetuning.weights.shown == "after")
    assert ready.live.source == str(two_runs[0].folder / "best.safetensors")
    assert "0.40" in dock.result.table.text()
    assert finetuning.phase == "finished"


def test_a_run_without_a_comparison_is_compared(dock, finetuning, two_runs, played):
    select(dock, 0)
    click(dock.runs.compare_button)
    until(lambda: any(p.assignment.work == "compare" for p in played))
    process = next(p for p in played if p.assignment.work == "compare")
    assert finetuning.phase == "comparing"
    save_comparison(two_runs[1], comparison())
    process.say(Comparing(0.1, "scoring"), Ended("finished"))
    until(lambda: "0.40" in dock.result.table.text())


def test_runs_are_compared_side_by_side(dock, two_runs):
    select(dock, 0, 1)
    click(dock.runs.compare_button)
    text = dock.runs.beside.text()
    assert "inter-region" in text
    assert "0.40" in text
    assert "seed 0" in text
    assert dock.runs.beside.isVisible()


def test_runs_are_deleted(dock, two_runs, monkeypatch):
    from qtpy.QtWidgets import QMessageBox

    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    select(dock, 0, 1)
    click(dock.runs.delete_button)
    until(dock.runs.isHidden)
    assert not any(run.folder.exists() for run in two_runs)


def test_a_run_is_exported(dock, two_runs, monkeypatch, tmp_path):
    from qtpy.QtWidgets import QFileDialog

    path = tmp_path / "there.safetensors"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    select(dock, 1)
    click(dock.runs.export_button)
    until(path.exists)
    assert load_model(path, device="cpu").readouts.keys()


def test_a_closed_dock_hears_no_more(qtbot, ready, viewer, played):
    dock = FinetuneDock(viewer)
    dock.show()
    dock.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dock.close()
    qtbot.wait(10)
    ready.finetuning.start(Choices())
    until(lambda: training_of(played) is not None)
    training_of(played).say(report(0, 0.3), report(25, 0.4, best=25), Ended("cancelled"))
    assert ready.finetuning.phase == "idle"
