"""The networks: counts and what is visible of them in, log rates out.

Both presets are one kind of model and share one flow, which scoring relies on:

    encode    linear   counts, visible (trials, bins, units) -> inputs (trials, bins, F)
    latents   deep     inputs -> latents (trials, bins, L)
    rates     linear   latents -> log rates (trials, bins, units)

Encoding is a sum over the visible units, so that hiding a unit is a subtraction, and
the rate of one unit needs one column of the last step. What is a session's own (the
loadings of its units, its token) is kept apart from what sessions share.

In the shapes below B is trials, T bins, N units.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_mtm.masking.tasks import TASKS
from napari_mtm.model.grid import LONGEST
from napari_mtm.model.units import Units

RATE_FLOOR = 0.05
"""Added to a unit's mean square root of counts where its changes are measured by it."""

TIMES_UNKNOWN = 0.1
"""Share of the batches in training that are not told the time of their bins."""

LITTLE = 0.1
"""Share of a window of a unit's own past that is little to judge by."""


@dataclass(frozen=True)
class PublishedSizes:
    """Sizes of the paper's network.

    `channels` is what stitchers make of any number of units, None where there are none;
    `inner` is the width before the projection to `width`.
    """

    bins: int = 100
    width: int = 512
    layers: int = 5
    heads: int = 8
    hidden: int = 1024
    channels: int | None = 668
    inner: int = 1336
    prompts: bool = True
    session_tokens: bool = True
    dropout: float = 0.4
    input_dropout: float = 0.2


@dataclass(frozen=True)
class DefaultSizes:
    """Sizes of our network.

    It knows the time of `bins` bins, and takes any number of them. `rank` components are made
    of what visible units say, and smoothed over `reach` bins to either side; `head` latents
    come out; `own` is how many time scales of its own past a unit is given.
    """

    bins: int = 100
    width: int = 128
    layers: int = 4
    heads: int = 4
    hidden: int = 256
    rank: int = 24
    head: int = 64
    reach: int = 16
    own: int = 4
    rope: bool = True
    dropout: float = 0.1
    input_dropout: float = 0.0


@dataclass(frozen=True)
class Loadings:
    """What the units of a session are multiplied with, on the way in and out."""

    read: Tensor  # (N, F), times the activity of visible units
    present: Tensor | None  # (N, F), times 1 where a unit is visible
    shift: Tensor | None  # (F,)
    write: Tensor  # (N, L)
    bias: Tensor  # (N,)
    own: Tensor | None = None  # (N, J), times a unit's own past on J time scales
    centre: Tensor | None = None  # (N,), what of a unit's activity is no news


def encode(loadings: Loadings, activity: Tensor, visible: Tensor) -> Tensor:
    """Return inputs (B, T, F): a sum over visible units, linear in what each one says.

    `visible` broadcasts to `activity` (B, T, N).
    """
    seen = visible.to(activity.dtype).expand(*visible.shape[:-1], activity.shape[-1])
    inputs = torch.matmul(activity * seen, loadings.read)
    if loadings.present is not None:
        inputs = inputs + torch.matmul(seen, loadings.present)
    if loadings.shift is not None:
        inputs = inputs + loadings.shift
    return inputs


def decode(loadings: Loadings, latents: Tensor) -> Tensor:
    """Return log rates (B, T, N) of latents (B, T, L), as far as these alone give them."""
    return F.linear(latents, loadings.write, loadings.bias)


def log_rates(loadings: Loadings, latents: Tensor, activity: Tensor, visible: Tensor) -> Tensor:
    """Return log rates (B, T, N) of latents and of what is visible of each unit's own past.

    `activity` and `visible` are those that were encoded; `visible` broadcasts to
    `activity` and has as many axes. A unit that is hidden in all bins has no visible
    past: `decode` is enough for it.
    """
    rates = decode(loadings, latents)
    if loadings.own is None or loadings.centre is None:
        return rates
    seen = (activity - loadings.centre) * visible
    there = visible.to(seen.dtype)
    change = torch.zeros_like(rates)
    kernels = own_kernels(loadings.own.shape[1], seen.shape[1], seen.device)
    for kernel, gain in zip(kernels, loadings.own.T, strict=True):
        change = change + recent(kernel, seen, there) * gain
    # Rates go up in proportion to the past, not exponentially: one spike of a unit that is
    # nearly silent is a very large change.
    share = F.softplus(4 * (1 + change)).clamp(min=1e-6) / _UNCHANGED
    return rates + torch.log(share)


