"""Viewers for the tests of the window."""

import pytest
from napari.components import ViewerModel

from napari_mtm.ui.coordinator import Coordinator, coordinator_of
from tests.held_experts import waiting


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Answers wait for experts, however slow the machine is."""
    waiting(monkeypatch, 60.0)


@pytest.fixture
def viewer() -> ViewerModel:
    """A viewer without a window."""
    return ViewerModel()


@pytest.fixture
def coordinator(viewer, sample) -> Coordinator:
    """The coordinator of that viewer, with the sample open."""
    coordinator = coordinator_of(viewer)
    coordinator.show(sample)
    return coordinator
