"""Does the harm that docs/reliability.md speaks of, and prints what survived.

    python tests/torture/run.py                     # everything: at most half an hour on two cores
    python tests/torture/run.py hostile_models      # one kind
    python tests/torture/run.py --scale 0.1         # a tenth of it

Each module beside this one whose name is in HARMS has `run(scale, seed, folder)`, which yields a `Tally` for each kind
of harm. Ends with status 1 unless all that was tried survived and nothing was lost.
"""

from __future__ import annotations

import importlib
import pathlib
import sys
import tempfile
from collections.abc import Sequence

import click

sys.path.insert(0, str(pathlib.Path(__file__).parent))

HARMS: tuple[str, ...] = ("hostile_data", "endless_lines", "degenerate_tables")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--scale", type=click.FloatRange(0, min_open=True), default=1.0, help="How much of everything.")
@click.option("--seed", type=int, default=0, help="Of all that is random.")
def main(names: Sequence[str], scale: float, seed: int) -> None:
    """Runs the harms named, or all, and prints the table."""
    tallies = []
    print(f"{'harm':<68} {'tried':>8} {'survived':>8} {'lost':>5} {'seconds':>8}")
    for name in names or HARMS:
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            for tally in importlib.import_module(name).run(scale, seed, pathlib.Path(folder)):
                print(
                    f"{tally.harm:<68} {tally.tried:>8,} {tally.survived:>8,} {tally.lost:>5,} {tally.seconds:>8.1f}",
                    flush=True,
                )
                for failure in tally.failures[:5]:
                    print(f"    {failure}", flush=True)
                tallies.append(tally)
    tried, survived, lost = (sum(getattr(one, what) for one in tallies) for what in ("tried", "survived", "lost"))
    print(f"{'all':<68} {tried:>8,} {survived:>8,} {lost:>5,} {sum(one.seconds for one in tallies):>8.1f}")
    sys.exit(not (tallies and all(one.is_good for one in tallies)))


if __name__ == "__main__":
    main()
