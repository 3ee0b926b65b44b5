"""The command line does what it says, and mistakes cost one sentence and exit code 2."""

import subprocess
import sys
from pathlib import Path

import pytest

from napari_mtm import __version__, cli, open_session
from napari_mtm.cli import main


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("cli") / "D"
    size = ["--animals", "2", "--units", "12", "--trials", "10"]
    assert main(["simulate", "--out", str(root), "--seed", "1", "--regions", "VISa,LP", *size]) == 0
    return root


def test_simulate_prints_the_folders(simulated, capsys, tmp_path):
    assert main(["simulate", "--out", str(tmp_path / "E"), "--units", "3", "--trials", "2"]) == 0
    (folder,) = capsys.readouterr().out.split()
    assert open_session(folder, units="all").simulated


def test_info(simulated, capsys):
    folder = next(simulated.glob("*/Subjects/SIM001-000/*/*"))
    assert main(["info", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "SIM001-000 2024-01-01 001 (simulated)" in out
    assert "good     12 units" in out
    assert "MB of counts" in out


def test_prepare_then_info(simulated, capsys, tmp_path):
    folder = next(simulated.glob("*/Subjects/SIM001-001/*/*"))
    store = tmp_path / "one.mtm"
    arguments = ["--units", "all", "--window", "-0.2", "0.4", "--bin-size", "0.05"]
    assert main(["prepare", str(folder), "--out", str(store), *arguments]) == 0
    session = open_session(store)
    assert session.n_bins == 12
    assert session == open_session(folder, units="all", window=(-0.2, 0.4), bin_size=0.05)
    assert "(simulated)" in capsys.readouterr().out
    assert main(["info", str(store)]) == 0
    assert "12 bins" in capsys.readouterr().out


def test_prepare_by_eid_into_a_folder(simulated, tmp_path):
    folder = next(simulated.glob("*/Subjects/SIM001-001/*/*"))
    eid = open_session(folder).id
    assert main(["prepare", eid, "--one", str(simulated), "--out", str(tmp_path)]) == 0
    (store,) = tmp_path.iterdir()
    assert store.name == "SIM001-001_2024-01-02_001.mtm"
    assert open_session(store).id == eid


def test_cache_lists_and_clears(own_cache, sample_path, capsys):
    open_session(sample_path)
    assert main(["cache"]) == 0
    out = capsys.readouterr().out
    assert "(simulated)" in out
    assert f"in 1 sessions, in {own_cache}" in out
    assert main(["cache", "clear"]) == 0
    assert "freed" in capsys.readouterr().out
    assert list(own_cache.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["open", "/nowhere"], "no file or folder /nowhere"),
        (["info", "/nowhere"], "no file or folder /nowhere"),
        (["prepare", "sample", "--out", "/dev/null/x"], "Cannot write"),
        (["prepare", "sample", "--out", "x", "--bin-size", "0.3"], "whole number of bins"),
        (["simulate", "--out", "{tmp}/D", "--regions", "CA1,Atlantis"], "Atlantis is not"),
        (["simulate", "--out", "{tmp}/D", "--animals", "0"], "at least one animal"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, message, capsys, tmp_path):
    assert main([a.format(tmp=tmp_path) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("napari-mtm: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [["prepare"], ["fly"], ["simulate", "--animals", "many"]])
def test_wrong_arguments_are_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_preparing_a_store_again_is_a_mistake(simulated, tmp_path, capsys):
    folder = next(simulated.glob("*/Subjects/SIM001-000/*/*"))
    store = str(tmp_path / "s.mtm")
    assert main(["prepare", str(folder), "--out", store]) == 0
    assert main(["prepare", store, "--out", store]) == 2
    assert "prepared session already" in capsys.readouterr().err


def test_interrupting_is_exit_code_130(monkeypatch, capsys):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_info", interrupt)
    assert main(["info", "sample"]) == 130
    assert capsys.readouterr().err == "napari-mtm: interrupted\n"


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == __version__


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "napari_mtm", "info", "/nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
