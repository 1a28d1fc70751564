"""Cases done one after another in a process of their own, so that none can take others' time or memory or end them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import pathlib
import resource
import warnings
from collections.abc import Callable, Iterator

__all__ = ["watched"]

# Far above what is measured: what stays below it cannot harm the machine the tests run on.
_ADDRESS_SPACE = 12 << 30


def watched(check: Callable[[int], str | None], cases: range, *, seconds: float, memory: int) -> Iterator[str | None]:
    """Yields what is wrong with each case, or None.

    Args:
        check: Does a case, told by its number, and returns what is wrong with it or None; a function of a module, or a
            partial of one. What it raises is wrong, warnings of numpy's arithmetic included.
        cases: The numbers.
        seconds: What a case may take before its process is killed.
        memory: Bytes of resident memory that the process must never have had.
    """
    context = multiprocessing.get_context("spawn")
    start = cases.start
    while start < cases.stop:
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(check, start, cases.stop, memory, there), daemon=True)
        process.start()
        there.close()
        if not here.poll(120) or here.recv() != "ready":
            raise RuntimeError("the process of the cases did not start")
        while start < cases.stop:
            try:
                if here.poll(seconds):
                    problem = here.recv()
                    yield None if problem is None else f"case {start}: {problem}"
                    start += 1
                    continue
                problem = f"no end after {seconds:g} s"
            except EOFError:
                process.join()
                problem = f"the process died ({process.exitcode})"
            yield f"case {start}: {problem}"
            start += 1
            break
        process.kill()
        process.join()


def _serve(
    check: Callable[[int], str | None], start: int, stop: int, memory: int, there: multiprocessing.connection.Connection
) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    warnings.filterwarnings("error", category=RuntimeWarning)
    there.send("ready")
    told = False
    for number in range(start, stop):
        try:
            problem = check(number)
        except BaseException as error:  # whatever it is, it is told
            problem = f"{type(error).__name__}: {error}"[:500] + _where(error)
        peak = _peak()
        if problem is None and peak > memory and not told:
            problem, told = f"the process has had {peak / 1e6:,.0f} MB", True
        there.send(problem)


def _peak() -> int:
    """The most bytes of resident memory that this process has had; getrusage counts the process it was forked from."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


def _where(error: BaseException) -> str:
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f" ({' '.join(places[-6:])})"
