"""Ctrl-C and SIGTERM, heard at once where nothing is lost by it, and where something is, as soon as it is not."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Interruption"]


class Interruption:
    """Handles SIGINT and SIGTERM while the block runs: both raise KeyboardInterrupt.

    Where they are put off, the first one only tells `check` to raise it; the next one is not put off any more.

    Args:
        on_put_off: Called when a signal is put off.

    Attributes:
        signal: The number of the first signal, or None.
    """

    def __init__(self, on_put_off: Callable[[], None]) -> None:
        self.signal: int | None = None
        self._on_put_off = on_put_off
        self._is_put_off = False
        self._previous: dict[int, Any] = {}

    @contextlib.contextmanager
    def put_off(self) -> Iterator[None]:
        """Within the block only `check` raises, at moments when all is at rest."""
        self._is_put_off = True
        try:
            yield
        finally:
            self._is_put_off = False
        self.check()

    def check(self) -> None:
        """Raises KeyboardInterrupt if a signal has come, also if a library swallowed the exception at the time."""
        if self.signal is not None:
            raise KeyboardInterrupt

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *exc: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self.signal is not None and isinstance(exc[1], Exception):
            raise KeyboardInterrupt from exc[1]  # native code may make another error of the exception

    def _hear(self, number: int, frame: Any) -> None:
        is_first = self.signal is None
        self.signal = self.signal or number
        if not (self._is_put_off and is_first):
            raise KeyboardInterrupt
        self._on_put_off()
