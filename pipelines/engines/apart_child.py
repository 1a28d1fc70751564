"""Runs the graphs of a model that somebody else made, in a process that may crash or hang without harm to others.

Started by `apart.py`, with a socket whose number is its only argument. Each message on it brings the socket of one
graph, which a thread then serves: first the graph, checked and written anew, then call after call. Nothing is read
from a message but JSON of known entries and numbers.
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import socket
import threading

from pipelines.engines.graph_checks import GraphError, checked
from pipelines.engines.messages import receive, receive_array, receive_bytes, send
from pipelines.engines.runtime import Runtime
from pipelines.engines.signatures import signature_of

__all__ = ["main"]

# Bytes that may be taken in all: half of what the machine has, but no more than this.
_MAX_MEMORY = 1 << 33


def main(descriptor: int) -> None:
    """Serves graphs until the other side hangs up, whatever they do then.

    Args:
        descriptor: Of a socket.
    """
    control = socket.socket(fileno=descriptor)
    for kind, limit in (
        (resource.RLIMIT_AS, _memory()),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),  # no file is written to
    ):
        with contextlib.suppress(OSError, ValueError):  # where less is allowed already
            resource.setrlimit(kind, (limit, limit))
    while True:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            os._exit(0)  # a graph may still run, and nobody waits for it
        connection = socket.socket(fileno=descriptors[0])
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _memory() -> int:
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    return taken + min(_MAX_MEMORY, os.sysconf("SC_PHYS_PAGES") * resource.getpagesize() // 2)


def _serve(connection: socket.socket) -> None:
    """Serves one graph."""
    with contextlib.suppress(OSError, EOFError), connection:
        try:
            runtime = _load(connection)
            send(connection, {"inputs": runtime.inputs})
            while True:
                arrays = receive(connection)["arrays"]
                outputs = runtime({name: receive_array(connection, dtype, shape) for name, dtype, shape in arrays})
                heads = [(str(output.dtype), output.shape) for output in outputs]
                send(connection, {"arrays": heads}, outputs)
        except (GraphError, MemoryError, RuntimeError, ValueError) as error:
            send(connection, {"problem": str(error) or "it takes too much memory"})


def _load(connection: socket.socket) -> Runtime:
    head = receive(connection)
    content = receive_bytes(connection, head["bytes"])
    return Runtime(_checked(content, head["member"], head["classes"], head["numbers"]), head["threads"])


@functools.cache  # a graph is loaded once for each thread that runs it
def _checked(content: bytes, member: str, classes: int, numbers: int) -> bytes:
    return checked(content, signature_of(member, classes, numbers))
