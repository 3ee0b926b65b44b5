"""How long a fine-tuning takes is measured in what it does."""

from dataclasses import replace

import pytest
import torch

from napari_mtm.model.model import new_model
from napari_mtm.training.pace import Pace, measure
from napari_mtm.training.settings import Settings
from tests.training.waves import SMALL, waves

PACE = Pace(begin=2.0, step={"units": 0.1, "lora": 0.2, "full": 0.3}, check=1.0)


def test_all_parts_are_added_up() -> None:
    settings = Settings(steps=300, check_every=25)
    assert PACE.seconds(settings, "full") == pytest.approx(2 + 300 * 0.3 + 12)
    assert PACE.seconds(settings, "units") == pytest.approx(2 + 300 * 0.1 + 12)
    # Each scope is tried for 30 steps and a validation, then the slowest is taken.
    assert PACE.seconds(settings, "auto") == pytest.approx(2 + 90 + 12 + 30 * 0.6 + 3)
    once = replace(settings, check_every=0)
    assert PACE.seconds(once, "full") == pytest.approx(2 + 90 + 1)


def test_nothing_is_changed_by_measuring() -> None:
    model = new_model(waves(1), sizes=SMALL, device="cpu")
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    pace = measure(model, waves(2), Settings(), seconds=0.1)
    assert torch.equal(torch.rand(1), expected)
    assert min(pace.begin, *pace.step.values(), pace.check) > 0
    after = model.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not model.knows(waves(2))