def recent(kernel: Tensor, seen: Tensor, there: Tensor) -> Tensor:
    """Average what was seen (B, T, N) before each bin, weighed by a kernel (T, T).

    `there` is 1 where it was seen, and broadcasts to it. What was seen last counts for
    as long as nothing else is, and for less where it was little.
    """
    if there.shape[1] == 1:
        share = kernel.sum(dim=1)[:, None] * there
    else:
        share = torch.matmul(kernel, there)
    return torch.matmul(kernel, seen) * ((1 + LITTLE) / (share + LITTLE))


_UNCHANGED = F.softplus(torch.tensor(4.0)).item()


@lru_cache(maxsize=8)
def own_kernels(scales: int, bins: int, device: torch.device) -> Tensor:
    """Weights (scales, T, T) of a unit's own past bins: memory of 1, 4, 16... bins.

    They are shared: not to be written to.
    """
    lag = np.arange(bins)[:, None] - np.arange(bins) - 1
    decay = 4.0 ** -np.arange(scales)[:, None, None]
    weights = np.exp(-decay * np.maximum(lag, 0)) * (lag >= 0) * (1 - np.exp(-decay))
    return torch.as_tensor(weights, dtype=torch.float32, device=device)


# ---------------------------------------------------------------- transformer


class Dropout(nn.Dropout):
    """Dropout that draws 16 random bits for each entry on a CPU: several times as fast there."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop a share of the entries in training, and scale up the others."""
        return dropped(x, self.p) if self.training else x


def dropped(x: Tensor, share: float) -> Tensor:
    """Return x with a share of its entries dropped and the others scaled up."""
    if x.device.type != "cpu" or not share:
        return F.dropout(x, share)
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), 2**63 - 1)
    keep = drawn.view(torch.int16)[: x.numel()].view(x.shape) >= round(share * 2**16) - 2**15
    return x * keep * (1 / (1 - share))


class Attention(nn.Module):
    """Attention over bins."""

    def __init__(self, width: int, heads: int, dropout: float, rope: int | None) -> None:
        super().__init__()
        self.heads = heads
        # Dropping attention itself would cost the fast kernels: only the paper's does.
        self.dropout = 0.0 if rope else dropout
        # One projection for the three would save nothing, and leave them strided in memory.
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        if rope is not None:
            self.register_buffer("turns", _turns(rope, width // heads), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        """Mix (B, T, width) over bins; `mask` is True where a row may see a column."""
        b, t, width = x.shape
        q, k, v = (
            part(x).view(b, t, self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        if hasattr(self, "turns"):
            turns = cast("Tensor", self.turns)
            q, k = _turn(q, turns), _turn(k, turns)
        share = self.dropout if self.training else 0.0
        if share and x.device.type == "cpu":
            mixed = _dropping(q, k, v, mask, causal=causal, share=share)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=share, is_causal=causal)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(b, t, width))
        return out


def _dropping(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, causal: bool, share: float
) -> Tensor:
    """Attention of which a share is dropped; a CPU has no fused kernel for it."""
    t = q.shape[-2]
    if causal:
        mask = torch.ones(t, t, dtype=torch.bool, device=q.device).tril()
    heights = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    if mask is not None:
        heights = heights.masked_fill(~mask, -torch.inf)
    return torch.matmul(dropped(heights.softmax(dim=-1), share), v)


def _turns(length: int, size: int) -> Tensor:
    """Rotations (2, length, size / 2) that make attention see distance in time."""
    speeds = 10_000.0 ** (-torch.arange(0, size, 2) / size)
    angles = torch.arange(length)[:, None] * speeds
    return torch.stack([angles.cos(), angles.sin()])


def _turn(x: Tensor, turns: Tensor) -> Tensor:
    cos, sin = turns[:, : x.shape[-2]].to(x.dtype)
    even, odd = x.chunk(2, dim=-1)
    return torch.cat([even * cos - odd * sin, odd * cos + even * sin], dim=-1)


class Block(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float, rope: int | None
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout, rope)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        """Return x with attention and the perceptron added."""
        x = x + self.dropout(self.attention(self.norm1(x), mask, causal=causal))
        out: Tensor = x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))
        return out


