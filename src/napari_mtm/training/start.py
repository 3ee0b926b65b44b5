"""A start in closed form for the loadings of a session's units."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_mtm.masking.sampling import DEFAULT, Layout, draw
from napari_mtm.masking.tasks import TASKS
from napari_mtm.model.network import (
    RATE_FLOOR,
    Default,
    encode,
    log_rates,
    own_kernels,
    recent,
)
from napari_mtm.progress import Progress, part, silent

_SD = 4.0
_LARGEST = 1.0
_FLOOR = 0.02
_CHUNK = 64
_AHEAD = 10
_RIDGE = 0.1
_TRIALS = 128
_EVERY = 3
_PRIOR = 0.05
_ITERATIONS = 4
_FARTHEST = 3.0
_BINS, _MOST_APART = 20_000, 4
"""Covariances are of about so many bins where there are more: smoothed ones that are near each
other say the same."""

_ROWS = 512
_ENTRIES = 5_000_000
"""Products of bins that are held at a time."""


def start(network: Default, session: str, counts: Tensor, progress: Progress = silent) -> None:
    """Start the loadings of a session's units from `counts` (trials, bins, units) to train on."""
    progress(0.0, "starting the units: what they say")
    start_reading(network, session, counts)
    progress(0.3, "starting the units: their own past")
    start_own_past(network, session, counts)
    progress(0.4, "starting the units: their rates")
    start_writing(network, session, counts, part(progress, 0.4, 1.0))


def start_reading(network: Default, session: str, counts: Tensor) -> None:
    """Start what units say on the principal components of smoothed activity.

    Units are weighed between their covariance and their correlation, so that neither
    the busiest nor the noisiest rule.
    """
    centre = torch.as_tensor(network.sessions[session].roots, device=counts.device)
    weight = (centre + _FLOOR).rsqrt()
    values, vectors = torch.linalg.eigh(_covariance(counts, centre, weight))
    # A vector and its opposite are as good, and rounding decides which is found.
    vectors = vectors * vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    rank = min(network.sizes.rank, len(values))
    size = values.flip(0)[:rank].clamp(min=1e-8).sqrt()
    components = vectors.flip(1)[:, :rank] * weight[:, None] / size
    spare = network.sizes.rank - rank
    network.set_reading(session, F.pad(components, (0, spare)))


def start_writing(
    network: Default, session: str, counts: Tensor, progress: Progress = silent
) -> None:
    """Start what is made of latents on a Poisson regression of what masks hide.

    The masks are those of training, all four tasks alike; the weights have a prior.
    """
    latents, offsets, scored, spikes = _examples(network, session, counts)
    mean, spread = latents.mean(dim=0), latents.var(dim=0).mean().sqrt() + 1e-6
    progress(0.5, "starting the units: their rates")
    found = _regress((latents - mean) / spread, offsets, scored, spikes)
    weights, bias = found[:, :-1] / spread, found[:, -1]
    network.set_writing(session, weights, bias - weights @ mean)


