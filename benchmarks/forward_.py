"""One trial and sixteen through both presets, against the paper's network written plainly."""

import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.report import Result, Results, in_turn
from napari_mtm.model.model import Model, Preset, new_model
from napari_mtm.recording.session import Session

BINS, PUBLISHED_UNITS, DEFAULT_UNITS = 100, 400, 700
_ROUNDS = 30


def run() -> Results:
    """Measure `predict` with one region hidden, numbers in and numbers out."""
    published, p_counts, p_hidden, p_session = _case("published", PUBLISHED_UNITS)
    default, d_counts, d_hidden, d_session = _case("default", DEFAULT_UNITS)
    plain = Plain(PUBLISHED_UNITS).to(published.device).eval()

    def by_hand(trials: int) -> None:
        with torch.no_grad():
            x = torch.as_tensor(p_counts[:trials]).to(published.device).float()
            visible = torch.as_tensor(~p_hidden).to(published.device)
            plain(x * visible).cpu().numpy()

    works: dict[str, Callable[[], object]] = {}
    for n in (1, 16):
        works[f"plain_{n}"] = partial(by_hand, n)
        works[f"published_{n}"] = partial(
            published.predict, p_counts[:n], p_hidden, task="inter-region", session=p_session
        )
        works[f"default_{n}"] = partial(
            default.predict, d_counts[:n], d_hidden, task="inter-region", session=d_session
        )
    found = in_turn(works, rounds=_ROUNDS)
    milliseconds = {name: [1e3 * s for s in seconds] for name, seconds in found.items()}
    results = {
        f"{preset}_ms_{n}": Result(statistics.median(milliseconds[f"{preset}_{n}"]) / n, "ms")
        for preset in ("published", "default")
        for n in (1, 16)
    }
    ours, theirs = milliseconds["published_1"], milliseconds["plain_1"]
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    results["published_ratio_to_plain"] = Result(
        statistics.median(ours), "ms", statistics.median(theirs), ratio
    )
    return results


def _case(preset: Preset, n_units: int) -> tuple[Model, np.ndarray, np.ndarray, Session]:
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.1, (16, BINS, n_units)).astype(np.uint8)
    names = np.repeat(["VISa", "CA1", "DG", "LP", "PO"], n_units // 5)
    session = Session.from_counts(counts, list(names))
    model = new_model(session, preset)
    hidden = np.zeros((BINS, n_units), dtype=bool)
    hidden[:, session.regions[1].units] = True
    return model, session.counts, hidden, session


class Plain(nn.Module):
    """The paper's network as one writes it by hand: separate projections, a dense mask."""

    def __init__(self, n_units: int, width: int = 512, layers: int = 5, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.stitch, self.widen = nn.Linear(n_units, 668), nn.Linear(668, 1336)
        self.project, self.out = nn.Linear(1336, width), nn.Linear(width, n_units)
        self.positions = nn.Embedding(BINS, width)
        self.leading = nn.Parameter(torch.randn(2, width))
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width),
                    "query": nn.Linear(width, width),
                    "key": nn.Linear(width, width),
                    "value": nn.Linear(width, width),
                    "mix": nn.Linear(width, width),
                    "norm2": nn.LayerNorm(width),
                    "up": nn.Linear(width, 1024),
                    "down": nn.Linear(1024, width),
                }
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, counts: Tensor) -> Tensor:
        """Return log rates of counts (trials, bins, units)."""
        n = len(counts)
        x = self.project(F.softsign(self.widen(self.stitch(counts))))
        x = x + self.positions(torch.arange(BINS, device=x.device))
        x = torch.cat([self.leading.expand(n, -1, -1), x], dim=1)
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device)
        for layer in self.layers:
            parts = layer.children()
            norm1, query, key, value, mix, norm2, up, down = parts
            y = norm1(x)
            split = (n, -1, self.heads, x.shape[2] // self.heads)
            q, k, v = (f(y).view(split).transpose(1, 2) for f in (query, key, value))
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            x = x + mix(y.transpose(1, 2).reshape(x.shape))
            x = x + down(F.gelu(up(norm2(x))))
        rates: Tensor = self.out(self.norm(x)[:, 2:])
        return rates
