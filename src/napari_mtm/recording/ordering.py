"""Orders in which a raster can show the units of a session, from top to bottom."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from napari_mtm.recording.session import Session

_MERGED_SECONDS = 0.1
_MOST_SAMPLES = 4000


def by_region(session: Session) -> npt.NDArray[np.intp]:
    """Regions along the Allen graph; within each the unit nearest the surface comes first."""
    order = []
    depth = _height(session)
    for region in session.regions:
        units = np.arange(region.units.start, region.units.stop)
        order.append(units[np.argsort(-depth[units], kind="stable")])
    return np.concatenate(order) if order else np.empty(0, dtype=np.intp)


def by_depth(session: Session) -> npt.NDArray[np.intp]:
    """One probe after the other, each from the surface to its tip."""
    probes = session.units["probe"].astype("category").cat.codes
    return np.lexsort((-_height(session), probes))


def by_rate(session: Session) -> npt.NDArray[np.intp]:
    """The most active unit first."""
    return np.argsort(-session.units["firing_rate"].to_numpy(dtype=np.float64), kind="stable")


def by_similarity(session: Session) -> npt.NDArray[np.intp]:
    """Units that fire together lie together: rastermap's order where it is installed.

    Without it, the order along the smoothest direction of the graph of positive
    correlations. Silent units lie lowest. Takes a second or more on large sessions.
    """
    activity = _activity(session)
    active = activity.any(axis=1)
    units, silent = np.flatnonzero(active), np.flatnonzero(~active)
    order = _similar(activity[active]) if len(units) > 2 else np.arange(len(units))
    return np.concatenate([units[order], silent])


ORDERS: dict[str, Callable[[Session], npt.NDArray[np.intp]]] = {
    "region": by_region,
    "depth": by_depth,
    "rate": by_rate,
    "similarity": by_similarity,
}
"""Functions that give the unit of each row, by name."""


def _height(session: Session) -> npt.NDArray[np.float64]:
    """Micrometres above the probe's tip; units without a depth lie lowest."""
    depth = session.units["depth"].to_numpy(dtype=np.float64)
    return np.where(np.isnan(depth), -np.inf, depth)


def _activity(session: Session) -> npt.NDArray[np.float32]:
    """Z-scored activity (units, samples) in coarse bins of evenly spread trials."""
    merged = max(1, round(_MERGED_SECONDS / session.bin_size))
    bins = max(1, session.n_bins // merged)
    merged = min(merged, session.n_bins)
    n_trials = min(session.n_trials, max(1, _MOST_SAMPLES // bins))
    trials = np.linspace(0, session.n_trials - 1, n_trials).astype(int)
    counts = session.counts[trials, : bins * merged].astype(np.float32)
    coarse = counts.reshape(n_trials, bins, merged, -1).sum(axis=2).reshape(n_trials * bins, -1)
    rooted = np.sqrt(coarse)
    spread = rooted.std(axis=0)
    scored = (rooted - rooted.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.ascontiguousarray(scored.T)


def _similar(activity: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    try:
        from rastermap import Rastermap
    except ImportError:
        return _spectral(activity)
    components = min(64, len(activity) - 1, activity.shape[1] - 1)
    fitted = Rastermap(n_clusters=None, n_PCs=components, verbose=False).fit(activity)
    return np.asarray(fitted.isort, dtype=np.intp)


def _spectral(activity: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    from scipy.linalg import eigh

    affinity = np.maximum(activity @ activity.T / activity.shape[1], 0).astype(np.float64)
    np.fill_diagonal(affinity, 0)
    affinity += 1e-6  # keeps the graph in one piece
    degree = affinity.sum(axis=1)
    root = np.sqrt(degree)
    laplacian = np.eye(len(affinity)) - affinity / root[:, None] / root[None, :]
    _, vectors = eigh(laplacian, subset_by_index=[1, 1])
    return np.argsort(vectors[:, 0] / root, kind="stable")
