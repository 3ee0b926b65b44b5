"""A pass over one trial is recorded on a GPU, and says what it would say otherwise."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch

from napari_mtm.model.model import Model
from napari_mtm.model.replay import Replays
from tests.model.small import PRESETS, small_counts, small_model, small_session, some_hidden

HALF = 0.05
"""What half precision may change a log rate by: on a GPU all passes are worked out in it."""


def on_gpu(test):
    """Mark a test that needs one."""
    there = torch.cuda.is_available()
    return pytest.mark.gpu(pytest.mark.skipif(not there, reason="There is no GPU.")(test))


class Work:
    """Adds up what it is given and weights, and counts how often it is run."""

    def __init__(self, device: str, *, looks: bool = False, greedy: bool = False) -> None:
        self.weights = torch.ones(3, device=device)
        self.looks, self.greedy, self.runs = looks, greedy, 0

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.runs += 1
        if self.looks:
            x.sum().item()  # waits for the GPU, which no recording can
        found = x + self.weights, 2 * x
        if self.greedy and torch.cuda.is_current_stream_capturing():
            torch.empty(2**46, dtype=torch.uint8, device=x.device)  # more than any GPU has
        return found


def run(replays: Replays, work: Work, value: float, *, name="sum", state=None) -> list[float]:
    x = torch.full((3,), value, device=work.weights.device)
    first, second = replays.run(name, state or work, work, x)
    return [first[0].item(), second[0].item()]


@on_gpu
def test_a_pass_that_is_asked_for_again_is_replayed():
    replays, work = Replays(), Work("cuda")
    assert run(replays, work, 1.0) == [2, 2]
    assert work.runs == 1
    assert run(replays, work, 2.0) == [3, 4]
    recorded = work.runs
    assert run(replays, work, 3.0) == [4, 6]
    work.weights.add_(10)  # in place, as training does: the recording reads them
    assert run(replays, work, 3.0) == [14, 6]
    assert work.runs == recorded
    assert run(replays, work, 3.0, state=object()) == [14, 6]
    assert run(replays, work, 4.0, name="other") == [15, 8]
    assert work.runs == recorded + 2


@on_gpu
def test_what_was_returned_stays_as_it_was():
    replays, work = Replays(), Work("cuda")
    x = torch.ones(3, device="cuda")
    found = [replays.run("sum", work, work, k * x)[0] for k in range(4)]
    assert [tensor[0].item() for tensor in found] == [1, 2, 3, 4]


def test_what_cannot_be_recorded_is_run():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    replays, work = Replays(), Work(device, looks=True)
    assert [run(replays, work, k) for k in (1.0, 2.0, 3.0, 4.0)] == [[2, 2], [3, 4], [4, 6], [5, 8]]


@on_gpu
def test_what_has_no_room_for_a_recording_is_run():
    replays, work = Replays(), Work("cuda", greedy=True)
    assert [run(replays, work, k) for k in (1.0, 2.0, 3.0)] == [[2, 2], [3, 4], [4, 6]]


@on_gpu
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("task", ["neuron", "causal", "intra-region"])
def test_a_model_says_on_a_gpu_what_it_says_on_the_cpu(preset, task):
    session = small_session()
    on_cpu, model = (small_model(preset, session) for _ in range(2))
    model.to("cuda")
    for k in range(5):
        counts, hidden = small_counts(1, seed=k), some_hidden(k)
        expected = on_cpu.predict(counts, hidden, task=task, session=session)
        found = model.predict(counts, hidden, task=task, session=session)
        np.testing.assert_allclose(found, expected, atol=HALF)
    with torch.no_grad():
        for changed in (on_cpu, model):
            for parameter in changed.network.parameters():
                parameter.mul_(0.5)
    unlike = expected
    expected = on_cpu.predict(counts, hidden, task=task, session=session)
    assert np.abs(expected - unlike).max() > 4 * HALF
    for _ in range(3):
        found = model.predict(counts, hidden, task=task, session=session)
        np.testing.assert_allclose(found, expected, atol=HALF)


def test_a_copied_model_goes_by_its_own_weights():
    session, counts, hidden = small_session(), small_counts(1), some_hidden()
    model = small_model("default", session).to("cuda" if torch.cuda.is_available() else "cpu")

    def predict(model: Model) -> np.ndarray:
        return [model.predict(counts, hidden, session=session) for _ in range(3)][-1]

    before = predict(model)
    copied = deepcopy(model)
    with torch.no_grad():
        for parameter in copied.network.parameters():
            parameter.mul_(0.5)
    assert np.abs(predict(copied) - before).max() > 4 * HALF
    np.testing.assert_array_equal(predict(model), before)


@on_gpu
def test_threads_do_not_get_each_others_answers():
    session = small_session()
    model = small_model("default", session).to("cuda")
    given = [(small_counts(1, seed=k), some_hidden(k)) for k in range(8)]

    def predict(k: int) -> np.ndarray:
        counts, hidden = given[k % 8]
        return model.predict(counts, hidden, session=session)

    alone = [predict(k) for k in range(8)]
    assert max(np.abs(alone[k] - alone[0]).max() for k in range(1, 8)) > 4 * HALF
    with ThreadPoolExecutor(4) as pool:
        for k, found in enumerate(pool.map(predict, range(400))):
            np.testing.assert_array_equal(found, alone[k % 8])
