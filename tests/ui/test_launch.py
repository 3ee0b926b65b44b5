"""The launcher opens on Qt 6, also where ibllib brought Qt 5 along."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from napari_mtm.errors import MtmError
from napari_mtm.recording.preparation import Preparation
from napari_mtm.ui import launch

OPEN = """
from napari_mtm.ui.launch import choose_qt, window
from napari_mtm.recording.preparation import Preparation
choose_qt()
viewer = window("sample", one=None, preparation=Preparation())
import qtpy
print(qtpy.API_NAME, qtpy.QT_VERSION.split(".")[0], viewer.title)
viewer.close()
"""

FAIL = """
import time
from napari_mtm.ui.launch import choose_qt, window
choose_qt()
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.recording.preparation import Preparation
viewer = window("sample", one=None, preparation=Preparation())
viewer.show()
from qtpy.QtWidgets import QApplication
end = time.monotonic() + 60
while coordinator_of(viewer).live.answer is None and time.monotonic() < end:
    QApplication.processEvents()
coordinator_of(viewer).finetuning.shelf.refresh()  # a job goes on
raise KeyError("of the script itself")
"""


def in_a_process(code: str, **environment: str) -> str:
    variables = {k: v for k, v in os.environ.items() if k != "QT_API"} | environment
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1]


def test_it_opens_on_qt_6_with_both_installed():
    if find_spec("PyQt5") is None:
        pytest.skip("PyQt5 is not installed")
    # Left alone, qtpy would take the older one: the test would be empty otherwise.
    assert in_a_process("import qtpy; print(qtpy.API_NAME)") == "PyQt5"
    assert in_a_process(OPEN) == "PyQt6 6 napari-mtm"


def test_a_script_that_fails_with_the_window_open_says_why():
    done = subprocess.run([sys.executable, "-c", FAIL], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.rstrip().splitlines()[-1] == "KeyError: 'of the script itself'"


def test_the_users_choice_is_respected(monkeypatch):
    monkeypatch.setenv("QT_API", "pyside6")
    monkeypatch.delitem(sys.modules, "qtpy", raising=False)
    launch.choose_qt()
    assert os.environ["QT_API"] == "pyside6"


def test_the_first_qt_6_is_taken(monkeypatch):
    monkeypatch.delenv("QT_API", raising=False)
    monkeypatch.delitem(sys.modules, "qtpy", raising=False)
    monkeypatch.setattr(launch, "find_spec", lambda name: True if name == "PySide6" else None)
    launch.choose_qt()
    assert os.environ["QT_API"] == "pyside6"


def test_without_qt_6_it_says_what_to_install(monkeypatch):
    monkeypatch.delenv("QT_API", raising=False)
    monkeypatch.delitem(sys.modules, "qtpy", raising=False)
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    with pytest.raises(MtmError, match=r"pip install 'napari-mtm\[all\]'"):
        launch.choose_qt()


def test_without_a_screen_it_says_so(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MtmError, match="no screen to open a window on"):
        launch.launch("sample", one=None, preparation=Preparation())


def test_a_source_that_is_not_there_opens_no_window(monkeypatch):
    monkeypatch.setattr(launch, "window", None)
    with pytest.raises(MtmError, match="no file or folder"):
        launch.launch("/nowhere", one=None, preparation=Preparation())
