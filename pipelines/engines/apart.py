"""Graphs that somebody else made run in a process of their own: a crash or a hang is then an error in words."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.engines.messages import receive, receive_array, send
from pipelines.engines.signatures import Signature

__all__ = ["ApartError", "KilledError", "Process", "RuntimeApart"]

# Seconds: for any message, and beyond that for each byte of a graph that is read, and that each row goes through.
_PATIENCE, _PER_BYTE, _PER_BYTE_AND_ROW = 60.0, 1e-5, 1e-9
_PATIENCE_WITH_THE_DEAD = 5.0
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # a crash gives none of them
# Not `-m`, which would import what lies in the current folder.
_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from pipelines.engines.apart_child import main; main(int(sys.argv[1]))"
)


class ApartError(Exception):
    """A graph cannot be run; the message says what became of it, in words that go on from its name."""


class KilledError(ApartError):
    """Somebody else ended the process, which says nothing of the graph."""


class Process:
    """The process in which the graphs of one model run; it ends with this object.

    Raises:
        ApartError: If it cannot be started.
    """

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        arguments = [sys.executable, "-I", "-c", _MAIN, str(theirs.fileno()), json.dumps(sys.path)]
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for this process, which then hangs up
            )
        except OSError as error:
            self._control.close()
            raise ApartError(f"cannot be run in a process of its own ({error.strerror})") from error
        finally:
            theirs.close()
        self._lock = threading.Lock()
        self._stop = weakref.finalize(self, _stop, self._process, self._control)

    def connect(self) -> socket.socket:
        """Returns a connection for one graph; raises `OSError` if the process is gone."""
        mine, theirs = socket.socketpair()
        with theirs, self._lock:
            try:
                socket.send_fds(self._control, [b"g"], [theirs.fileno()])
            except OSError:
                mine.close()
                raise
        return mine

    def stop(self) -> None:
        """Ends the process, whatever it does."""
        self._stop()

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def killed_by(self) -> str | None:
        """The signal from outside by which the process ended, if one did."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_PATIENCE_WITH_THE_DEAD)
            if -code in _FROM_OUTSIDE:
                return signal.Signals(-code).name
        return None

    @property
    def end(self) -> str:
        """How the process ended, in words."""
        try:
            code = self._process.wait(_PATIENCE_WITH_THE_DEAD)
        except subprocess.TimeoutExpired:
            return "no longer answers"
        if code >= 0:
            return f"ended the process that ran it (status {code})"
        return f"crashed the process that ran it ({signal.Signals(-code).name})"


def _stop(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    process.kill()
    process.wait()


class RuntimeApart:
    """Runs a graph in another process, where it is checked and written anew before.

    Args:
        process: Where.
        content: A LiteRT flatbuffer, whatever is in it.
        member: Its name in the model file, such as `sampler.tflite`.
        classes: The number of the model's discrete columns.
        numbers: The number of its continuous columns.
        signature: What follows from these.
        threads: How many it uses.

    Raises:
        ApartError: If it is none that our exports give, or cannot be run.
    """

    def __init__(
        self,
        process: Process,
        content: bytes,
        member: str,
        classes: int,
        numbers: int,
        signature: Signature,
        threads: int,
    ) -> None:
        self._process, self._signature, self._size = process, signature, len(content)
        head = {"bytes": len(content), "member": member, "classes": classes, "numbers": numbers, "threads": threads}
        with self._exchange(_PATIENCE + _PER_BYTE * len(content)) as deadline:
            self._connection = process.connect()
            weakref.finalize(self, self._connection.close)
            answer = self._ask(head, [content], deadline)
            inputs = answer.get("inputs")
            if not isinstance(inputs, list) or not set(map(str, inputs)) <= set(signature.inputs):
                raise ApartError("has other inputs than it should have")
        self.inputs = inputs

    def __call__(self, inputs: Mapping[str, np.ndarray], rows: int) -> list[np.ndarray]:
        """Returns its outputs for so many rows, those of the lowest rank first.

        Raises:
            ApartError: If it fails, crashes, takes too long or gives something else.
        """
        values = [np.ascontiguousarray(value) for value in inputs.values()]
        arrays = [(name, str(value.dtype), value.shape) for name, value in zip(inputs, values, strict=True)]
        with self._exchange(_PATIENCE + _PER_BYTE_AND_ROW * self._size * rows) as deadline:
            answer = self._ask({"arrays": arrays}, values, deadline)
            wanted = [(entry.dtype, entry.shape_for(rows)) for entry in self._signature.outputs]
            if answer.get("arrays") != [[dtype, list(shape)] for dtype, shape in wanted]:
                raise ApartError("gives something else than it should give")
            return [receive_array(self._connection, dtype, shape, deadline) for dtype, shape in wanted]

    def _ask(self, head: Mapping[str, Any], parts: list[Any], deadline: float) -> Any:
        self._connection.settimeout(max(1e-3, deadline - time.monotonic()))
        send(self._connection, head, parts)
        answer = receive(self._connection, deadline)
        if not isinstance(answer, dict) or "problem" in answer:
            raise ApartError(f"cannot be run ({answer['problem'] if isinstance(answer, dict) else 'no answer'})")
        return answer

    @contextlib.contextmanager
    def _exchange(self, seconds: float) -> Any:
        """Yields when to give up; what goes wrong until then is told in words."""
        try:
            yield time.monotonic() + seconds
        except TimeoutError as error:
            self._process.stop()
            raise ApartError(f"was stopped: it took more than {seconds:.0f} s") from error
        except (OSError, EOFError, ValueError) as error:
            if by := self._process.killed_by:
                raise KilledError(by) from error
            raise ApartError(self._process.end) from error
