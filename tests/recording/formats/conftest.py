"""What other formats are compared with: the simulated sample, read from its ALF folder."""

import pytest

from napari_mtm import Session
from napari_mtm.recording.opening import find_source
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.raw import Recording


@pytest.fixture(scope="session")
def animal() -> Recording:
    """The sample as its source holds it."""
    return find_source("sample").read()


@pytest.fixture(scope="session")
def expected(animal: Recording) -> Session:
    """The sample cut as by default."""
    return prepare(animal, Preparation())