class Trunk(nn.Module):
    """A stack of layers and a last norm."""

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        heads: int,
        hidden: int,
        dropout: float,
        rope: int | None = None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, dropout, rope) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """Return (B, T, width) of the same.

        Worked out in half precision on a GPU, and while a wide network is trained on a
        CPU that has instructions for it.
        """
        half = x.is_cuda or (
            self.training
            and x.device.type == "cpu"
            and x.shape[-1] >= _WIDE
            and _cpu_has_bfloat16()
        )
        with torch.autocast(x.device.type, torch.bfloat16) if half else nullcontext():
            for block in self.blocks:
                x = block(x, mask, causal=causal)
            out: Tensor = self.norm(x)
        return out.float()


_WIDE = 256
"""Width from which half precision pays on a CPU."""


@cache
def _cpu_has_bfloat16() -> bool:
    return any(
        getattr(torch.cpu, name, lambda: False)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


class Network(nn.Module, ABC):
    """What both presets share: the sessions that they hold parameters for."""

    own_parts: tuple[str, ...] = ()
    """Names of the parts that hold a session's own parameters."""

    sizes: "PublishedSizes | DefaultSizes"

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[str, Units] = {}

    def _enter(self, units: Units) -> None:
        """Note a session; its parameters must follow."""
        if units.session in self.sessions:
            raise ValueError(f"session {units.session} is there already")
        self.sessions[units.session] = units

    def index(self, session: str) -> int:
        """Place of a session's parameters."""
        return list(self.sessions).index(session)

    @abstractmethod
    def activity(self, counts: Tensor) -> Tensor:
        """What of the counts (B, T, N) is multiplied with the loadings, float."""

    @abstractmethod
    def loadings(self, session: str) -> Loadings:
        """Loadings of the units of a session."""

    @abstractmethod
    def add_session(self, units: Units, *, neutral: bool) -> None:
        """Add a session's own parameters: ready to train, or neutral, that is, fit to predict."""

    def shared(self) -> dict[str, Tensor]:
        """Parameters that sessions share, by name."""
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if name.split(".")[0] not in self.own_parts
        }

    def own(self, session: str) -> list[Tensor]:
        """Views of a session's own parameters, in a fixed order."""
        return [*self._by_unit(session), *self._by_session(session)]

    def own_parameters(self, session: str) -> list[nn.Parameter]:
        """Parameters that are one session's own."""
        index = self.index(session)
        found: list[nn.Parameter] = []
        for name in self.own_parts:
            parts = getattr(self, name)
            if index < len(parts):  # a network may do without tokens
                part = parts[index]
                found += part.parameters() if isinstance(part, nn.Module) else [part]
        return found

    def forget(self, session: str) -> None:
        """Remove a session and its own parameters."""
        index = self.index(session)
        for name in self.own_parts:
            parts = getattr(self, name)
            setattr(self, name, type(parts)(p for i, p in enumerate(parts) if i != index))
        del self.sessions[session]

    def copy_units(self, source: str, target: str) -> None:
        """Give the units of one session that another has too the other's parameters."""
        rows = {name: row for row, name in enumerate(self.sessions[source].ids)}
        ids = self.sessions[target].ids
        here = [i for i, name in enumerate(ids) if name in rows]
        there = [rows[ids[i]] for i in here]
        with torch.no_grad():
            pairs = zip(self._by_unit(source), self._by_unit(target), strict=True)
            for known, new in pairs:
                new[here] = known[there].to(new.device)
            for known, new in zip(self._by_session(source), self._by_session(target), strict=True):
                new.copy_(known)

    @abstractmethod
    def _by_unit(self, session: str) -> list[Tensor]:
        """Views of a session's parameters, a row per unit."""

    @abstractmethod
    def _by_session(self, session: str) -> list[Tensor]:
        """Views of the parameters of a session that are not its units'."""

    @abstractmethod
    def latents(
        self, inputs: Tensor, prompt: Tensor, session: str, *, causal: bool, strict: bool = False
    ) -> Tensor:
        """Return latents (B, T, L) of inputs (B, T, F).

        `prompt` holds indices into TASKS, one for all or one per trial. With `causal`,
        bins attend to the past alone; with `strict` as well, none sees a later bin.
        """


