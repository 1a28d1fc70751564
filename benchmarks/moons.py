"""Measures what `augment` promises for data/moons.csv: quality, speed, memory and reproducible bytes.

    python benchmarks/moons.py quality|speed|memory|reproducible|all

Prints each figure beside its bound, writes the tables into benchmarks/README.md, and ends with status 1 if a bound is
missed.
"""

import statistics
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import click
import moons_density
import numpy as np
from commands import Run, run
from figures import Figure, table, write
from numpy.typing import NDArray
from sklearn.datasets import make_moons
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score

DATA = Path(__file__).resolve().parents[1] / "data" / "moons.csv"
AUGMENT = Path(sys.executable).with_name("augment")
FRESH_STATE = 20_000  # moons.csv is random_state 0
BLOCK = 16_384  # rows that one counter of the random generator makes
FIT_SECONDS = 40
GENERATE_SECONDS = 0.8
PEAK_MB = 500


@cache
def fit(folder: Path, seed: int) -> tuple[Path, float]:
    """A model of moons.csv and the seconds that the command took; each seed is fitted once."""
    click.echo(f"fitting moons.csv with seed {seed}", err=True)
    model = folder / f"moons-{seed}.augment"
    return model, run([AUGMENT, "fit", DATA, "-m", model, "--seed", str(seed), "--force", "-q"], folder).wall


def generate(model: Path, out: Path, *options: str, n: int, seed: int = 0) -> Run:
    """Writes ``n`` rows of ``model`` to ``out``."""
    told = ["--n", str(n), "--seed", str(seed), "--force", *options]
    return run([AUGMENT, "generate", "-m", model, "-o", out, *told], out.parent)


def read(path: Path) -> NDArray[np.float64]:
    """The rows of a CSV file of numbers, ``[n, columns]``."""
    return np.loadtxt(path, delimiter=",", skiprows=1)


def quality(folder: Path, seeds: Sequence[int]) -> list[Figure]:
    """How near the model's density and its rows are to the true ones, on moons that no model has seen."""
    fresh_csv = folder / "fresh.csv"
    points, _ = make_moons(n_samples=20_000, noise=moons_density.NOISE, random_state=FRESH_STATE)
    np.savetxt(fresh_csv, points, fmt="%.6f", delimiter=",", header="x,y", comments="")
    fresh = read(fresh_csv)

    true_log_prob = moons_density.log_prob(fresh)
    finer_log_prob = moons_density.log_prob(fresh, nodes=512)
    mass, entropy = moons_density.mass_and_entropy()
    _, finer_entropy = moons_density.mass_and_entropy(step=moons_density.NOISE / 8)
    # Nine decimals are far beyond what the figures below need, and both quadratures reach them easily.
    figures = [
        Figure("true density: distance of its integral from 1", abs(mass - 1), 1e-9, spec=".0e"),
        Figure(
            "true log-density: largest change with twice the nodes",
            float(np.abs(finer_log_prob - true_log_prob).max()),
            1e-9,
            "nats",
            spec=".0e",
        ),
        Figure("entropy: change with half the step", abs(finer_entropy - entropy), 1e-9, "nats", spec=".0e"),
    ]
    for seed in seeds:
        model, seconds = fit(folder, seed)
        click.echo(f"scoring and generating with seed {seed}", err=True)
        scored, made = folder / "scored.csv", folder / "made.csv"
        run([AUGMENT, "score", fresh_csv, "-m", model, "-o", scored, "--force"], folder)
        generate(model, made, "--independent", n=20_000, seed=seed)  # as the classifier assumes
        generated = read(made)
        gap = true_log_prob - paired_log_prob(scored, fresh)
        surprise = -moons_density.log_prob(generated)
        auc, auc_error = discriminator_auc(generated[:5000], fresh[:5000])
        figures += [
            Figure(f"seed {seed}: wall time of fit", seconds, FIT_SECONDS, "s", spec=".1f"),
            Figure(f"seed {seed}: mean of log p_true - log p_model", gap.mean(), 0.06, "nats", standard_error(gap)),
            Figure(f"seed {seed}: ROC AUC of generated against fresh rows", auc, 0.53, "", auc_error),
            Figure(
                f"seed {seed}: mean of -log p_true of generated rows, less the entropy",
                surprise.mean() - entropy,
                0.1,
                "nats",
                standard_error(surprise),
            ),
        ]
    return figures


