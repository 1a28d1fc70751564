"""Measures how fast training, densities, sampling and the command are, beside other libraries and the machine's limit.

    python benchmarks/speed.py run [SECTION...] --peers-python PEERS/bin/python --data FOLDER
    python benchmarks/speed.py table

`run` measures the sections case by case and appends one line of JSON for each case to a file; a case whose line is
there already is left out, so an interrupted benchmark goes on where it stopped. `table` writes the tables, with the
ratios and whether the targets are met, into benchmarks/README.md; of a case with several lines the last one counts.

    flows      one architecture in three sizes: training, densities, samples, time to the first step, LiteRT
    moons      whole processes from start-up to a density within 0.05 nats of the truth
    generate   `augment generate`, 10 million rows and a mixed table; FOLDER/adult/train.csv is that table
    read       reading and understanding a CSV file of 10 million rows
    growth     time and memory over rows and columns, with a plot

All processes use all the cores that this one may; nothing else should run meanwhile. PEERS is a virtual environment of
its own, as PyTorch and JAX do not belong into this project's:

    python -m venv PEERS
    PEERS/bin/pip install torch==2.13.0 zuko normflows nflows jax jaxlib flowjax equinox optax scikit-learn scipy

`--rounds 1 --seconds 0.2 --small --results PATH` only shows that everything works.
"""

import argparse
import importlib
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import speed_table
from speed_options import Options
from speed_sides import say

HERE = Path(__file__).parent
SECTIONS = ("flows", "moons", "generate", "read", "growth")


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The cases of a results file."""
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())


def run(sections: list[str], results: Path, is_again: bool, options: Options) -> None:
    """Measures what is not in the results file yet."""
    for name in sections:
        section = importlib.import_module(f"speed_{name}")
        for case in section.CASES:
            found = any((done["section"], done["case"]) == (name, case) for done in records(results))
            if found and not is_again:
                continue
            say(f"{name} {case}")
            with tempfile.TemporaryDirectory() as folder:
                measured = section.measure(case, Path(folder), options)
            record = {"section": name, "case": case, "date": str(date.today()), "cores": len(os.sched_getaffinity(0))}
            record |= {"rounds": options.rounds, "seconds": options.seconds, "is_small": options.is_small}
            with results.open("a") as file:
                file.write(json.dumps(record | measured) + "\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measured = commands.add_parser("run", help="measure what has no results yet")
    shown = commands.add_parser("table", help="write the tables into README.md")
    measured.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (all)")
    measured.add_argument("--peers-python", type=Path, metavar="PATH", help="interpreter with the peers' libraries")
    measured.add_argument("--data", type=Path, metavar="FOLDER", help="where adult/train.csv is")
    measured.add_argument("--rounds", type=int, default=5, help="turns of each side (5)")
    measured.add_argument("--seconds", type=float, default=2.0, help="length of a round, where it can be chosen (2)")
    measured.add_argument("--small", action="store_true", help="small sizes, only to see that everything works")
    measured.add_argument("--again", action="store_true", help="measure also what has results")
    for sub in (measured, shown):
        sub.add_argument("--results", type=Path, default=HERE / "speed_results.jsonl", metavar="PATH")
    shown.add_argument("--print", action="store_true", help="print the tables and leave README.md as it is")
    options = parser.parse_args()
    try:
        if options.command == "run":
            if unknown := set(options.sections) - set(SECTIONS):
                raise ValueError(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
            how = Options(options.rounds, options.seconds, options.small, options.peers_python, options.data)
            run(options.sections or list(SECTIONS), options.results, options.again, how)
        else:
            text = speed_table.tables(list(records(options.results)))
            print(text)
            if not options.print:
                speed_table.write(text)
    except (RuntimeError, ValueError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
