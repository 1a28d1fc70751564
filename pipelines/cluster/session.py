"""A connection to a Ray cluster, or a cluster on this machine that lives as long as the work takes."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from pipelines.errors import AugmentError, UsageError, library_message
from pipelines.native_logs import quiet_native_logs

__all__ = ["Cluster", "cluster_of", "connected"]

_ENGINES = ("local", "ray")
_LAST_PORT = 65_535
_SECONDS_TO_ANSWER = 10


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Which cluster, and how much of it.

    Attributes:
        address: Of the cluster, `auto` for the one this machine belongs to, or None to start one on this machine.
        workers: How many processes work. Default: one for each core of the cluster.
    """

    address: str | None = None
    workers: int | None = None


def cluster_of(engine: str, address: str | None, workers: int | None) -> Cluster | None:
    """Returns the cluster of an engine, or None for the engine that needs none.

    Raises:
        UsageError: If there is no such engine, it is not installed, or what is said does not go with it.
    """
    if engine not in _ENGINES:
        raise UsageError(f"there is no engine {engine!r}; there are {' and '.join(_ENGINES)}.")
    if engine == "ray":
        if workers is not None and workers < 1:
            raise UsageError(f"workers must be at least 1, got {workers}.")
        try:
            import pydantic  # noqa: F401 (which Ray Train needs)
            import ray  # noqa: F401
        except ImportError as error:
            raise UsageError(
                "the engine ray needs Ray: in a checkout, pip install -c constraints.txt '.[ray]'"
            ) from error
        return Cluster(address, workers)
    if address is not None or workers is not None:
        raise UsageError("an address and a number of workers go with the engine ray, which is not asked for.")
    return None


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[int]:
    """Connects to a cluster for the block, and yields the number of workers to use.

    Args:
        cluster: Which. If the calling process is connected to one already, it is that.

    Raises:
        AugmentError: If there is no such cluster, or it has too few cores.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors come as exceptions, too
    import ray
    import ray.data

    for name in ("ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    address, workers = cluster.address, cluster.workers
    if ray.is_initialized():  # by who called, and is theirs to end
        yield _workers(ray, workers)
        return
    here: dict[str, Any] = {} if address else {"num_cpus": max(workers or 0, len(os.sched_getaffinity(0)))}
    if address:
        _check_reachable(address)
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if is_main else {}
    try:
        with quiet_native_logs():
            ray.init(
                address=address or "local",
                include_dashboard=False if not address else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **here,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"the Ray cluster at {address!r}" if address else "a Ray cluster on this machine"
        raise AugmentError(f"{where} cannot be used: {library_message(error)}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray takes SIGTERM, and would exit with 15
    try:
        yield _workers(ray, workers)
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises `AugmentError` if nobody answers at `host:port`: Ray would try for more than a minute."""
    host, mark, port = address.rpartition("/")[2].rpartition(":")
    if not (mark and port.isdigit()):
        return
    try:
        if int(port) > _LAST_PORT:  # the system would take it for another one
            raise OSError(f"there is no port {port}")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise AugmentError(f"the Ray cluster at {address!r} cannot be reached: {error}.") from error


def _workers(ray: Any, asked_for: int | None) -> int:
    cores = int(ray.cluster_resources().get("CPU", 0))
    if (asked_for or 1) > cores:
        raise AugmentError(
            f"{asked_for or 1} workers need as many cores; the cluster has {cores}. Ask for fewer workers."
        )
    return asked_for or cores
