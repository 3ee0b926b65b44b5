"""Engines of tests wait for experts, however slow the machine is."""

import pytest

from tests.held_experts import waiting


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    waiting(monkeypatch, 60.0)
