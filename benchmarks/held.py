"""How long functions of some modules hold the main thread, from outermost call to return."""

import functools
import importlib
import inspect
import pkgutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any


@dataclass(frozen=True)
class Call:
    """A call from outside: seconds until it returned, and how many of them were our own."""

    name: str = ""
    seconds: float = 0.0
    own: float = 0.0


@dataclass
class Held:
    """What was called from outside on the main thread."""

    calls: list[Call] = field(default_factory=list)
    _inside: bool = False
    _apart: float | None = None
    """Seconds of the call under way that are not our own; None while it is not our turn."""

    def longest(self) -> Call:
        """Return the call that took longest."""
        return max(self.calls, key=lambda call: call.seconds, default=Call())

    def longest_own(self) -> Call:
        """Return the call of which most was our own."""
        return max(self.calls, key=lambda call: call.own, default=Call())

    def leave_out(self, kind: type, name: str) -> None:
        """Let a method of somebody else's not count as our own where we call it."""
        method = getattr(kind, name)

        @functools.wraps(method)
        def timed(*given: Any, **named: Any) -> Any:
            if self._apart is None or threading.current_thread() is not threading.main_thread():
                return method(*given, **named)
            before, self._apart, start = self._apart, None, time.perf_counter()
            try:
                return method(*given, **named)
            finally:
                self._apart = before + time.perf_counter() - start

        setattr(kind, name, timed)

    def watch(self, package: ModuleType) -> None:
        """Time all methods of the classes in a package's modules.

        Must come before any object is made of them: what is connected before is not seen.
        """
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for kind in vars(module).values():
                if inspect.isclass(kind) and kind.__module__ == module.__name__:
                    self._watch_class(kind)

    def _watch_class(self, kind: type) -> None:
        for name, value in tuple(vars(kind).items()):
            if isinstance(value, FunctionType) and not inspect.isgeneratorfunction(value):
                setattr(kind, name, self._timed(value))

    def _timed(self, function: FunctionType) -> Callable[..., Any]:
        most = _most_arguments(function)
        main = threading.main_thread()

        @functools.wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            given = given[:most]  # Qt tries with fewer arguments where a slot refuses some
            if self._inside or threading.current_thread() is not main:
                return function(*given, **named)
            self._inside, self._apart, start = True, 0.0, time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                seconds, apart = time.perf_counter() - start, self._apart
                self._inside, self._apart = False, None
                self.calls.append(Call(function.__qualname__, seconds, seconds - (apart or 0.0)))

        return timed


def _most_arguments(function: FunctionType) -> int | None:
    """How many arguments by position a function takes; None for any number."""
    code = function.__code__
    return None if code.co_flags & inspect.CO_VARARGS else code.co_argcount
