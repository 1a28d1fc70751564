"""Messages between a process and the one that runs graphs apart: JSON and arrays, and nothing that could be run."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["receive", "receive_array", "receive_bytes", "send"]

_LENGTH = struct.Struct("<I")
_MAX_BYTES = 1 << 20


def send(connection: socket.socket, head: Mapping[str, Any], parts: Sequence[Any] = ()) -> None:
    """Sends a JSON object and what follows it: bytes, or arrays whose type and shape it says."""
    text = json.dumps(head).encode()
    connection.sendall(_LENGTH.pack(len(text)) + text)
    for part in parts:
        connection.sendall(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())


def receive(connection: socket.socket, deadline: float | None = None) -> Any:
    """Returns the next JSON value.

    Args:
        connection: The socket.
        deadline: When to give up, by `time.monotonic`.

    Raises:
        EOFError: If the other side hung up.
        TimeoutError: If it is late.
        ValueError: If it is no JSON, or more than a message has.
    """
    (length,) = _LENGTH.unpack(receive_bytes(connection, _LENGTH.size, deadline))
    if length > _MAX_BYTES:
        raise ValueError("a message is too long")
    return json.loads(receive_bytes(connection, length, deadline))


def receive_array(
    connection: socket.socket, dtype: str, shape: Sequence[int], deadline: float | None = None
) -> np.ndarray:
    """Returns an array of a known type and shape. Raises as `receive` does."""
    array = np.empty(shape, dtype)
    _fill(connection, memoryview(array.reshape(-1).view(np.uint8)), deadline)  # type: ignore[arg-type]
    return array


def receive_bytes(connection: socket.socket, length: int, deadline: float | None = None) -> bytes:
    """Returns so many bytes. Raises as `receive` does."""
    data = bytearray(length)
    _fill(connection, memoryview(data), deadline)
    return bytes(data)


def _fill(connection: socket.socket, view: memoryview, deadline: float | None) -> None:
    done = 0
    while done < len(view):
        if deadline is not None:
            connection.settimeout(max(1e-3, deadline - time.monotonic()))
        count = connection.recv_into(view[done:])
        if not count:
            raise EOFError("the other side hung up")
        done += count
