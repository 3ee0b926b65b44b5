"""Where the clusters of a probe lie: the sites of its channels, and what the atlas calls them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_mtm.recording.regions import UNKNOWN, locate

Reals = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """Finest acronym, Beryl name and depth along the probe in micrometres of some clusters."""

    acronym: list[str]
    region: list[str]
    depth: npt.NDArray[np.float64]

    @classmethod
    def unknown(cls, n: int) -> "Places":
        """Return the places of n clusters of which none is known."""
        return cls([UNKNOWN] * n, [UNKNOWN] * n, np.full(n, np.nan))


@dataclass(frozen=True)
class Sites:
    """Sites on a probe, in the order of its electrodes or of a sorting's channels.

    `coordinates` (sites, 2) are micrometres across and along the probe, `atlas_ids` (sites,)
    whole numbers, or NaN; None where not known.
    """

    number: int
    coordinates: Reals | None
    atlas_ids: Reals | None

    def rows_of(self, channels: "Sites", raw: Indices | None) -> Indices | None:
        """Return which of these sites each channel of a sorting is, None where nothing says it.

        By coordinates; else by `raw`, the channels' numbers on the probe; else in their order,
        where they are as many.
        """
        if self.coordinates is not None and channels.coordinates is not None:
            row = {tuple(place): i for i, place in enumerate(self.coordinates.round(3).tolist())}
            rows = [row.get(tuple(place), -1) for place in channels.coordinates.round(3).tolist()]
            if len(row) == self.number and -1 not in rows:
                return np.array(rows, dtype=np.int64)
        number = channels.number or (0 if raw is None else len(raw))
        if (
            raw is not None
            and len(raw) == number
            and (raw >= 0).all()
            and (raw < self.number).all()
        ):
            return raw
        return np.arange(number) if number == self.number else None

    def replaced_by(self, others: "Sites", rows: Indices) -> "Sites":
        """Return these sites with what other sites say, site by site in `rows`."""
        coordinates, atlas_ids = self.coordinates, self.atlas_ids
        return Sites(
            len(rows),
            coordinates if others.coordinates is None else others.coordinates[rows],
            atlas_ids if others.atlas_ids is None else others.atlas_ids[rows],
        )

    def of(self, channel: Indices) -> tuple[Places, list[str]]:
        """Return the places of clusters on these channels, and the ids that no atlas knows.

        A channel below 0 is none: where its cluster lies is not known.
        """
        nowhere = channel < 0
        row = np.where(nowhere, 0, channel)
        depth = np.full(len(channel), np.nan)
        if self.coordinates is not None:
            depth = np.where(nowhere, np.nan, self.coordinates[row, 1].astype(np.float64))
        if self.atlas_ids is None:
            return Places([UNKNOWN] * len(channel), [UNKNOWN] * len(channel), depth), []
        ids = np.where(nowhere, np.nan, self.atlas_ids[row].astype(np.float64))
        known, index = np.unique(ids, return_inverse=True)
        acronyms, beryl = (np.array(names, dtype=object) for names in locate(known))
        missing = set(ids[~nowhere]) & set(known[acronyms == UNKNOWN])
        if np.isnan(ids[~nowhere]).any():
            missing.add(np.nan)
        site = index.ravel()
        places = Places(acronyms[site].tolist(), beryl[site].tolist(), depth)
        return places, sorted(f"{i:.0f}" for i in missing)
