"""Measures rows made and models fitted on a Ray cluster of this machine's cores, and writes the README's tables.

    python benchmarks/cluster.py rows       # 20 million rows of moons, and up to 100 million for the memory
    python benchmarks/cluster.py fit        # a table of 5 million rows: three seeds alone, then by all cores
    python benchmarks/cluster.py rows --rows 2e6 --most 2e6

The parts of one process, of one worker, of two, and of two one of which is killed half way are compared by their
manifests, which hold the SHA-256 of each file. Nothing is written outside a temporary folder, which needs 2 GB.
"""

import argparse
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from figures import aligned, machine, write_section
from sklearn.datasets import make_moons

import pipelines
from pipelines.cluster.session import Cluster, connected

MOONS = Path(__file__).parents[1] / "data" / "moons.csv"


class Workers:
    """The processes that make parts, and the most memory that one of them has had."""

    def __init__(self) -> None:
        self.peak = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Workers":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.2):
            for folder in processes(b"_Maker"):
                for line in _read(folder / "status").splitlines():
                    if line.startswith(b"VmHWM:"):
                        self.peak = max(self.peak, 1024 * int(line.split()[1]))


def processes(name: bytes) -> list[Path]:
    """The folders under /proc of the processes of a name."""
    return [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if name in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has just ended


def parts(manifest: Path) -> list[dict[str, object]]:
    """What a manifest says of its parts."""
    found: list[dict[str, object]] = json.loads((manifest / "manifest.json").read_text())["parts"]
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rows", "fit"])
    parser.add_argument("--rows", type=float, help="2e7 new ones, or a table of 5e6")
    parser.add_argument("--most", type=float, default=1e8, help="rows of the last measurement of memory (1e8)")
    options = parser.parse_args()
    if options.what == "rows":
        make_rows(int(options.rows or 2e7), int(options.most))
    else:
        fit(int(options.rows or 5e6))


def fit(rows: int) -> None:
    """Fits one table by one process with three seeds, and by all cores, once undisturbed and once with a kill."""
    lines = [("engine", "seed", "seconds", "steps", "held out, nats a row")]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "moons.parquet"
        points, _ = make_moons(rows, noise=0.05, random_state=0)
        pd.DataFrame(points.round(6), columns=["x", "y"]).to_parquet(table)

        def fitted(name: str, seed: int, **how: object) -> None:
            started = time.monotonic()
            found = pipelines.fit(table, model=Path(folder) / "m.augment", force=True, seed=seed, max_rows=rows, **how)
            lines.append((name, str(seed), f"{time.monotonic() - started:.1f}", f"{found.steps_done:,}",
                          f"{found.log_likelihood:.4f}"))  # fmt: skip
            print("  ".join(lines[-1]), flush=True)

        for seed in range(3):
            fitted("this process", seed)
        with connected(Cluster()) as cores:
            for seed in range(2):
                fitted(f"ray, {cores} workers", seed, engine="ray", workers=cores)
            killed: list[int] = []

            def kill(progress: pipelines.Progress) -> None:
                if progress.done > 0.5 and not killed:
                    killed.append(int(processes(b"RayTrainWorker")[0].name))
                    os.kill(killed[0], signal.SIGKILL)

            fitted(f"ray, {cores} workers, one killed half way", 0, engine="ray", workers=cores, on_progress=kill)
            assert killed, "no worker was killed"
    text = f"{aligned(lines)}\n\nA table of {rows:,} rows.\n\n{machine()}"
    print(text)
    write_section("cluster fit", text)


def make_rows(rows: int, most: int) -> None:
    """Makes the same rows by one process and by workers, and more and more for the memory."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = place / "moons.augment"
        pipelines.fit(MOONS, model=model, seed=0)

        def made(name: str, count: int, told: Callable[[int], None] | None = None, **how: object) -> float:
            started = time.monotonic()
            target = place / name
            pipelines.generate(
                model, count, parts=target, seed=0, part_suffix=".parquet", force=True, on_progress=told, **how
            )
            return time.monotonic() - started

        lines = [("engine", "rows", "seconds", "rows/s", "peak of a worker", "as this process's")]

        def add(engine: str, count: int, seconds: float, peak: int, name: str) -> None:
            same = ""
            if (place / "here").exists():
                same = "yes" if parts(place / name) == parts(place / "here") else "NO"
            memory = f"{peak / 1e6:,.0f} MB" if peak else ""
            lines.append((engine, f"{count:,}", f"{seconds:.1f}", f"{count / seconds:,.0f}", memory, same))
            print("  ".join(lines[-1]), flush=True)

        add("this process", rows, made("here", rows), 0, "here")
        started = time.monotonic()
        with connected(Cluster()) as cores:
            lines.append(("(Ray starts)", "", f"{time.monotonic() - started:.1f}", "", "", ""))
            whole, rates = {}, {}
            for workers in (1, cores):
                start = made("start", 1, engine="ray", workers=workers)
                lines.append((f"(of {workers} worker{'s' * (workers > 1)}: start)", "1", f"{start:.1f}", "", "", ""))
                with Workers() as watched:
                    seconds = made("there", rows, engine="ray", workers=workers)
                whole[workers], rates[workers] = seconds, seconds - start
                add(f"ray, {workers} worker{'s' * (workers > 1)}", rows, seconds, watched.peak, "there")
            with Workers() as watched:
                done = [0, 0]

                def kill(count: int) -> None:
                    done[0] += count
                    if done[0] > rows // 2 and not done[1]:
                        done[1] = int(processes(b"_Maker")[0].name)
                        os.kill(done[1], signal.SIGKILL)

                seconds = made("there", rows, kill, engine="ray", workers=cores)
            assert done[1], "no worker was killed"
            add(f"ray, {cores} workers, one killed half way", rows, seconds, watched.peak, "there")
            shutil.rmtree(place / "here")
            for count in (10**6, 10**7, 10**8):
                if count <= most:
                    with Workers() as watched:
                        seconds = made("there", count, engine="ray", workers=cores)
                    add(f"ray, {cores} workers", count, seconds, watched.peak, "there")
        text = aligned(lines) + (
            f"\n\n{cores} workers make {whole[1] / whole[cores]:.2f} times as many rows a second as one, "
            f"{rates[1] / rates[cores]:.2f} times if the time of a single row, which is that of the workers' start, is "
            f"taken off.\n\n{machine()}"
        )
    print(text)
    write_section("cluster", text)


if __name__ == "__main__":
    main()
