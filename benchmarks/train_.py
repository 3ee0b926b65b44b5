"""Training the paper's network, against a loop written the way the field writes it."""

import statistics
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.forward_ import BINS, PUBLISHED_UNITS, Plain
from benchmarks.report import Result, Results, in_turn
from napari_mtm.model.model import Preset, new_model
from napari_mtm.recording.session import Session
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson, Trainer

_BATCH = 16
_TRIALS = 64
_ROUNDS = 8


def run() -> Results:
    """Measure trials per second of whole steps, ours and theirs in turn."""
    rng = np.random.default_rng(0)
    names = list(np.repeat(["VISa", "CA1", "DG", "LP", "PO"], PUBLISHED_UNITS // 5))
    session = Session.from_counts(rng.poisson(0.1, (_TRIALS, BINS, PUBLISHED_UNITS)), names)
    works: dict[str, Callable[[], object]] = {
        "published": _ours(session, "published", Settings.published()).advance,
        "default": _ours(session, "default", Settings()).advance,
        "usual": UsualLoop(session).advance,
    }
    seconds = in_turn({name: _finished(work) for name, work in works.items()}, rounds=_ROUNDS)
    rates = {name: _BATCH / statistics.median(found) for name, found in seconds.items()}
    ratio = statistics.median(
        theirs / ours for ours, theirs in zip(seconds["published"], seconds["usual"], strict=True)
    )
    return {
        "speedup": Result(rates["published"], "trials/s", rates["usual"], ratio),
        "default_trials_per_s": Result(rates["default"], "trials/s"),
    }


def _ours(session: Session, preset: Preset, settings: Settings) -> Trainer:
    model = new_model(session, preset)
    return Trainer(model, {session.id: Lesson(session, np.arange(session.n_trials))}, settings)


def _finished(work: Callable[[], object]) -> Callable[[], None]:
    """Do work and wait for the GPU, where there is one, to be done with it."""

    def whole() -> None:
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return whole


class UsualLoop:
    """Counts in a list, masks drawn per sample on the CPU, dense attention masks, fp32."""

    def __init__(self, session: Session) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.trials = [np.asarray(trial, np.float32) for trial in session.counts]
        self.regions = np.asarray(session.units["region"])
        self.network = Dropping(PUBLISHED_UNITS).to(self.device).train()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=1e-4, weight_decay=0.01)
        self.rng = np.random.default_rng(0)

    def advance(self) -> float:
        """Take a step on a batch under a scheme drawn at random."""
        scheme = int(self.rng.integers(4))
        drawn = self.rng.choice(len(self.trials), _BATCH, replace=False)
        pairs = [self._mask(self.trials[i], scheme) for i in drawn]
        inputs = torch.stack([torch.from_numpy(pair[0]) for pair in pairs]).to(self.device)
        scored = torch.stack([torch.from_numpy(pair[1]) for pair in pairs]).to(self.device)
        counts = torch.stack([torch.from_numpy(self.trials[i]) for i in drawn]).to(self.device)
        allowed = torch.ones(_BATCH, 1, BINS + 2, BINS + 2, dtype=torch.bool, device=self.device)
        if scheme == 1:
            allowed = allowed.tril()
        rates = self.network.masked(inputs, allowed)
        loss = (nn.functional.poisson_nll_loss(rates, counts, reduction="none") * scored).sum()
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.item()

    def _mask(self, trial: np.ndarray, scheme: int) -> tuple[np.ndarray, np.ndarray]:
        hidden = np.zeros(trial.shape, dtype=bool)
        scored = hidden
        region = self.regions == self.rng.choice(np.unique(self.regions))
        if scheme == 0:
            hidden[:, self.rng.random(trial.shape[1]) < 0.3] = True
        elif scheme == 1:
            hidden[self.rng.random(trial.shape[0]) < 0.6] = True
        elif scheme == 2:
            hidden[:, region] = True
        else:
            inside = region & (self.rng.random(trial.shape[1]) < 0.3)
            hidden[:, ~region | inside] = True
            scored = hidden & inside
        scored = scored if scheme == 3 else hidden
        return np.where(hidden, 0, trial).astype(np.float32), scored.astype(np.float32)


class Dropping(Plain):
    """The plain network with the paper's dropout and a mask per batch."""

    def masked(self, counts: Tensor, allowed: Tensor) -> Tensor:
        """Return log rates under attention masks (trials, 1, tokens, tokens)."""
        n, drop = len(counts), nn.functional.dropout
        x = self.project(nn.functional.softsign(self.widen(self.stitch(counts))))
        x = x + self.positions(torch.arange(BINS, device=x.device))
        x = drop(torch.cat([self.leading.expand(n, -1, -1), x], dim=1), 0.2)
        for layer in self.layers:
            norm1, query, key, value, mix, norm2, up, down = layer.children()
            y = norm1(x)
            split = (n, -1, self.heads, x.shape[2] // self.heads)
            q, k, v = (f(y).view(split).transpose(1, 2) for f in (query, key, value))
            y = nn.functional.scaled_dot_product_attention(q, k, v, allowed, dropout_p=0.4)
            x = x + drop(mix(y.transpose(1, 2).reshape(x.shape)), 0.4)
            x = x + drop(down(nn.functional.gelu(up(norm2(x)))), 0.4)
        rates: Tensor = self.out(self.norm(x)[:, 2:])
        return rates
