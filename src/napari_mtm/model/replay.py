"""Passes over one trial on a GPU, recorded once and replayed.

A pass is some three hundred small kernels. To launch them one by one takes the CPU several
times as long as the GPU needs for all; a recording of them is launched at once.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import TypeAlias

import torch
from torch import Tensor

Pass: TypeAlias = Callable[..., tuple[Tensor, ...]]
"""Tensors on the GPU in, tensors on the GPU out; the same kernels whatever their values are."""

_MOST = 8
"""Recordings that are kept; each holds the memory that its pass needs."""


class Replays:
    """Recordings of passes, each made when its pass is asked for again with the same weights."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[Hashable, tuple[object, _Recording | None]] = OrderedDict()
        self._possible = True

    def run(self, name: Hashable, state: object, work: Pass, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return `work(*inputs)`.

        `name` says which pass it is, and `state` is another object whenever tensors that it
        uses besides its inputs may have been replaced. It may not need gradients. Where it
        cannot be recorded it is run as it is.
        """
        name = name, *((tensor.shape, tensor.dtype) for tensor in inputs)
        with self._lock:
            known, recording = self._seen.pop(name, (None, None))
            recording = recording if known is state else None
            if known is state and recording is None and self._possible:
                recording = self._record(work, *inputs)
            self._keep(name, state, recording)
            run = work if recording is None else recording
            return run(*inputs)

    def __reduce__(self) -> tuple[type["Replays"], tuple[()]]:
        """Copy as new: recordings are of the tensors of whoever made them."""
        return Replays, ()

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._seen.clear()

    def _record(self, work: Pass, *inputs: Tensor) -> "_Recording | None":
        try:
            return _Recording(work, *inputs)
        except RuntimeError:  # too little memory for it is one, too
            self._possible = False
            return None

    def _keep(self, name: Hashable, state: object, recording: "_Recording | None") -> None:
        self._seen[name] = state, recording
        if len(self._seen) > _MOST:
            self._seen.popitem(last=False)


class _Recording:
    """One pass, and the tensors that it reads from and writes to."""

    def __init__(self, work: Pass, *inputs: Tensor) -> None:
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        self._graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work(*self._inputs)  # what libraries set up at first is no part of it
            # Torch's own context for this would search for garbage, on a thread that is not Qt's.
            # Other threads may go on using the GPU meanwhile.
            self._graph.capture_begin(capture_error_mode="thread_local")
            try:
                self._outputs = work(*self._inputs)
            except BaseException:
                with suppress(RuntimeError):  # it was cut short, which is no news
                    self._graph.capture_end()
                raise
            self._graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return tuple(tensor.clone() for tensor in self._outputs)