def paired_log_prob(scored: Path, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The column log_prob of a scored file whose other columns are ``rows``, in their order."""
    columns = np.genfromtxt(scored, delimiter=",", names=True)
    if not np.array_equal(np.stack([columns["x"], columns["y"]], axis=1), rows):
        raise RuntimeError(f"{scored.name}: the scored rows are not those that were given, in their order")
    return columns["log_prob"]


def standard_error(values: NDArray[np.float64]) -> float:
    """The standard error of the mean of independent values."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def discriminator_auc(generated: NDArray[np.float64], real: NDArray[np.float64]) -> tuple[float, float]:
    """Cross-validated ROC AUC of a boosted classifier that tells the two apart, and its standard error at 0.5.

    The error is that of the Mann-Whitney statistic of two samples from one distribution (n and m rows):
    ``sqrt((n + m + 1) / (12 n m))``.

    References
    ----------
    D. Lopez-Paz and M. Oquab, Revisiting Classifier Two-Sample Tests (2017), https://arxiv.org/abs/1610.06545
    """
    n, m = len(generated), len(real)
    aucs = cross_val_score(
        HistGradientBoostingClassifier(random_state=0),
        np.concatenate([generated, real]),
        np.repeat([0, 1], [n, m]),
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        scoring="roc_auc",
    )
    return float(aucs.mean()), float(np.sqrt((n + m + 1) / (12 * n * m)))


def speed(folder: Path, seeds: Sequence[int]) -> list[Figure]:
    """How long the commands take, and that generation stays clear of the slow imports."""
    model, fit_seconds = fit(folder, seeds[0])
    out = folder / "out.csv"
    generate_command: list[str | Path] = [AUGMENT, "generate", "-m", model, "--n", "10000", "-o", out, "--force"]
    commands: dict[str, list[str | Path]] = {
        "generate": generate_command,
        "import tensorflow": [sys.executable, "-c", "import tensorflow, tensorflow_probability"],
        "help": [AUGMENT, "--help"],
        "import click": [sys.executable, "-c", "import click"],
    }
    walls: dict[str, list[float]] = {name: [] for name in commands}
    for measured in (False, True, True, True, True, True):  # the first round only warms the caches
        for name, command in commands.items():  # interleaved, so that a busy moment meets all alike
            click.echo(f"timing {name}", err=True)
            wall = run(command, folder).wall
            if measured:
                walls[name].append(wall)
    median = {name: statistics.median(values) for name, values in walls.items()}

    imported = imported_packages(generate_command, folder)
    return [
        Figure("augment fit data/moons.csv", fit_seconds, FIT_SECONDS, "s", spec=".1f"),
        Figure('python -c "import tensorflow, tensorflow_probability"', median["import tensorflow"], None, "s"),
        Figure(
            "augment generate --n 10000 -o out.csv",
            median["generate"],
            max(median["import tensorflow"] / 10, GENERATE_SECONDS),
            "s",
        ),
        Figure("tensorflow and pandas imported by generate", len(imported & {"tensorflow", "pandas"}), 0, spec=".0f"),
        Figure('python -c "import click"', median["import click"], None, "s"),
        Figure("augment --help", median["help"], 2 * median["import click"] + 0.05, "s"),
    ]


def imported_packages(command: Sequence[str | Path], folder: Path) -> set[str]:
    """The packages that a Python script loads, by the interpreter's own account.

    A package counts if one of its submodules is listed: an import that fails is listed too, but by its own name only.
    """
    lines = run([sys.executable, "-X", "importtime", *command], folder).stderr.splitlines()
    modules = [line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")]
    return {module.partition(".")[0] for module in modules if "." in module}


def memory(folder: Path, seeds: Sequence[int]) -> list[Figure]:
    """The peak of resident memory, which must not grow with the number of rows."""
    model, _ = fit(folder, seeds[0])
    out = folder / "big.csv"
    figures = []
    for n in (1_000_000, 10_000_000):
        click.echo(f"generating {n:,} rows", err=True)
        done = generate(model, out, n=n)
        figures += [
            Figure(f"--n {n}: peak resident memory", done.peak, PEAK_MB, "MB", spec=".0f"),
            Figure(f"--n {n}: rows missing or too many", abs(count_lines(out) - 1 - n), 0, spec=".0f"),
            Figure(f"--n {n}: rows a second, start-up and writing included", n / done.wall, None, spec=",.0f"),
        ]
        out.unlink()
    return figures


def count_lines(path: Path) -> int:
    """The number of line ends in a file of any size."""
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))


def reproducible(folder: Path, seeds: Sequence[int]) -> list[Figure]:
    """That a seed stands for one sequence of bytes, and that no two blocks or seeds share their noise."""
    model, _ = fit(folder, seeds[0])
    click.echo("generating 100,000 rows five times", err=True)

    def generated(*options: str, seed: int = 0) -> bytes:
        out = folder / "rows.csv"
        generate(model, out, *options, n=100_000, seed=seed)
        return out.read_bytes()

    first = generated()
    again = {
        "in a second run": generated(),
        "with --chunk-size 1000": generated("--chunk-size", "1000"),
        "with --chunk-size 1000000": generated("--chunk-size", "1000000"),
    }
    rows = first.splitlines()[1:]
    blocks = [set(rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK)]
    unique = set(rows)
    other = set(generated(seed=1).splitlines()[1:])
    return [
        *(Figure(f"same seed: files that differ {how}", data != first, 0, spec=".0f") for how, data in again.items()),
        Figure("rows that another seed makes as well", 100 * len(unique & other) / len(unique), 0.1, "%"),
        Figure("duplicate rows", 100 * (1 - len(unique) / len(rows)), 0.1, "%"),
        # At six decimals, chance makes about 0.01 such pairs in 100,000 rows.
        Figure(f"rows of one block of {BLOCK} in another", sum(map(len, blocks)) - len(unique), 0, spec=".0f"),
    ]


SECTIONS = {"quality": quality, "speed": speed, "memory": memory, "reproducible": reproducible}


@click.command()
@click.argument("sections", nargs=-1, required=True, type=click.Choice([*SECTIONS, "all"]))
@click.option(
    "--seed",
    "seeds",
    multiple=True,
    default=(0, 1, 2),
    show_default=True,
    help="Seed of a fit; quality takes all that are given, the other sections the first.",
)
def main(sections: Sequence[str], seeds: Sequence[int]) -> None:
    """Measures `augment` on data/moons.csv and writes the figures into benchmarks/README.md."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for section in SECTIONS if "all" in sections else sections:
            try:
                figures = SECTIONS[section](Path(folder), seeds)
            except RuntimeError as error:
                raise click.ClickException(str(error)) from error
            click.echo(f"\n{table(figures)}\n")
            write(section, figures)
            missed += sum(not figure.ok for figure in figures)
    if missed:
        raise click.ClickException(f"{missed} bounds missed")


if __name__ == "__main__":
    main()
