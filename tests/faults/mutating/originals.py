"""One small set of files of every kind that is read, as the program itself writes them."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from napari_mtm.errors import Cancelled
from napari_mtm.masking.tasks import SCORES
from napari_mtm.model.model import Model, new_model
from napari_mtm.model.weights import save_model
from napari_mtm.recording.session import Session
from napari_mtm.recording.simulation.truth import SLOW_STEP, STEP, SimulatedTruth
from napari_mtm.recording.store import save_session
from napari_mtm.reproducing.arms import SIMULATED, SimulatedScale
from napari_mtm.reproducing.study import Result, compare
from napari_mtm.training.comparison import Comparison, Interval, save_comparison
from napari_mtm.training.finetuning import finetune
from napari_mtm.training.loop import Report
from napari_mtm.training.run import Run
from napari_mtm.training.settings import Settings
from tests.conftest import trials, write_alf
from tests.recording.test_alf import write_tables
from tests.training.waves import BINS, PAPER, SMALL, waves

CACHE = "cache"
STORE = f"{CACHE}/s.mtm"
WEIGHTS = "w.safetensors"
CHECKPOINT = "checkpoint.pt"
STUDY = "study"
SUBJECTS = "lab/Subjects/MOUSE/2024-02-03"
ALF = f"{SUBJECTS}/002"
SESSION = waves(trials=24).id
RUN = f"runs/{SESSION}/run"
SETTINGS = Settings(steps=3, check_every=2)
TOKENS = ("waves0", "waves1")
SCALE = SimulatedScale(animals=1, pretraining=1, seeds=0)
"""With no seed and no animal there is nothing to work out: what is there is read."""


def some_session() -> Session:
    """Return counts with trials, behaviour and true rates."""
    session = waves(trials=12)
    speed = np.random.default_rng(0).normal(size=(12, BINS))
    return Session.from_counts(
        session.counts,
        session.units["region"].tolist(),
        trials=trials(12),
        behaviour={"wheel-speed": speed},
        rates=session.rates,
        id="with behaviour",
    )


def write_store(folder: Path) -> None:
    """Write a store, which is an entry of the cache too."""
    save_session(some_session(), folder / STORE, origin="of nothing")


def write_weights(folder: Path) -> None:
    """Write weights of our network, with readouts."""
    session = some_session()
    model = new_model(session, sizes=SMALL, device="cpu")
    model.trained = {session.id}
    model.fit_readouts(session, np.arange(8))
    save_model(model, folder / WEIGHTS)


def write_paper_weights(folder: Path) -> None:
    """Write weights of the paper's network, with stitchers that wait for a session."""
    save_model(_with_unclaimed(), folder / WEIGHTS)


def write_run(folder: Path) -> None:
    """Write a run that was stopped, and a comparison; the same whenever and wherever it is."""
    session = waves(trials=24)

    def stop(report: Report) -> None:
        if report.step >= SETTINGS.check_every:
            raise Cancelled

    model = new_model(session, sizes=SMALL, device="cpu")
    with suppress(Cancelled):
        finetune(model, session, folder / RUN, scope="full", settings=SETTINGS, watch=stop)
    run = Run(folder / RUN)
    run.about.begun, run.about.environment = "2024-02-03T12:00:00+00:00", {"torch": "2"}
    run.set_settings(SETTINGS)  # which writes all of it
    run.set_status(run.status.model_copy(update={"seconds": 1.0}))
    found = run.checkpoint()
    assert found is not None
    tensors, standing = found
    run.save_checkpoint(tensors, standing.model_copy(update={"seconds": 1.0}))
    scores = {
        who: Interval(value=0.3, low=0.2, high=0.4) for who in ("before", "after", "null", "gain")
    }
    tasks, readouts = dict.fromkeys(SCORES, scores), {"choice": {"after": Interval(value=0.9)}}
    comparison = Comparison(trials=5, started=True, tasks=tasks, readouts=readouts)
    save_comparison(run, comparison)


def write_session(folder: Path) -> None:
    """Write an ALF session of two probes with every kind of dataset, but for the truth."""
    session = folder / ALF
    write_alf(session)
    write_alf(session, "probe01")
    alf = session / "alf"
    sorting = alf / "probe01" / "pykilosort"
    for name in ("localCoordinates", "brainLocationIds_ccf_2017"):
        sites = np.load(sorting / f"channels.{name}.npy")
        np.save(alf / "probe01" / f"electrodeSites.{name}.npy", sites)
    table = trials(12)
    np.save(alf / "_ibl_trials.intervals.npy", table[["intervals_0", "intervals_1"]].to_numpy())
    np.save(alf / "_ibl_trials.quiescencePeriod.npy", np.linspace(0.4, 0.7, 12))
    table.drop(columns=["intervals_0", "intervals_1"]).to_parquet(alf / "_ibl_trials.table.pqt")
    metrics = sorting / "clusters.metrics.pqt"
    pd.read_parquet(metrics).to_csv(metrics.with_suffix(".csv"), index=False)
    metrics.unlink()
    frames = np.arange(0, 60, 1 / 20)
    np.save(alf / "_ibl_rightCamera.times.npy", frames)
    np.save(alf / "rightCamera.ROIMotionEnergy.npy", np.cos(frames))


