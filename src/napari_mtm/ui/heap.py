"""How the program's process takes memory from the system."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE, _KEPT = 2**20, 2**25


def keep_memory_together() -> None:
    """Let glibc give back what sessions and models leave behind.

    They come and go on threads of their own, and what is left between the pieces that stay is
    never given back: so all threads share one heap, and large arrays, sessions say, lie
    outside of it, however many of them have gone.

    Call it before anything that begins a thread is imported: a heap that is there is used on.
    """
    if sys.platform.startswith("linux"):
        tune = getattr(ctypes.CDLL(None), "mallopt", None)  # not there with another libc
        if tune is not None:
            tune(_M_ARENA_MAX, 1)
            tune(_M_MMAP_THRESHOLD, _LARGE)
            tune(_M_TRIM_THRESHOLD, _KEPT)
