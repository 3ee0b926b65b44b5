"""The command line does what it says, and mistakes cost one sentence and exit code 2."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from napari_mtm import (
    Session,
    __version__,
    cli,
    evaluate,
    load_model,
    new_model,
    open_session,
    save_model,
    save_session,
)
from napari_mtm.__main__ import main as program
from napari_mtm.cli import main
from napari_mtm.model.network import DefaultSizes
from napari_mtm.reproducing.arms import Arm, Scale, Study
from napari_mtm.training.run import Run
from tests.conftest import trials
from tests.recording.alyx import EID, serving


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


def test_prepare_of_several_is_a_table_and_says_what_failed(simulated, tmp_path, capsys):
    first, second = sorted(simulated.glob("*/Subjects/*/*/*"))
    (tmp_path / "list").write_text(f"# sessions\n\n  {second}\n/nowhere\n")
    out = tmp_path / "O"
    arguments = ["--out", str(out), "--workers", "1", "--units", "all"]
    assert main(["prepare", str(first), "--from", str(tmp_path / "list"), *arguments]) == 2
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    for line, folder in zip(lines, (first, second), strict=False):
        session = open_session(folder, units="all")
        size = (out / f"{session.name.replace(' ', '_')}.mtm").stat().st_size / 1e6
        found = f"{session.n_units} units {session.n_trials} trials {size:.1f} MB"
        assert line.split() == [*session.title.split(), "done", *found.split()]
    assert lines[2].split("  ")[0] == "/nowhere"
    assert lines[2].endswith("  failed         There is no file or folder /nowhere.")
    assert len(lines) == 3
    assert captured.err == (
        "napari-mtm: 1 of 3 sessions could not be prepared, as the table says; "
        "the same command tries those again.\n"
    )
    assert main(["prepare", str(simulated), *arguments]) == 0
    captured = capsys.readouterr()
    assert [line.count("  there already  ") for line in captured.out.splitlines()] == [1, 1]
    assert captured.err == ""


def test_ctrl_c_leaves_no_process_and_the_next_run_goes_on(simulated, tmp_path, capsys):
    out = tmp_path / "O"
    arguments = ["prepare", str(simulated), "sample", "--out", str(out), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_mtm", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background would have it ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    while process.poll() is None and not list(out.glob("SIM*.mtm")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # to all its processes, as a terminal does
    # This returns when no process is left that could write.
    written = process.communicate(timeout=30)
    assert (process.returncode, *written) == (130, "", "napari-mtm: interrupted\n")
    assert all(open_session(store).simulated for store in out.iterdir())
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  there already  " in lines[0]
    assert "  done  " in lines[-1]
    assert len(list(out.iterdir())) == len(lines) == 3


def test_a_list_that_cannot_be_read(tmp_path, capsys):
    (tmp_path / "list").write_bytes(b"\xff\xfe")
    assert main(["prepare", "--from", str(tmp_path / "list"), "--out", str(tmp_path / "O")]) == 2
    assert "is no text" in capsys.readouterr().err
    assert not (tmp_path / "O").exists()


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
        (["prepare", "--out", "{tmp}/x"], "name a SOURCE"),
        (["prepare", "--from", "/dev/null", "--out", "{tmp}/x"], "nothing to prepare"),
        (["prepare", "--from", "{tmp}/no", "--out", "{tmp}/x"], "Cannot read {tmp}/no: No such"),
        (["prepare", "sample", "x", "--out", "/dev/null/x"], "cannot be a folder"),
        (["prepare", "sample", "x", "--out", "{tmp}/x", "--workers", "0"], "at least one worker"),
        (["simulate", "--out", "{tmp}/D", "--regions", "CA1,Atlantis"], "Atlantis is not"),
        (["simulate", "--out", "{tmp}/D", "--animals", "0"], "at least one animal"),
        (["info", "x" * 5000], "no file or folder xxx"),
        (["info", "null\0character"], "no file or folder null"),
        (["prepare", "sample", "--out", "{tmp}/" + "x" * 5000], "Cannot write"),
        (["prepare", "sample", "--out", "/dev/full"], "it is a device or a pipe. Name a new file"),
        (["prepare", "sample", "--out", "{tmp}/x", "--bin-size", "1e-9"], "more than 100,000 bins"),
        (["simulate", "--out", "{tmp}/D", "--seed", "9" * 30], "seed"),
        (["simulate", "--out", "{tmp}/" + "x" * 300], "Cannot write"),
        (["reproduce", "--out", __file__], "cannot be a folder: File exists"),
        (["reproduce", "--out", "{tmp}/x", "--stores", "{tmp}"], "no prepared sessions (*.mtm)"),
        (["reproduce", "--out", "{tmp}/x", "--stores", __file__], "is not a prepared session"),
        (["import-published", "/dev/zero", "--out", "{tmp}/x"], "a device or a pipe"),
        (["evaluate", "--model", "/dev/zero", "--session", "sample"], "a device or a pipe"),
        (["evaluate", "--model", "sample", "--session", "sample", "--device", "meta"], "use meta"),
    ],
    ids=range(24),
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, message, capsys, tmp_path):
    assert main([a.format(tmp=tmp_path) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert message.format(tmp=tmp_path) in captured.err
    assert captured.err.startswith("napari-mtm: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare"],
        ["fly"],
        ["simulate", "--animals", "many"],
        ["reproduce", "--out", "x", "--one", "x", "--stores", "x"],
    ],
)
def test_wrong_arguments_are_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_letters_that_the_output_has_no_code_for_end_nothing(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    with pytest.raises(SystemExit):
        main(["--version"])
    print("α", flush=True)
    assert written.getvalue().split() == [__version__.encode(), b"\\u03b1"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_standard_output_that_is_full():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "napari_mtm", "cache"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, "napari-mtm: No space left on device.\n")


def test_a_reader_that_has_enough_is_no_mistake():
    running = subprocess.Popen(
        [sys.executable, "-m", "napari_mtm", "info", "sample"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    running.stdout.close()
    with running.stderr as said:
        assert said.read() == ""
    assert running.wait() == 0


class _Interrupting:
    """Stands for a person who presses Ctrl-C while a module is imported."""

    def find_spec(self, name, path=None, target=None):
        if name == "napari_mtm.cli":
            raise KeyboardInterrupt


def test_ctrl_c_while_it_is_loaded(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "napari_mtm.cli")
    monkeypatch.setattr(sys, "meta_path", [_Interrupting(), *sys.meta_path])
    assert program() == 130
    assert capsys.readouterr().err == "napari-mtm: interrupted\n"


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    arguments = ["simulate", "--units", "3", "--trials", "2", "--out", str(tmp_path / "D")]
    assert main(arguments) == 2
    assert "No space left on device. Nothing was kept" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals and links are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_ends_a_simulation_leaves_no_process_and_no_folder(tmp_path, number):
    size = ["--animals", "12", "--units", "60", "--trials", "200"]
    command = ["-m", "napari_mtm", "simulate", "--out", str(tmp_path / "D"), *size]
    running = subprocess.Popen([sys.executable, *command])
    try:
        while len(list(tmp_path.rglob("alf"))) == 0:
            time.sleep(0.02)
            assert running.poll() is None
        children = psutil.Process(running.pid).children(recursive=True)
        assert children
    finally:
        running.send_signal(number)
    assert running.wait(60) == -number
    assert psutil.wait_procs(children, 60)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_json_goes_where_a_link_leads(scored, tmp_path, capsys):
    (tmp_path / "link").symlink_to(tmp_path / "scores.json")
    arguments = ["--model", str(scored / "m.safetensors"), "--session", str(scored / "tiny.mtm")]
    assert main(["evaluate", *arguments, "--quick", "--json", str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "scores.json").read_text())["quick"]


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


# Scores


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    """A folder with a store, weights of a model of it, and weights of finer bins."""
    folder = tmp_path_factory.mktemp("scored")
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.5, (20, 20, 6))
    session = Session.from_counts(counts, ["CA1"] * 4 + ["LP"] * 2, trials=trials(20), id="tiny")
    save_session(session, folder / "tiny.mtm")
    sizes = DefaultSizes(bins=20, width=16, layers=1, heads=2, hidden=16, rank=4, head=4)
    finer = replace(session, window=(-0.5, -0.3), bin_size=0.01)
    for name, of in (("m", session), ("finer", finer)):
        model = new_model(of, "default", sizes=sizes, device="cpu")
        model.trained.add(of.id)
        save_model(model, folder / f"{name}.safetensors")
    return folder


def test_evaluate_writes_the_scores_and_prints_them(scored, tmp_path, capsys):
    weights, store, out = scored / "m.safetensors", scored / "tiny.mtm", tmp_path / "new" / "f.json"
    arguments = ["evaluate", "--model", str(weights), "--session", str(store), "--json", str(out)]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    expected = evaluate(load_model(weights), open_session(store))
    assert out.read_text() == expected.to_json()
    assert captured.out == f"{expected}\n"
    assert captured.err == ""
    found = json.loads(out.read_text())
    assert list(found["tasks"]) == ["co-smoothing", "forward", "intra-region", "inter-region"]
    assert found["quick"] is False


def test_evaluate_beside_another_model_and_quickly(scored, tmp_path, capsys):
    weights, out = str(scored / "m.safetensors"), tmp_path / "f.json"
    arguments = ["--session", str(scored / "tiny.mtm"), "--json", str(out)]
    assert (
        main(["evaluate", "--model", weights, "--quick", "--other", f"a={weights}", *arguments])
        == 0
    )
    found = json.loads(out.read_text())
    assert found["quick"] is True
    for task in found["tasks"].values():
        forecasts = ["shrinkage", "ridge-ar"]
        assert list(task) == [
            "model",
            "a",
            "mean-rate",
            "slow-rate",
            "psth",
            *forecasts,
            "reduced-rank",
        ]
        assert task["a"] == task["model"]
    assert "quick" in capsys.readouterr().out


@pytest.fixture(scope="module")
def benched(tmp_path_factory) -> Path:
    """A folder with a store of windows of 1 s over half an hour, and weights of a model of it."""
    folder = tmp_path_factory.mktemp("benched")
    counts = np.random.default_rng(0).poisson(0.5, (60, 50, 6))
    session = Session.from_counts(counts, ["CA1"] * 6, window=(0.0, 1.0), id="windows")
    starts = 30.0 * np.arange(60)
    table = pd.DataFrame({"intervals_0": starts, "intervals_1": starts + 1})
    session = replace(session, align="any-time", trials=table)
    save_session(session, folder / "windows.mtm")
    sizes = DefaultSizes(bins=50, width=16, layers=1, heads=2, hidden=16, rank=4, head=4)
    model = new_model(session, "default", sizes=sizes, device="cpu")
    save_model(model, folder / "m.safetensors")
    return folder


def test_evaluate_by_the_protocol_of_brain_wide_bench(benched, tmp_path, capsys):
    weights, store, out = benched / "m.safetensors", benched / "windows.mtm", tmp_path / "f.json"
    arguments = ["--model", str(weights), "--session", str(store), "--json", str(out)]
    assert main(["evaluate", "--protocol", "brain-wide-bench", *arguments]) == 0
    captured = capsys.readouterr()
    expected = evaluate(load_model(weights), open_session(store), protocol="brain-wide-bench")
    assert out.read_text() == expected.to_json()
    assert captured.out == f"{expected}\n"
    found = json.loads(out.read_text())
    assert found["protocol"] == "brain-wide-bench"
    assert found["trials"] == 20 - 2  # of two chunks of ten, each without its first
    assert list(found["tasks"]) == ["co-smoothing", "forward"]
    for task in found["tasks"].values():
        assert list(task) == ["model", "mean-rate", "shrinkage", "ridge-ar", "reduced-rank"]


def test_evaluate_without_slow_levels(scored, tmp_path):
    weights, store, out = scored / "m.safetensors", scored / "tiny.mtm", tmp_path / "f.json"
    arguments = ["--model", str(weights), "--session", str(store), "--json", str(out)]
    assert main(["evaluate", "--no-slow-levels", *arguments]) == 0
    expected = evaluate(load_model(weights), open_session(store), slow_levels=False)
    assert out.read_text() == expected.to_json()
    assert "slow-rate" not in expected.summary()["predictor"].to_list()


def test_evaluate_decodes_as_published_where_asked(scored, capsys):
    arguments = ["evaluate", "--model", str(scored / "m.safetensors")]
    arguments += ["--session", str(scored / "tiny.mtm")]
    choices = []
    for more in ([], ["--published-decoding"]):
        assert main([*arguments, *more]) == 0
        lines = capsys.readouterr().out.splitlines()
        choices.append([line for line in lines if line.startswith("choice")])
    assert choices[0] == []  # too few trials of a choice for a readout
    assert len(choices[1]) == 1


@pytest.mark.parametrize(
    ("model", "more", "messages"),
    [
        ("finer", [], ["bins of 10 ms", "20 ms wide"]),
        ("nowhere", [], ["Cannot read", "nowhere.safetensors"]),
        ("m", ["--other", "m.safetensors"], ["--other m.safetensors", "NAME=FILE"]),
        ("m", ["--other", "a="], ["--other a=", "NAME=FILE"]),
        ("m", ["--other", "=m.safetensors"], ["--other =m.safetensors", "NAME=FILE"]),
        ("m", ["--other", "a={m}", "--other", "a={m}"], ["NAME=FILE", "name of its own"]),
        ("m", ["--other", "psth={m}"], ["cannot be called 'psth'"]),
        ("m", ["--other", "a=nowhere"], ["Cannot read nowhere"]),
        ("m", ["--session", "nowhere"], ["no file or folder nowhere"]),
        ("m", ["--device", "abacus"], ["abacus"]),
        ("m", ["--protocol", "brain-wide-bench"], ["windows of 1 s", "20 bins of 20 ms"]),
        ("m", ["--protocol", "brain-wide-bench", "--quick"], ["no quick mode"]),
    ],
)
def test_mistakes_of_evaluate(model, more, messages, scored, tmp_path, capsys):
    out = tmp_path / "f.json"
    arguments = ["--model", str(scored / f"{model}.safetensors"), "--json", str(out)]
    arguments += ["--session", str(scored / "tiny.mtm")]
    arguments += [text.format(m=scored / "m.safetensors") for text in more]
    assert main(["evaluate", *arguments]) == 2
    captured = capsys.readouterr()
    for message in messages:
        assert message in captured.err
    assert captured.err.startswith("napari-mtm: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not out.exists()


# Published checkpoints


def test_import_published_writes_weights_that_open(reference, tmp_path, capsys):
    checkpoint, out = reference / "published_stitching_model_best.pt", tmp_path / "w.safetensors"
    assert main(["import-published", str(checkpoint), "--out", str(out)]) == 0
    model = load_model(out, device="cpu")
    assert capsys.readouterr().out == f"{out}: {model.describe()}\n"
    meta = json.loads((reference / "published_meta.json").read_text())
    truth = np.load(reference / "published_stitching_io.npz")
    for name, session in zip(("s0", "s1"), meta["sessions"], strict=True):
        counts, hidden = truth[f"{name}_counts"], truth[f"{name}_keep"] == 0
        found = model.predict(
            counts.astype(np.uint8), hidden, task="neuron", session=session["eid"]
        )
        np.testing.assert_allclose(found, truth[f"{name}_neuron_lograte"], atol=1e-4)


class _Command:
    """Runs a command where it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_hostile_checkpoint_does_nothing(tmp_path, capsys):
    ran, out = tmp_path / "ran", tmp_path / "w.safetensors"
    hostile = tmp_path / "model.pt"
    torch.save({"model": _Command(f"touch {ran}"), "epoch": 3}, hostile)
    assert main(["import-published", str(hostile), "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("napari-mtm: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == [hostile]


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04" + bytes(200)])
def test_what_is_no_checkpoint_is_refused(content, tmp_path, capsys):
    file, out = tmp_path / "model.pt", tmp_path / "w.safetensors"
    file.write_bytes(content)
    assert main(["import-published", str(file), "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [file]


def test_a_checkpoint_that_is_not_there(tmp_path, capsys):
    out = tmp_path / "w.safetensors"
    assert main(["import-published", str(tmp_path / "no.pt"), "--out", str(out)]) == 2
    assert "no.pt" in capsys.readouterr().err
    assert not out.exists()


# Training


def test_pretrain_then_finetune_then_evaluate(scored, tmp_path, capsys):
    stores = tmp_path / "stores"
    for seed in (1, 2):
        counts = np.random.default_rng(seed).poisson(0.5, (30, 20, 5))
        save_session(
            Session.from_counts(counts, ["CA1"] * 5, id=f"s{seed}"), stores / f"{seed}.mtm"
        )
    run, tuned = tmp_path / "run", tmp_path / "tuned"
    steps = ["--steps", "6", "--check-every", "3", "--device", "cpu"]
    assert main(["pretrain", str(stores), "--out", str(run), *steps, "--seed", "5"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("finished, 6 of 6 steps")
    assert str(run / "best.safetensors") in captured.out
    assert [line.split()[1] for line in captured.err.splitlines()] == ["0", "3", "6"]
    about = Run(run).about
    assert (about.settings.seed, about.settings.steps) == (5, 6)
    assert [s.source for s in about.sessions] == [str(stores / f"{n}.mtm") for n in (1, 2)]
    weights = ["--model", str(run / "best.safetensors")]
    session = ["--session", str(scored / "tiny.mtm")]
    arguments = ["finetune", *weights, *session, "--out", str(tuned), *steps, "--scope", "units"]
    assert main(arguments) == 0
    assert Run(tuned).about.scope == "units"
    capsys.readouterr()
    assert main(["evaluate", "--model", str(tuned / "best.safetensors"), *session, "--quick"]) == 0
    assert "co-smoothing" in capsys.readouterr().out


def test_finetune_begins_a_new_model_where_asked(scored, tmp_path, capsys):
    store, run = scored / "tiny.mtm", tmp_path / "run"
    arguments = ["finetune", "--model", "new", "--session", str(store), "--out", str(run)]
    assert main([*arguments, "--steps", "2", "--check-every", "2", "--scope", "full"]) == 0
    assert "finished, 2 of 2 steps" in capsys.readouterr().out
    model = load_model(run / "best.safetensors", device="cpu")
    assert (model.trained, model.grid.bins) == ({"tiny"}, 20)
    assert main(["finetune", "--out", str(run), "--resume"]) == 0


def test_a_run_is_resumed_by_its_folder_alone(scored, tmp_path, capsys):
    run = tmp_path / "run"
    store = str(scored / "tiny.mtm")
    steps = ["--steps", "4", "--check-every", "2", "--device", "cpu"]
    assert main(["pretrain", store, "--out", str(run), *steps]) == 0
    (run / "checkpoint.safetensors").unlink()
    assert main(["pretrain", "--out", str(run), "--resume", "--device", "cpu"]) == 0
    assert list(Run(run).losses()) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain"], "nothing to train on"),
        (["pretrain", "--resume"], "nothing to train on"),
        (["pretrain", "{store}", "--steps", "0"], "--steps 0 trains nothing"),
        (["pretrain", "{store}", "--batch", "0"], "The setting batch must be 1 or more"),
        (["pretrain", "{store}", "--rate", "nan"], "The setting rate must be finite"),
        (["pretrain", "{store}", "--rate", "1e30"], "The setting rate must be at most 1"),
        (["pretrain", "{store}", "--batches", "1000000000"], "The setting batches must be at most"),
        (["finetune", "--session", "{store}", "--model", "{m}", "--seed", "9" * 30], "seed"),
        (["pretrain", "nowhere"], "no file or folder nowhere"),
        (["pretrain", "null\0character"], "no file or folder null"),
        (["pretrain", "{store}", "{store}"], "given once"),
        (["finetune"], "Name a --session"),
        (["finetune", "--model", "{m}"], "Name a --session"),
        (["finetune", "--model", "nowhere", "--session", "{store}"], "Cannot read nowhere"),
    ],
)
def test_mistakes_of_training(arguments, message, scored, tmp_path, capsys):
    names = {"store": scored / "tiny.mtm", "m": scored / "m.safetensors"}
    given = [text.format(**names) for text in arguments]
    assert main([*given, "--out", str(tmp_path / "run")]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


# Servers


@pytest.fixture
def alyx(alf, tmp_path, one_home, own_cache, monkeypatch):
    """A server with the small session; nobody is logged in, and nothing can be typed."""
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: PTH123, SIM115
    for name in ("USER", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"NAPARI_MTM_ONE_{name}", raising=False)
    with serving(tmp_path, alf) as served:
        yield served
    sys.stdin.close()


def test_login_then_info_and_prepare(alyx, monkeypatch, capsys, tmp_path, alf):
    assert main(["info", EID, "--one", alyx.address]) == 2
    assert f"Log in with `napari-mtm login {alyx.address}`" in capsys.readouterr().err
    monkeypatch.setenv("NAPARI_MTM_ONE_PASSWORD", "a password")
    assert main(["login", alyx.address, "--user", "someone"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(
        f"logged in to {alyx.address} as someone; downloads go to {tmp_path}"
    )
    assert "a password" not in told.out + told.err
    monkeypatch.delenv("NAPARI_MTM_ONE_PASSWORD")
    assert main(["info", EID, "--one", alyx.address]) == 0
    assert "good      3 units" in capsys.readouterr().out
    store = tmp_path / "one.mtm"
    assert main(["prepare", EID, "--one", alyx.address, "--out", str(store)]) == 0
    assert np.array_equal(open_session(store).counts, open_session(alf).counts)


def test_login_with_a_token(alyx, monkeypatch, capsys):
    monkeypatch.setenv("NAPARI_MTM_ONE_TOKEN", "token-of-someone")
    assert main(["login", alyx.address, "--token"]) == 0
    assert "as someone;" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--user", "someone"], "no terminal to ask on; set NAPARI_MTM_ONE_PASSWORD"),
        ([], "no terminal to ask on; set NAPARI_MTM_ONE_USER"),
        (["--token"], "no terminal to ask on; set NAPARI_MTM_ONE_TOKEN"),
    ],
)
def test_login_without_a_terminal(alyx, capsys, arguments, said):
    assert main(["login", alyx.address, *arguments]) == 2
    assert said in capsys.readouterr().err
    assert alyx.requests == []


def test_prepare_a_list(alyx, monkeypatch, capsys, tmp_path, alf):
    monkeypatch.setenv("NAPARI_MTM_ONE_USER", "someone")
    monkeypatch.setenv("NAPARI_MTM_ONE_PASSWORD", "a password")
    listed = ["prepare", EID, "--list", "held-out", "--one", alyx.address, "--workers", "1"]
    assert main([*listed, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert told.out.count("does not have what was asked for (404)") == 5
    assert "MOUSE 2024-02-03 002" in told.out.splitlines()[0]
    assert "5 of 6 sessions could not be prepared" in told.err


def test_reproduce_leaves_one_animal_of_prepared_sessions_out(
    simulated, capsys, tmp_path, monkeypatch
):
    stores, out = tmp_path / "stores", tmp_path / "out"
    stores.mkdir()
    assert main(["prepare", str(simulated), "--out", str(stores)]) == 0
    study = Study({"default": Arm()}, ("mean-rate",))
    monkeypatch.setattr("napari_mtm.reproducing.real.REAL", study)
    tiny = Scale(steps=2, width=16, layers=1, quick=True)
    monkeypatch.setattr("napari_mtm.reproducing.arms.REAL_QUICK", tiny)
    capsys.readouterr()
    options = ["--quick", "--seeds", "2", "--device", "cpu", "--out", str(out)]
    assert main(["reproduce", "--stores", str(stores), *options]) == 0
    shown = capsys.readouterr().out
    page = out / "results-real.md"
    assert shown.rstrip().endswith(str(page))
    assert "2 sessions of 2 animals (SIM001-000 1, SIM001-001 1)" in page.read_text()
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    found = sorted((r["arm"], r["seed"]) for r in results)
    assert found == 2 * [("default", 0)] + 2 * [("default", 1)] + 2 * [("mean-rate", 0)]
