"""What ships: the manifest, the sample in the wheel, and nothing that it should not."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
import yaml
from npe2 import PluginManifest
from packaging.requirements import Requirement

import napari_mtm
from tests.conftest import ROOT

CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


def test_the_manifest_at_the_top_is_the_one_that_ships():
    assert (ROOT / "napari.yaml").resolve() == ROOT / "src" / "napari_mtm" / "napari.yaml"
    manifest = PluginManifest.from_file(ROOT / "napari.yaml")
    manifest.validate_imports()
    names = {w.display_name for w in manifest.contributions.widgets}
    assert names == {"Session", "Find sessions", "Predict", "Traces", "Units", "Fine-tune"}
    assert {s.key for s in manifest.contributions.sample_data} == {"sample"}


def test_the_installed_plugin_has_the_manifest():
    assert PluginManifest.from_distribution("napari-mtm").name == "napari-mtm"


def test_core_dependencies_bring_no_qt():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {d.split(">")[0].split("[")[0].lower() for d in project["dependencies"]}
    assert not names & {"pyqt5", "pyqt6", "pyside2", "pyside6", "ibllib"}
    assert "napari" in names
    assert not [d for d in project["dependencies"] if d.startswith("napari[")]


def test_every_dependency_is_imported_somewhere():
    """One that nothing uses is a way for things to break, and no more."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {Requirement(d).name.lower().replace("-", "_") for d in project["dependencies"]}
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", text, flags=re.MULTILINE))
    called = {"one_api": "one"}
    unused = {name for name in names if called.get(name, name) not in imported}
    assert unused <= {"magicgui"}  # forms of small dialogs are to be made with it


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
    assert brought_by("all") == {"napari[pyqt6]", "blosc[]", "matplotlib[]"}
    assert brought_by("ibl") == {"ibllib[]"}  # which brings PyQt5


def test_what_repeats_the_version_is_of_this_one():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, flags=re.MULTILINE) == [napari_mtm.__version__]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## ([0-9.]+)", changes, flags=re.MULTILINE)[0] == napari_mtm.__version__


def test_the_reference_has_every_public_name():
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    named = re.findall(r"^::: (.+)$", reference, flags=re.MULTILINE)
    assert sorted(named) == sorted(f"{home}.{name}" for name, home in napari_mtm._HOMES.items())


def test_the_citation_is_of_this_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["authors"] == project["authors"]
    assert citation["license"] == project["license"]
    assert citation["repository-code"] == project["urls"]["Source"]


def test_hooks_check_with_the_versions_that_make_does():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (ruff,) = (repo for repo in hooks["repos"] if repo["repo"].endswith("ruff-pre-commit"))
    assert f"ruff=={ruff['rev'].removeprefix('v')}" in CONSTRAINTS


def test_the_workflow_has_the_torch_that_make_has():
    make = re.findall(r"^TORCH \?= (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    tests = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"TORCH: (.+)$", tests, flags=re.MULTILINE)) == set(make)


def test_what_makes_the_docs_is_pinned():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {line.split("==")[0] for line in CONSTRAINTS}
    asked = {Requirement(d).name for d in extras["optional-dependencies"]["docs"]}
    assert asked <= pinned


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(("target", "installed"), [("run", False), ("test", True)])
def test_the_tests_have_ibllib_and_the_program_has_not(target, installed, tmp_path):
    make = ["make", "--dry-run", target, f"VENV={tmp_path / 'none'}"]
    done = subprocess.run(make, capture_output=True, text=True, check=True, cwd=ROOT)
    asked = re.findall(r'--editable "\.\[(.*)\]"', done.stdout)
    wanted = set().union(*(brought_by(name) for extras in asked for name in extras.split(",")))
    assert "napari[pyqt6]" in wanted
    assert ("ibllib[]" in wanted) == installed


def build(what: str, source: Path, out: Path) -> Path:
    """Build a "wheel" or an "sdist" of a source tree, and return it."""
    code = f"import hatchling.build as b, sys; print(b.build_{what}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)],
        capture_output=True,
        text=True,
        check=True,
        cwd=source,
    )
    return out / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the checkout."""
    pytest.importorskip("hatchling.build", reason="hatchling is not installed")
    left_out = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache")
    copy = tmp_path_factory.mktemp("built") / "source"
    return shutil.copytree(ROOT, copy, symlinks=True, ignore=left_out)


@pytest.fixture(scope="module")
def wheel(source) -> Path:
    return build("wheel", source, source.parent)


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def links_of(page: str) -> list[str]:
    """Where links and pictures of a page point to, in Markdown or in HTML."""
    markdown = re.findall(r"\]\(\s*([^)\s]+)", page)
    named = re.findall(r"^\s*\[[^\]]+\]:\s*(\S+)", page, flags=re.MULTILINE)
    html = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", page)
    return [*markdown, *named, *html]


def test_the_package_says_where_the_project_is(wheel):
    urls = dict(line.split(", ") for line in metadata_of(wheel).get_all("Project-URL"))
    assert set(urls) == {"Homepage", "Source", "Issues", "Documentation", "Changelog"}
    assert all(url.startswith(urls["Source"]) for url in urls.values())
    assert urls["Source"].startswith("https://")


def test_links_and_pictures_of_the_packages_page_lead_somewhere(wheel):
    """On a package index nothing lies beside the page."""
    metadata = metadata_of(wheel)
    assert metadata["Description-Content-Type"] == "text/markdown"
    page, readme = metadata.get_payload(), (ROOT / "README.md").read_text()
    links, written = links_of(page), links_of(readme)
    assert all(link.startswith("https://") for link in links)
    at = dict(line.split(", ") for line in metadata.get_all("Project-URL"))["Source"]
    for there, here in zip(links, written, strict=True):
        if not here.startswith("https://"):
            assert (ROOT / here).exists()
            kind = "raw" if here.endswith(".png") else "blob"
            assert there == f"{at}/{kind}/HEAD/{here}"
    assert sum("/raw/" in link for link in links) == 7
    without = r"\]\([^)]+\)"
    assert re.sub(without, "", page).strip() == re.sub(without, "", readme).strip()


def test_the_source_distribution_builds_the_same(source, wheel, tmp_path):
    with tarfile.open(build("sdist", source, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    again = build("wheel", unpacked, tmp_path)
    assert metadata_of(again).as_string() == metadata_of(wheel).as_string()
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


def test_the_wheel_holds_the_sample_and_works_alone(wheel, tmp_path):
    """Unpacked where there is no checkout, the sample is found inside the package."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "napari_mtm/napari.yaml" in names
    assert "napari_mtm/recording/beryl.csv" in names
    assert "napari_mtm/py.typed" in names
    assert "napari_mtm/weights/sample.safetensors" in names
    assert "napari_mtm/weights/pretrained.safetensors" in names
    assert "napari_mtm/recording/presets.json" in names
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