@torch.no_grad()
def _examples(
    network: Default, session: str, counts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return latents (S, L), log rates without them, what is scored, and counts (S, N).

    Of some trials, every few bins: what lies between says little more.
    """
    generator = torch.Generator(counts.device).manual_seed(0)
    layout = Layout.of(network.sessions[session].regions, power=0.5, device=counts.device)
    known = network.loadings(session)
    loadings = replace(known, write=torch.zeros_like(known.write))
    drawn = torch.randperm(len(counts), generator=generator, device=counts.device)[:_TRIALS]
    training = network.training
    network.eval()
    found = []
    for task in TASKS:
        prompt = torch.tensor([TASKS.index(task)], device=counts.device)
        for rows in torch.split(drawn, _CHUNK):
            part = counts[rows].float()
            masks = draw(
                task,
                DEFAULT,
                layout,
                trials=len(part),
                bins=part.shape[1],
                generator=generator,
            )
            activity = network.activity(part)
            inputs = encode(loadings, activity, masks.visible)
            latents = network.latents(inputs, prompt, session, causal=task == "causal")
            offsets = log_rates(loadings, latents, activity, masks.visible)
            parts = (latents, offsets, masks.scored.expand_as(part).float(), part)
            found.append([x[:, ::_EVERY].flatten(0, 1) for x in parts])
    network.train(training)
    latents, offsets, scored, spikes = map(torch.cat, zip(*found, strict=True))
    return latents, offsets, scored, spikes


def _regress(latents: Tensor, offsets: Tensor, scored: Tensor, spikes: Tensor) -> Tensor:
    """Return weights (N, L) and biases, last, of a Poisson regression by Newton's method.

    Latents are of unit size; a prior holds what they make of a log rate to a fifth of that.
    """
    prior = latents.new_full((latents.shape[1] + 1,), latents.shape[1] / _PRIOR)
    prior[-1] = 1.0
    latents = F.pad(latents, (0, 1), value=1.0)
    n_latents, n_units = latents.shape[1], offsets.shape[1]
    weights = latents.new_zeros(n_units, n_latents)
    first, second = torch.tril_indices(n_latents, n_latents, device=latents.device)
    for _ in range(_ITERATIONS):
        slope = -weights * prior
        # Of each pair of latents once.
        below = latents.new_zeros(n_units, len(first))
        for x, usual, here, came in zip(
            *(torch.split(table, _ROWS) for table in (latents, offsets, scored, spikes)),
            strict=True,
        ):
            change = (x @ weights.T).clamp_(-_FARTHEST, _FARTHEST)
            rates = change.add_(usual).exp_().mul_(here)
            below.addmm_(rates.T, x[:, first] * x[:, second])
            slope.addmm_((here * came).sub_(rates).T, x)
        curvature = torch.diag(prior).repeat(n_units, 1, 1)
        curvature[:, first, second] += below
        curvature[:, second, first] = curvature[:, first, second]
        weights = weights + torch.linalg.solve(curvature, slope)
    return weights


def _covariance(counts: Tensor, centre: Tensor, weight: Tensor) -> Tensor:
    """Covariance (N, N) of weighed, smoothed deviations of square roots."""
    trials, bins, n_units = counts.shape
    time = torch.arange(bins, device=counts.device)
    kernel = torch.exp(-0.5 * ((time[:, None] - time) / _SD) ** 2)
    every = min(max(trials * bins // _BINS, 1), _MOST_APART)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True))[::every]
    total = torch.zeros(n_units, n_units, device=counts.device)
    for some in torch.split(counts, _CHUNK):
        smooth = kernel @ (some.float().sqrt() - centre)
        flat = (smooth * weight).flatten(0, 1)
        total += flat.T @ flat
    return total / max(trials * len(kernel), 1)


def start_own_past(network: Default, session: str, counts: Tensor) -> None:
    """Start each unit's own past on a regression of the bins after some times on those before.

    All products follow from how counts of a unit at one time go with those at another, (T, T)
    for each unit, which is worked out once, of a few units at a time.
    """
    scales, bins = network.sizes.own, counts.shape[1]
    if not scales or bins <= _AHEAD:
        return
    centre = torch.as_tensor(network.sessions[session].roots, device=counts.device)
    past, ahead = _past_and_ahead(scales, bins, counts.device)
    both = torch.einsum("jrs,krt->jkst", past, past).flatten(0, 1).flatten(1)
    came = torch.einsum("jrs,rt->jst", past, ahead).flatten(1)
    gains = []
    size = max(_ENTRIES // bins**2, 1)
    for start in range(0, len(centre), size):
        units = slice(start, start + size)
        some, usual = counts[:, :, units].permute(2, 1, 0), centre[units, None, None]
        change = (some.float().sqrt() - usual) / (usual + RATE_FLOOR)
        together = (change @ change.mT).flatten(1)
        gram = (together @ both.T).view(-1, scales, scales)
        ridge = _RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] + 1e-6
        ridge = ridge * torch.eye(scales, device=gram.device)
        gains.append(torch.linalg.solve(gram + ridge, together @ came.T))
    network.set_own_past(session, torch.cat(gains).clamp(-_LARGEST, _LARGEST))


def _past_and_ahead(scales: int, bins: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return what the past is averaged by (K, R, T), and which bin comes then (R, T).

    The rows R are the bins after each of some times, of which only what was before counts.
    """
    kernels, one = own_kernels(scales, bins, device), torch.eye(bins, device=device)
    past, ahead = [], []
    for cut in range(bins - _AHEAD, 0, -_AHEAD):
        rows, seen = slice(cut, cut + _AHEAD), one[None, :cut]
        there = seen.new_ones(1, cut, 1)
        past.append(torch.cat([recent(kernel[rows, :cut], seen, there) for kernel in kernels]))
        ahead.append(one[rows])
    return torch.cat(past, dim=1), torch.cat(ahead)
