"""Runs a command and says how long it took and how much memory it held.

Linux lets a process start with the peak memory of the one that launched it, so a benchmark that has loaded
scikit-learn would find its own size under every command. `run` therefore launches through this same file in a bare
interpreter, which holds about 10 MB.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

QUIET = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


class Run(NamedTuple):
    """What a command took: wall time in seconds, peak resident memory in MB (10^6 bytes), and what it told stderr."""

    wall: float
    peak: float
    stderr: str


def run(command: Sequence[str | Path], folder: Path) -> Run:
    """Runs ``command`` in ``folder``, without a GPU, its standard output thrown away.

    Raises
    ------
    RuntimeError
        If the command ends with another exit status than 0; the message has its standard error.
    """
    words = [str(word) for word in command]
    launcher = [sys.executable, "-I", "-S", __file__, *words]
    done = subprocess.run(launcher, cwd=folder, env=os.environ | QUIET, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with status {done.returncode}:\n{done.stderr.strip()[-2000:]}")
    measured = json.loads(done.stdout)
    return Run(measured["wall"], measured["peak"], done.stderr)


def _launch(command: Sequence[str]) -> int:
    started = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)  # else Popen's destructor looks for a child that is gone
    print(json.dumps({"wall": wall, "peak": usage.ru_maxrss * 1024 / 1e6}))  # ru_maxrss is in KiB on Linux
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(_launch(sys.argv[1:]))
