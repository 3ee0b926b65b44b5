"""Turn sessions of Steinmetz et al. 2019 (Nature 576:266) from npz files into prepared stores.

    python tools/steinmetz_sessions.py IN OUT [--min-rate 0.5]

IN holds the npz files, one for each session; OUT gets a store for each of them, and a text that
says whose recordings these are, for the page of a study.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.recording.session import Session
from napari_mtm.recording.store import SUFFIX, save_session

MIN_RATE = 0.5
"""Spikes/s in the window, below which units are left out."""

_TOGETHER = 2
"""Bins of 10 ms that make one of ours."""

_BERYL = {"SCsg": "SCs"}
"""Beryl names of regions that Beryl does not divide as finely."""

_COARSE = frozenset(("ACA", "AUD", "LS", "MB", "OLF", "ORB", "SSp", "TH", "TT"))
"""Regions that Beryl divides more finely than the units are placed: they stand for themselves."""

ABOUT = (
    "Recordings of Steinmetz et al. 2019, Distributed coding of choice, action and engagement "
    "across the mouse brain, Nature 576:266."
)


def main() -> None:
    """Convert every npz file of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, metavar="IN")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--min-rate", type=float, default=MIN_RATE, metavar="HZ")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for path in sorted(options.source.glob("*.npz")):
        session = read_session(path, options.min_rate)
        save_session(session, options.out / f"{session.id}{SUFFIX}")
        print(session.describe(), end="\n\n")
    (options.out / "about.txt").write_text(ABOUT + "\n", encoding="utf-8")


def read_session(path: Path, min_rate: float = MIN_RATE) -> Session:
    """Return the session in an npz file, of units with at least so many spikes/s."""
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    fine = found["counts"].astype(np.int64)
    n_trials, n_bins, n_units = fine.shape
    counts = fine.reshape(n_trials, n_bins // _TOGETHER, _TOGETHER, n_units).sum(axis=2)
    acronyms = [str(name) for name in found["regions"]]
    mouse, date = str(found["mouse"]), str(found["date"])
    session = Session.from_counts(
        counts,
        ["root" if name in _COARSE else _BERYL.get(name, name) for name in acronyms],
        trials=_trials(found),
        id=f"steinmetz-session{int(found['session']):02d}-{mouse}-{date}",
        window=(float(found["window"][0]), float(found["window"][1])),
        bin_size=round(_TOGETHER * float(found["bin_size"]), 9),
    )
    session = _with_coarse_regions(
        replace(session, name=f"{mouse} {date}"), [acronyms[i] for i in session.units["cluster"]]
    )
    return session.select(units=(session.units["firing_rate"] >= min_rate).to_numpy())


def _with_coarse_regions(session: Session, acronyms: list[str]) -> Session:
    """Return a session whose units lie in regions as coarse as they were placed in."""
    coarse = np.array([name if name in _COARSE else "" for name in acronyms])
    order = np.argsort(coarse, kind="stable")  # those that Beryl knows first, as they are
    units = session.units.assign(
        acronym=acronyms, region=np.where(coarse == "", session.units["region"], coarse)
    )
    notes = ["Firing rates are those in the windows: what lies between them is not known."]
    if coarse.any():
        notes.append(
            f"{', '.join(np.unique(coarse[coarse != '']))}: Beryl divides these more finely than "
            "the units are placed."
        )
    return replace(
        session,
        counts=np.ascontiguousarray(session.counts[..., order]),
        units=units.iloc[order].reset_index(drop=True),
        notes=tuple(notes),
    )


def _trials(found: dict[str, npt.NDArray[np.generic]]) -> pd.DataFrame:
    """Trials in IBL's columns, in seconds of the recording; there are no blocks.

    Choices need no change: theirs are 1 for left, -1 for right and 0 for none, and IBL writes 1
    for the turn that answers a stimulus on the left. Both sides may have a contrast at once; a
    side without a stimulus has none.
    """
    # The times of bins are those of their middles.
    onset = found["bin_times"][:, 0].astype(np.float64) - found["bin_size"].astype(np.float64) / 2
    moved = found["reaction_time_ms"].astype(np.float64) / 1e3

    def contrast(side: str) -> npt.NDArray[np.float64]:
        values = found[f"contrast_{side}"].astype(np.float64)
        return np.where(values > 0, values, np.nan)

    return pd.DataFrame(
        {
            "stimOn_times": onset,
            "goCue_times": onset + found["gocue_time"].astype(np.float64),
            "firstMovement_times": onset + np.where(np.isfinite(moved), moved, np.nan),
            "response_times": onset + found["response_time"].astype(np.float64),
            "feedback_times": onset + found["feedback_time"].astype(np.float64),
            "choice": found["choice"].astype(np.float64),
            "feedbackType": found["feedback_type"].astype(np.float64),
            "contrastLeft": contrast("left"),
            "contrastRight": contrast("right"),
        }
    )


if __name__ == "__main__":
    main()