def write_simulated(folder: Path) -> None:
    """Write an ALF session with true rates."""
    session = folder / ALF
    write_alf(session)
    rng = np.random.default_rng(0)
    units = pd.read_csv(session / "alf/probe00/pykilosort/clusters.uuids.csv")["uuids"]
    SimulatedTruth(
        uuids=tuple(units),
        latents=rng.integers(-20, 20, (int(60 / STEP), 2)).astype(np.int8),
        base=np.zeros(len(units), np.float32),
        loadings=rng.normal(size=(len(units), 2)).astype(np.float32),
        slow=rng.integers(-9, 9, (int(60 / SLOW_STEP) + 1, len(units))).astype(np.int8),
    ).save(session / "alf/_mtm_simulation.truth.safetensors")


def write_one(folder: Path) -> None:
    """Write a ONE cache of one session."""
    write_alf(folder / ALF)
    write_tables(folder, folder / ALF)


def write_published(folder: Path) -> None:
    """Write a checkpoint as the paper's authors do."""
    rng = np.random.default_rng(0)
    state = {name: rng.normal(size=shape) for name, shape in _published_shapes().items()}
    net = _module(state)
    net.encoder.embedder.eid_lookup = list(TOKENS)
    net.encoder.layers[0].attn.n_heads = PAPER.heads
    torch.save({"model": net, "epoch": 3}, folder / CHECKPOINT)


def write_study(folder: Path) -> None:
    """Write what a study of the paper's comparisons found."""
    out = folder / STUDY
    compare([], SIMULATED, SCALE, out)
    scores = dict.fromkeys(SCORES, 0.25)
    arms = ("mtm", "temporal", "default", "reduced-rank")
    results = [
        Result(
            arm,
            session,
            0,
            scores,
            scores,
            {"CA1": scores},
            {"10": 0.1, "20": 0.2},
            {"choice": {"accuracy": 0.75, "chance": 0.5}},
        )
        for arm in arms
        for session in ("one", "other")
    ]
    lines = pd.DataFrame([vars(result) for result in results])
    lines.to_json(out / "results.jsonl", orient="records", lines=True)


def _with_unclaimed() -> Model:
    from napari_mtm.model.importing import from_published_state

    rng = np.random.default_rng(0)
    state = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in _published_shapes().items()
    }
    return from_published_state(state, heads=PAPER.heads, eids=TOKENS)


def _published_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a small network, under the authors' names."""
    width, hidden, inner, channels = PAPER.width, PAPER.hidden, PAPER.inner, PAPER.channels
    embedder, layer = "encoder.embedder", "encoder.layers.0"
    linear = {
        f"{embedder}.embed_spikes": (inner, channels),
        f"{embedder}.projection": (width, inner),
        f"{layer}.mlp.up_proj": (hidden, width),
        f"{layer}.mlp.down_proj": (width, hidden),
        **{f"{layer}.attn.{part}": (width, width) for part in ("query", "key", "value")},
        f"{layer}.attn.out_proj": (width, width),
    }
    for n in (7, 10):
        linear[f"encoder.stitcher.stitcher_dict.{n}"] = (channels, n)
        linear[f"stitch_decoder.stitch_decoder_dict.{n}"] = (n, width)
    shapes: dict[str, tuple[int, ...]] = {
        f"{embedder}.embed_pos.weight": (BINS, width),
        f"{embedder}.embed_prompt.weight": (4, width),
        f"{embedder}.embed_session.weight": (len(TOKENS), width),
    }
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in (f"{layer}.ln1", f"{layer}.ln2", "encoder.out_norm"):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return shapes


def _module(state: dict[str, np.ndarray]) -> nn.Module:
    """Return modules in modules that hold these weights."""
    net = nn.Module()
    for name, values in state.items():
        *path, last = name.split(".")
        at = net
        for part in path:
            if part not in at._modules:
                at.add_module(part, nn.ModuleList() if part == "layers" else nn.Module())
            at = at._modules[part]
        at.register_parameter(last, nn.Parameter(torch.as_tensor(values, dtype=torch.float32)))
    return net


WRITERS: dict[str, Callable[[Path], None]] = {
    "store": write_store,
    "weights": write_weights,
    "paper-weights": write_paper_weights,
    "run": write_run,
    "checkpoint": write_run,
    "alf": write_session,
    "truth": write_simulated,
    "one": write_one,
    "published": write_published,
    "study": write_study,
}
"""What writes the files of each kind into a folder."""