# ------------------------------------------------------------------ published


class Published(Network):
    """The paper's network: NDT1 with a stitcher per session, prompt and session tokens.

    Hidden counts are zeros. Under the causal prompt the two tokens see, and are seen by,
    every bin, as in the paper; only `strict` keeps them from carrying the future back.
    """

    own_parts = ("stitch_in", "stitch_out", "session_tokens")

    def __init__(self, sizes: PublishedSizes) -> None:
        super().__init__()
        self.sizes: PublishedSizes = sizes
        self.stitch_in = nn.ModuleList()
        self.stitch_out = nn.ModuleList()
        self.unclaimed: dict[int, dict[str, Tensor]] = {}
        self.unclaimed_tokens: dict[str, Tensor] = {}
        self.claimed: set[str] = set()
        self.session_tokens = nn.ParameterList()
        self.prompts = nn.Embedding(len(TASKS), sizes.width) if sizes.prompts else None
        self.widen = None if sizes.channels is None else nn.Linear(sizes.channels, sizes.inner)
        self.project = nn.Linear(sizes.inner, sizes.width)
        self.positions = nn.Parameter(torch.randn(sizes.bins, sizes.width))
        self.drop = Dropout(sizes.input_dropout)
        self.trunk = Trunk(
            width=sizes.width,
            layers=sizes.layers,
            heads=sizes.heads,
            hidden=sizes.hidden,
            dropout=sizes.dropout,
        )
        self._scale_down()

    @torch.no_grad()
    def _scale_down(self) -> None:
        """Make what attention adds small at first, the more so the more layers, as the paper."""
        share = 0.67 * max(self.sizes.layers, 1) ** -0.25
        for block in self.trunk.blocks:
            attention = cast("Block", block).attention
            attention.value.weight *= share * 2**0.5
            attention.out.weight *= share

    def add_session(self, units: Units, *, neutral: bool) -> None:
        """Add stitchers and a token; neutral ones give every unit its mean rate."""
        sizes = self.sizes
        stitch_in = nn.Linear(len(units), sizes.channels or sizes.inner)
        stitch_out = nn.Linear(sizes.width, len(units))
        token = torch.randn(sizes.width)
        if neutral:
            for part in (stitch_in.weight, stitch_in.bias, stitch_out.weight):
                nn.init.zeros_(part)
            stitch_out.bias = nn.Parameter(_log(units.rates))
            token.zero_()
        device = self.positions.device
        self._enter(units)
        self.stitch_in.append(stitch_in.to(device))
        self.stitch_out.append(stitch_out.to(device))
        if sizes.session_tokens:
            self.session_tokens.append(nn.Parameter(token.to(device)))

    def _by_unit(self, session: str) -> list[Tensor]:
        stitch_in, stitch_out = self._stitchers(session)
        return [stitch_in.weight.T, stitch_out.weight, stitch_out.bias]

    def _by_session(self, session: str) -> list[Tensor]:
        tokens = [self.session_tokens[self.index(session)]] if self.sizes.session_tokens else []
        return [self._stitchers(session)[0].bias, *tokens]

    def _stitchers(self, session: str) -> tuple[nn.Linear, nn.Linear]:
        index = self.index(session)
        return cast("nn.Linear", self.stitch_in[index]), cast("nn.Linear", self.stitch_out[index])

    def claim(self, units: Units, eid: str, order: Sequence[int] | None = None) -> bool:
        """Give units stitchers that are named by their number, and a session's token.

        So do the paper's checkpoints name them; a session gets its own only where both
        are there. `order` says which of the units each of the stitcher's is. Returns
        whether there was something to claim.
        """
        stitchers = self.unclaimed.get(len(units))
        token = self.unclaimed_tokens.get(eid)
        if stitchers is None or (token is None and self.sizes.session_tokens):
            return False
        self.add_session(units, neutral=True)
        rows = torch.arange(len(units)) if order is None else torch.as_tensor(order)
        stitch_in, stitch_out = self._stitchers(units.session)
        with torch.no_grad():
            stitch_in.weight[:, rows] = stitchers["in.weight"].to(stitch_in.weight.device)
            stitch_in.bias.copy_(stitchers["in.bias"])
            stitch_out.weight[rows] = stitchers["out.weight"].to(stitch_out.weight.device)
            stitch_out.bias[rows] = stitchers["out.bias"].to(stitch_out.bias.device)
            if token is not None:
                self.session_tokens[self.index(units.session)].copy_(token)
        self.claimed.add(eid)
        return True

    def activity(self, counts: Tensor) -> Tensor:
        """Return the counts themselves, float."""
        return counts.to(self.positions.dtype)

    def loadings(self, session: str) -> Loadings:
        """Return the loadings, the two linear layers of the input folded into one."""
        stitch_in, stitch_out = self._stitchers(session)
        weight, bias = stitch_in.weight, stitch_in.bias
        if self.widen is not None:
            weight, bias = self.widen.weight @ weight, self.widen(bias)
        return Loadings(weight.T, None, bias, stitch_out.weight, stitch_out.bias)

    def latents(
        self, inputs: Tensor, prompt: Tensor, session: str, *, causal: bool, strict: bool = False
    ) -> Tensor:
        """Return latents (B, T, width)."""
        b, t, _ = inputs.shape
        x = self.project(F.softsign(inputs)) + self.positions[:t]
        leading = []
        if self.sizes.session_tokens:
            leading.append(self.session_tokens[self.index(session)].expand(b, 1, -1))
        if self.prompts is not None:
            leading.append(self.prompts(prompt).view(-1, 1, x.shape[-1]).expand(b, 1, -1))
        n = len(leading)
        x = self.drop(torch.cat([*leading, x], dim=1) if leading else x)
        mask = self._causal_mask(n, t, x.device, strict=strict) if causal and n else None
        out: Tensor = self.trunk(x, mask, causal=causal and mask is None)
        return out[:, n:]

    @staticmethod
    def _causal_mask(n: int, t: int, device: torch.device, *, strict: bool) -> Tensor:
        mask = torch.ones(n + t, n + t, dtype=torch.bool, device=device).tril()
        mask[:n, : n if strict else None] = True
        return mask


