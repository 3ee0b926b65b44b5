"""The program's threads share one heap, from its first step."""

import platform
import subprocess
import sys

import pytest

HEAPS = """
import ctypes, sys, threading
from types import ModuleType

def take(*_, **__):
    # A heap is taken by whatever asks for memory while the others are asking.
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    together = threading.Barrier(8)
    def one():
        libc.malloc(100)
        together.wait()
    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
    libc.malloc_info(0, file)
    libc.fclose(file)

if sys.argv[2] == "program":
    launch = sys.modules["napari_mtm.ui.launch"] = ModuleType("launch")
    launch.launch = take
    from napari_mtm.cli import main
    main(["open", "sample"])
else:
    take()
"""


def test_threads_of_the_program_share_one_heap(tmp_path):
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc gives each thread a heap of its own")
    heaps = {}
    for how in ("program", "bare"):
        file = tmp_path / how
        subprocess.run([sys.executable, "-c", HEAPS, str(file), how], check=True)
        heaps[how] = file.read_text().count("<heap nr=")
    assert heaps["program"] == 1
    assert heaps["bare"] >= 5
