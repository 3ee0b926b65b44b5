"""How long functions of some modules hold a thread, counted from outermost call to return."""

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


@dataclass
class Held:
    """What was called from outside on the main thread: names, and seconds until it returned."""

    calls: list[tuple[str, float]] = field(default_factory=list)
    _inside: bool = False

    def longest(self) -> tuple[str, float]:
        """Return the call that took longest, and its seconds."""
        return max(self.calls, key=lambda call: call[1], default=("", 0.0))

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
            self._inside, start = True, time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                self._inside = False
                self.calls.append((function.__qualname__, time.perf_counter() - start))

        return timed


def _most_arguments(function: FunctionType) -> int | None:
    """How many arguments by position a function takes; None for any number."""
    code = function.__code__
    return None if code.co_flags & inspect.CO_VARARGS else code.co_argcount