# -------------------------------------------------------------------- default


class Default(Network):
    """Our network: a low-rank linear path from visible units into a transformer, and out.

    Every unit has one vector of loadings, the mean of its region plus an offset of its
    own, so that a unit never seen before starts as its region. The linear path sums what
    visible units say into `rank` components and smooths each in time; the transformer
    makes latents of them. Under the causal prompt both look at the past alone, strictly.
    """

    own_parts = ("offsets", "session_tokens")

    def __init__(self, sizes: DefaultSizes) -> None:
        super().__init__()
        self.sizes: DefaultSizes = sizes
        self.regions: list[str] = []
        self._parts = (sizes.rank, sizes.head, sizes.own, 1)
        self.region_means = nn.Parameter(torch.zeros(0, sum(self._parts)))  # (regions, ...)
        self.offsets = nn.ParameterList()
        self.session_tokens = nn.ParameterList()
        lags = torch.arange(-sizes.reach, sizes.reach + 1)
        width = torch.logspace(math.log10(1.5), math.log10(sizes.reach / 2), sizes.rank)[:, None]
        self.kernel = nn.Parameter(-0.5 * (lags / width) ** 2)
        self.past_kernel = nn.Parameter(-torch.arange(2 * sizes.reach + 1) / (1.5 * width))
        self.project = nn.Linear(2 * sizes.rank + 1, sizes.width)
        self.positions = nn.Parameter(0.02 * torch.randn(sizes.bins, sizes.width))
        self.prompts = nn.Embedding(len(TASKS), sizes.width)
        self.drop = Dropout(sizes.input_dropout)
        self.trunk = Trunk(
            width=sizes.width,
            layers=sizes.layers,
            heads=sizes.heads,
            hidden=sizes.hidden,
            dropout=sizes.dropout,
            rope=max(sizes.bins, LONGEST) if sizes.rope else None,
        )
        self.head = nn.Linear(sizes.width, sizes.head)
        nn.init.normal_(self.prompts.weight, std=0.02)

    def add_session(self, units: Units, *, neutral: bool) -> None:
        """Add the units' offsets: none where neutral, else small random ones to train from."""
        device = self.region_means.device
        if not neutral:
            self.add_regions(units.regions)
        rank = self.sizes.rank
        offsets = torch.zeros(len(units), sum(self._parts))
        if not neutral:
            offsets[:, :rank].normal_()
            offsets[:, rank : -1 - self.sizes.own].normal_(std=0.05)
        self._enter(units)
        self.offsets.append(nn.Parameter(offsets.to(device)))
        self.session_tokens.append(nn.Parameter(torch.zeros(self.sizes.width, device=device)))

    def set_reading(self, session: str, components: Tensor) -> None:
        """Start what a session's units say.

        `components` (N, rank) make sums of deviations of square roots of counts from
        their means.
        """
        read = components / self._read_scale(self.sessions[session])
        self._set(session, slice(0, self.sizes.rank), read)

    def set_writing(self, session: str, weights: Tensor, bias: Tensor) -> None:
        """Start what is made of latents: `weights` (N, head) and `bias` (N,) of log rates."""
        self._set(session, slice(self.sizes.rank, sum(self._parts[:2])), weights)
        self._set(session, slice(sum(self._parts[:3]), None), bias[:, None])

    def set_own_past(self, session: str, gains: Tensor) -> None:
        """Start what a session's units make of their own past: `gains` (N, own)."""
        self._set(session, slice(sum(self._parts[:2]), sum(self._parts[:3])), gains)

    def _set(self, session: str, part: slice, values: Tensor) -> None:
        means = self._region_rows(self.sessions[session])
        with torch.no_grad():
            self.offsets[self.index(session)][:, part] = values - means[:, part]

    @staticmethod
    def _read_scale(units: Units) -> float:
        return 4 / math.sqrt(len(units))  # sums of about unit size

    def _region_rows(self, units: Units) -> Tensor:
        """Return the mean loadings of each unit's region; of all regions, for a new one."""
        table = torch.cat([self.region_means, self._mean_region()[None]])
        places = {name: row for row, name in enumerate(self.regions)}
        rows = [places.get(region, len(places)) for region in units.regions]
        return table[torch.tensor(rows, device=table.device)]

    def _by_unit(self, session: str) -> list[Tensor]:
        return [self.offsets[self.index(session)]]

    def _by_session(self, session: str) -> list[Tensor]:
        return [self.session_tokens[self.index(session)]]

    def add_regions(self, names: Sequence[str]) -> None:
        """Give regions seen for the first time a mean, that of the others."""
        new = list(dict.fromkeys(name for name in names if name not in self.regions))
        with torch.no_grad():
            rows = self._mean_region().expand(len(new), -1)
            self.region_means = nn.Parameter(torch.cat([self.region_means, rows]))
        self.regions += new

    def _mean_region(self) -> Tensor:
        means = self.region_means
        return means.mean(0) if len(means) else means.new_zeros(means.shape[1])

    def activity(self, counts: Tensor) -> Tensor:
        """Return square roots of the counts, whose noise depends least on the rate."""
        return counts.to(self.positions.dtype).sqrt()

    def loadings(self, session: str) -> Loadings:
        """Return the loadings: region means plus offsets."""
        units = self.sessions[session]
        vectors = self._region_rows(units) + self.offsets[self.index(session)]
        read, write, own, bias = vectors.split(self._parts, dim=1)
        centre = torch.as_tensor(units.roots, device=read.device)[:, None]
        n = len(units)
        read = read * self._read_scale(units)
        share = read.new_full((n, 1), 1 / n)
        return Loadings(
            read=F.pad(read, (0, 1)),
            present=torch.cat([-centre * read, share], dim=1),
            shift=None,
            write=write,
            bias=_log(units.rates).to(read.device) + bias[:, 0],
            own=own / (centre + RATE_FLOOR),  # what is a large change depends on the rate
            centre=centre[:, 0],
        )

    def latents(
        self,
        inputs: Tensor,
        prompt: Tensor,
        session: str,
        *,
        causal: bool,
        strict: bool = False,  # noqa: ARG002 (it always is)
    ) -> Tensor:
        """Return latents (B, T, head)."""
        smooth, components, seen = self.components(inputs, causal=causal)
        x = self.project(torch.cat([smooth, components, seen], dim=-1))
        x = x + self._times(session, x.shape[1])
        x = x + self.prompts(prompt).view(-1, 1, x.shape[-1])
        x = self.drop(x + self.session_tokens[self.index(session)])
        out: Tensor = self.head(self.trunk(x, causal=causal))
        return out

    def _times(self, session: str, bins: int) -> Tensor:
        """Return what is added to tell the time of each bin (T, width); zeros where unknown."""
        first = self.sessions[session].first
        if first is None or (self.training and bool(torch.rand(()) < TIMES_UNKNOWN)):
            return self.positions.new_zeros(bins, self.positions.shape[1])
        before = min(max(-first, 0), bins)
        known = self.positions[max(first, 0) : max(first + bins, 0)]
        return F.pad(known, (0, 0, before, bins - before - len(known)))

    def know_times(self, before: int, after: int) -> None:
        """Make room for the time of more bins, of which nothing is known yet."""
        with torch.no_grad():
            self.positions = nn.Parameter(F.pad(self.positions, (0, 0, before, after)))
        self.sizes = replace(self.sizes, bins=len(self.positions))
        self.sessions = {
            name: units if units.first is None else replace(units, first=units.first + before)
            for name, units in self.sessions.items()
        }

    def components(self, inputs: Tensor, *, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return components smoothed and as they are (B, T, rank), and how much is seen."""
        components, seen = torch.split(inputs, [self.sizes.rank, 1], dim=-1)
        components = components * (seen + 1e-6).rsqrt()
        return self._smooth(components, causal=causal), components, seen

    def _smooth(self, components: Tensor, *, causal: bool) -> Tensor:
        """Weigh each component (B, T, rank) over nearby bins, or past ones if causal."""
        t = components.shape[1]
        reach = self.sizes.reach
        bins = torch.arange(t, device=components.device)
        lag = bins[:, None] - bins
        first, kernel = (0, self.past_kernel) if causal else (-reach, self.kernel)
        place = lag - first
        inside = (place >= 0) & (place < kernel.shape[1])
        weights = kernel.softmax(dim=1)[:, place.clamp(0, kernel.shape[1] - 1)] * inside
        return torch.einsum("kts,bsk->btk", weights, components)


def _log(rates: object) -> Tensor:
    """Log of mean rates; a silent unit is given one spike in ten thousand bins."""
    return torch.as_tensor(rates, dtype=torch.float32).clamp(min=1e-4).log()
