"""Importing the package is cheap; below `ui` it needs little."""

import subprocess
import sys

import pytest

HEAVY = (
    "qtpy",
    "PyQt5",
    "PyQt6",
    "PySide6",
    "napari",
    "torch",
    "one",
    "ibllib",
    "brainbox",
    "numpy",
    "pandas",
)


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_is_cheap_and_loads_nothing_heavy():
    code = (
        "import sys, time; before = time.process_time(); import napari_mtm;"
        "spent = time.process_time() - before;"
        f"print(spent, [m for m in {HEAVY!r} if m in sys.modules])"
    )
    spent, loaded = min(python(code).split(" ", 1) for _ in range(3))
    assert loaded == "[]"
    assert float(spent) < 0.3


def test_sessions_need_neither_qt_nor_napari_nor_torch_nor_one():
    code = (
        "import sys, napari_mtm, napari_mtm.recording.many; napari_mtm.open_session('sample');"
        f"print([m for m in {HEAVY[:8]!r} if m in sys.modules])"
    )
    assert python(code) == "[]"


@pytest.mark.parametrize(
    "missing", [("one", "iblatlas", "napari", "qtpy", "pyarrow", "rich", "platformdirs")]
)
def test_rooms_below_ui_work_on_a_bare_compute_node(missing):
    """As on a machine with little more than numpy, pandas, scipy and pydantic."""
    code = (
        "import sys\n"
        f"for name in {missing!r}: sys.modules[name] = None\n"
        "from napari_mtm.recording.simulation.animal import Recipe, simulate_animal\n"
        "from napari_mtm.recording.preparation import Preparation\n"
        "from napari_mtm.recording.prepare import prepare\n"
        "from napari_mtm import save_session, open_session\n"
        "from pathlib import Path; import tempfile\n"
        "animal = simulate_animal(Recipe(units=6, trials=8), 0)\n"
        "session = prepare(animal.recording, Preparation())\n"
        "path = Path(tempfile.mkdtemp()) / 's.mtm'\n"
        "save_session(session, path)\n"
        "print(open_session(path) == session)\n"
        "import napari_mtm.cli\n"
    )
    assert python(code) == "True"


def test_the_public_names_are_there():
    import napari_mtm

    for name in napari_mtm.__all__:
        assert getattr(napari_mtm, name) is not None
    assert set(napari_mtm.__all__) <= set(dir(napari_mtm))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = napari_mtm.nothing_like_it
