"""Small sessions and models, quick to make and to run."""

import numpy as np
import torch

from napari_mtm import Session
from napari_mtm.model.model import Model, new_model
from napari_mtm.model.network import DefaultSizes, PublishedSizes

BINS = 20
REGIONS = ("VISa", "VISa", "CA1", "CA1", "CA1", "LP", "LP")
UNITS = len(REGIONS)
PRESETS = ("published", "default")
SIZES = {
    "published": PublishedSizes(
        bins=BINS, width=16, layers=2, heads=2, hidden=32, channels=10, inner=20
    ),
    "default": DefaultSizes(
        bins=BINS,
        width=16,
        layers=2,
        heads=2,
        hidden=32,
        rank=4,
        head=5,
        reach=4,
        own=2,
    ),
}


def small_counts(n_trials=6, n_units=UNITS, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(0.7, (n_trials, BINS, n_units)).astype(np.uint8)


def small_session(n_trials=6, regions=REGIONS, seed=0, **about) -> Session:
    about = {"id": f"small-{seed}"} | about
    return Session.from_counts(small_counts(n_trials, len(regions), seed), regions, **about)


def small_model(preset, *sessions, seed=0) -> Model:
    """A model whose weights are all random, as if trained on the sessions."""
    model = new_model(sessions, preset, seed=seed, sizes=SIZES[preset], device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    model.trained = {session.id for session in sessions}
    model.network.eval()
    return model


def some_hidden(seed=0, share=0.4, n_trials=None, bins=BINS) -> np.ndarray:
    """Entries (bins, units) hidden at random, or (trials, bins, units)."""
    shape = (bins, UNITS) if n_trials is None else (n_trials, bins, UNITS)
    return np.random.default_rng(seed).random(shape) < share
