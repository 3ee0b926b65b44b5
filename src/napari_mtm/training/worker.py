"""Fine-tuning in a process of its own: what a window starts, watches, pauses and stops.

The two processes talk in lines of JSON over the child's standard input and output. Nothing is
lost by whatever ends either of them: the run is on disk, and goes on from its last save. A
child whose starter is gone saves and ends, unless it was told to go on alone.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from napari_mtm.processes import LOW_PRIORITY, NO_CONSOLE
from napari_mtm.training.messages import Assignment, Ended, News, Order, line_of, news_of

_PACKAGE = str(Path(__file__).parents[2])
"""Where the child finds this package, also in a checkout where nothing is installed."""


class Worker:
    """A fine-tuning in another process, as the process that started it sees it.

    It goes on while it is not looked at. `ended` is set once there is nothing more to hear.
    """

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.ended: Ended | None = None
        self._heard: SimpleQueue[News] = SimpleQueue()
        # A file, since a pipe would break with this process: who is left alone may print there.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by `_listen`
        paths = os.pathsep.join(filter(None, (_PACKAGE, os.environ.get("PYTHONPATH"))))
        # In a session of its own: a Ctrl-C in the terminal is for the program, not for it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "napari_mtm.training.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,
            creationflags=NO_CONSOLE | (LOW_PRIORITY if assignment.nice else 0),
        )
        self._send(line_of(assignment))
        threading.Thread(target=self._listen, daemon=True, name="training").start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def look(self) -> list[News]:
        """Return what was told since the last time, and never wait for it."""
        told: list[News] = []
        with suppress(Empty):
            while True:
                told.append(self._heard.get_nowait())
        for news in told:
            if isinstance(news, Ended):
                self.ended = news
        return told

    def pause(self) -> None:
        """Let it wait after the step in hand."""
        self._order("pause")

    def go_on(self) -> None:
        """End a pause."""
        self._order("go on")

    def stop(self) -> None:
        """Let it end after the step in hand, and keep the best weights."""
        self._order("stop")

    def cancel(self) -> None:
        """Let it end, and remove the run if it was begun by this assignment."""
        self._order("cancel")

    def use_threads(self, number: int) -> None:
        """Let it use so many threads of the CPU from now on."""
        self._order(number)

    def leave(self) -> None:
        """Let it go on to its end when this process is gone."""
        self._order("leave")

    def close(self, timeout: float | None = None) -> bool:
        """Stop listening; return whether the process ended within `timeout` seconds.

        Unless it was left alone, it saves and ends.
        """
        stdin = self._process.stdin
        assert stdin is not None
        with suppress(OSError):
            stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _order(self, order: Order) -> None:
        self._send(line_of(order))

    def _send(self, line: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        # One that is gone says so by its end.
        with suppress(OSError, ValueError):
            stdin.write(line)
            stdin.flush()

    def _listen(self) -> None:
        """Hear news on a thread, until there are no more."""
        ended, stream = False, self._process.stdout
        assert stream is not None
        with stream:
            for line in stream:
                news = news_of(line)
                self._heard.put(news)
                ended = isinstance(news, Ended)
        code = self._process.wait()
        with self._errors:
            if not ended:
                self._heard.put(Ended("killed", self._why_killed(code)))

    def _why_killed(self, code: int) -> str:
        how = f"by signal {-code} ({_signal_name(-code)})" if code < 0 else f"with code {code}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        said = f" Its last words: {last.strip()}" if last else ""
        return f"The training process ended {how}; the run can be resumed.{said}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
