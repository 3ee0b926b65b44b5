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
_ROWS = 2048


def start(network: Default, session: str, counts: Tensor) -> None:
    """Start the loadings of a session's units from `counts` (trials, bins, units) to train on."""
    start_reading(network, session, counts)
    start_own_past(network, session, counts)
    start_writing(network, session, counts)


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


def start_writing(network: Default, session: str, counts: Tensor) -> None:
    """Start what is made of latents on a Poisson regression of what masks hide.

    The masks are those of training, all four tasks alike; the weights have a prior.
    """
    latents, offsets, scored, spikes = _examples(network, session, counts)
    mean, spread = latents.mean(dim=0), latents.var(dim=0).mean().sqrt() + 1e-6
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
    for _ in range(_ITERATIONS):
        change = (latents @ weights.T).clamp(-_FARTHEST, _FARTHEST)
        rates = scored * torch.exp(offsets + change)
        slope = (scored * spikes - rates).T @ latents - weights * prior
        curvature = torch.diag(prior).repeat(n_units, 1, 1)
        for x, r in zip(torch.split(latents, _ROWS), torch.split(rates, _ROWS), strict=True):
            products = (x[:, :, None] * x[:, None]).flatten(1)
            curvature += (r.T @ products).view(-1, n_latents, n_latents)
        weights = weights + torch.linalg.solve(curvature, slope)
    return weights


def _covariance(counts: Tensor, centre: Tensor, weight: Tensor) -> Tensor:
    """Covariance (N, N) of weighed, smoothed deviations of square roots."""
    trials, bins, n_units = counts.shape
    time = torch.arange(bins, device=counts.device)
    kernel = torch.exp(-0.5 * ((time[:, None] - time) / _SD) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    total = torch.zeros(n_units, n_units, device=counts.device)
    for part in torch.split(counts, _CHUNK):
        smooth = kernel @ (part.float().sqrt() - centre)
        flat = (smooth * weight).flatten(0, 1)
        total += flat.T @ flat
    return total / max(trials * bins, 1)


def start_own_past(network: Default, session: str, counts: Tensor) -> None:
    """Start each unit's own past on a regression of the bins after some times on those before."""
    scales, bins = network.sizes.own, counts.shape[1]
    if not scales or bins <= _AHEAD:
        return
    centre = torch.as_tensor(network.sessions[session].roots, device=counts.device)
    kernels = own_kernels(scales, bins, counts.device)
    gram = torch.zeros(len(centre), scales, scales, device=counts.device)
    product = torch.zeros(len(centre), scales, device=counts.device)
    for part in torch.split(counts, _CHUNK):
        change = (part.float().sqrt() - centre) / (centre + RATE_FLOOR)
        for cut in range(bins - _AHEAD, 0, -_AHEAD):
            ahead = slice(cut, cut + _AHEAD)
            seen = change[:, :cut]
            there = seen.new_ones(1, cut, 1)
            past = torch.stack([recent(kernel[ahead, :cut], seen, there) for kernel in kernels])
            gram += torch.einsum("jbtn,kbtn->njk", past, past)
            product += torch.einsum("jbtn,btn->nj", past, change[:, ahead])
    ridge = _RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] + 1e-6
    gains = torch.linalg.solve(gram + ridge * torch.eye(scales, device=gram.device), product)
    network.set_own_past(session, gains.clamp(-_LARGEST, _LARGEST))
