"""What ships: the manifest, the sample in the wheel, and nothing that it should not."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
from npe2 import PluginManifest
from packaging.requirements import Requirement

from tests.conftest import ROOT


def test_the_manifest_at_the_top_is_the_one_that_ships():
    assert (ROOT / "napari.yaml").resolve() == ROOT / "src" / "napari_mtm" / "napari.yaml"
    manifest = PluginManifest.from_file(ROOT / "napari.yaml")
    manifest.validate_imports()
    names = {w.display_name for w in manifest.contributions.widgets}
    assert names == {"Session", "Predict", "Traces", "Units", "Fine-tune"}
    assert {s.key for s in manifest.contributions.sample_data} == {"sample"}


def test_the_installed_plugin_has_the_manifest():
    assert PluginManifest.from_distribution("napari-mtm").name == "napari-mtm"


def test_core_dependencies_bring_no_qt():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {d.split(">")[0].split("[")[0].lower() for d in project["dependencies"]}
    assert not names & {"pyqt5", "pyqt6", "pyside2", "pyside6", "ibllib"}
    assert "napari" in names
    assert not [d for d in project["dependencies"] if d.startswith("napari[")]


def brought_by(extra: str) -> set[str]:
    """What an extra installs, with the extras that it is made of."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    found = set()
    for requirement in map(Requirement, extras[extra]):
        if requirement.name == "napari-mtm":
            found.update(*map(brought_by, requirement.extras))
        else:
            found.add(f"{requirement.name}[{','.join(requirement.extras)}]")
    return found


def test_all_extras_bring_one_qt_which_napari_supports():
    assert brought_by("all") == {"napari[pyqt6]", "h5py[]", "matplotlib[]"}
    assert brought_by("ibl") == {"ibllib[]"}  # which brings PyQt5


@pytest.mark.parametrize(("target", "installed"), [("run", False), ("test", True)])
def test_the_tests_have_ibllib_and_the_program_has_not(target, installed, tmp_path):
    make = ["make", "--dry-run", target, f"VENV={tmp_path / 'none'}"]
    done = subprocess.run(make, capture_output=True, text=True, check=True, cwd=ROOT)
    asked = re.findall(r'--editable "\.\[(.*)\]"', done.stdout)
    wanted = set().union(*(brought_by(name) for extras in asked for name in extras.split(",")))
    assert "napari[pyqt6]" in wanted
    assert ("ibllib[]" in wanted) == installed


def test_the_wheel_holds_the_sample_and_works_alone(tmp_path):
    """Unpacked where there is no checkout, the sample is found inside the package."""
    pytest.importorskip("hatchling.build", reason="hatchling is not installed")
    source = tmp_path / "source"
    shutil.copytree(
        ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__")
    )
    code = "import hatchling.build as b, sys; print(b.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=source,
    )
    wheel = tmp_path / done.stdout.strip().splitlines()[-1]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "napari_mtm/napari.yaml" in names
    assert "napari_mtm/recording/beryl.csv" in names
    assert "napari_mtm/py.typed" in names
    assert "napari_mtm/weights/sample.safetensors" in names
    assert "napari_mtm/weights/pretrained.safetensors" in names
    assert "napari_mtm/reproducing/paper_sessions.json" in names
    assert any(
        n.startswith("napari_mtm/sample_data/") and n.endswith("spikes.times.npy") for n in names
    )
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/"))]
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import napari_mtm;"
        "assert 'site' in napari_mtm.__file__;"
        "print(napari_mtm.open_session('sample').title)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "(simulated)" in done.stdout
