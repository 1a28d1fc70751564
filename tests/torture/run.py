"""Does the harm that docs/reliability.md speaks of, and prints what survived.

    python tests/torture/run.py                     # everything
    python tests/torture/run.py hostile_models      # one kind
    python tests/torture/run.py --scale 0.1         # a tenth of it

Each module beside this one whose name is in HARMS has `run(scale, seed, folder)`, which yields a `Tally` for each kind
of harm. As many modules run at a time as there are cores. Ends with status 1 unless all that was tried survived and
nothing was lost.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

import click

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from tally import Tally

# The longest first: no core is left alone with one in the end.
HARMS: tuple[str, ...] = (
    "killed_fits",
    "hostile_models",
    "killed_generates",
    "degenerate_tables",
    "hostile_data",
    "endless_lines",
    "full_disks",
)


def do_harm(name: str, scale: float, seed: int) -> list[Tally]:
    """Runs one module in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        return list(importlib.import_module(name).run(scale, seed, pathlib.Path(folder)))


@click.command()
@click.argument("names", nargs=-1)
@click.option("--scale", type=click.FloatRange(0, min_open=True), default=1.0, help="How much of everything.")
@click.option("--seed", type=int, default=0, help="Of all that is random.")
def main(names: Sequence[str], scale: float, seed: int) -> None:
    """Runs the harms named, or all, and prints the table."""
    tallies: list[Tally] = []
    started = time.monotonic()
    print(f"{'harm':<88} {'tried':>8} {'survived':>8} {'lost':>5} {'seconds':>8}", flush=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=spawn) as pool:
        for done in as_completed([pool.submit(do_harm, name, scale, seed) for name in names or HARMS]):
            for tally in done.result():
                print(
                    f"{tally.harm:<88} {tally.tried:>8,} {tally.survived:>8,} {tally.lost:>5,} {tally.seconds:>8.1f}",
                    *(f"    {failure}" for failure in tally.failures[:5]),
                    sep="\n",
                    flush=True,
                )
                tallies.append(tally)
    tried, survived, lost = (sum(getattr(one, what) for one in tallies) for what in ("tried", "survived", "lost"))
    print(f"{'all':<88} {tried:>8,} {survived:>8,} {lost:>5,} {time.monotonic() - started:>8.1f}")
    sys.exit(not all(one.is_good for one in tallies))


if __name__ == "__main__":
    main()
