"""Processes that share work, and end at once with whoever began it."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context


@contextmanager
def pool(workers: int, begin: Callable[[], object] | None = None) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of fresh processes, each of which calls `begin` first.

    Whatever ends the block early, Ctrl-C among it, ends the processes in the middle of their
    work. Ctrl-C itself they do not hear.
    """
    before = set(active_children())
    made = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(begin,)
    )
    try:
        yield made
    except BaseException:
        for process in set(active_children()) - before:
            process.terminate()
        raise
    finally:
        made.shutdown(cancel_futures=True)


def _begin(begin: Callable[[], object] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if begin is not None:
        begin()
