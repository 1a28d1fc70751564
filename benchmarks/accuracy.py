"""How exact the numbers are, and what repeats to the byte, as the tables of docs/reliability.md.

    python benchmarks/accuracy.py precision                  # by depth, transform and dtype: a minute
    python benchmarks/accuracy.py tables DATA.csv ...        # LiteRT beside TensorFlow and float64, models fitted here
    python benchmarks/accuracy.py repeats                    # processes, chunk sizes, threads

Each prints the machine and the versions below its table.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np
from figures import aligned

ENTRIES, EVENTS = 6, 256
DEPTHS = (2, 4, 8, 16, 32)
ROWS = 5_000
STEPS = 300
MOONS = Path(__file__).parents[1] / "data" / "moons.csv"
PACKAGES = ("tensorflow", "tensorflow-probability", "ai-edge-litert", "numpy")


@click.group()
def main() -> None:
    """Measures numbers."""


def _conditions() -> str:
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    wide = [name for name in ("avx2", "avx512f", "amx_tile") if name in flags.split()]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    machine = f"{platform.machine()} with {', '.join(wide) or 'no vector units known'}"
    return f"{machine}; Python {platform.python_version()}, {versions}"


# By depth.


@main.command()
@click.option("--seed", default=0)
def precision(seed: int) -> None:
    """Round trips and log-determinants of flows of random weights."""
    rows = [("layers", "couplings", "dtype", "round trip", "(median)", "log-determinant, nats", "(median)")]
    for transform in ("affine", "spline"):
        for mixing in (False, True):
            for depth in DEPTHS:
                rows += _precision(transform, mixing, depth, seed)
    print(aligned(rows))
    print(f"\n{EVENTS} events of {ENTRIES} entries; {_conditions()}")


def _precision(transform: str, mixing: bool, depth: int, seed: int) -> list[tuple[str, ...]]:
    import tensorflow as tf

    exact, single = (_flow(transform, mixing, depth, dtype, seed) for dtype in (tf.float64, tf.float32))
    for one, other in zip(single.variables, exact.variables, strict=True):
        other.assign(tf.cast(one, other.dtype))  # the weights of float32, exactly
    noise = np.random.default_rng(seed).standard_normal((EVENTS, ENTRIES)).astype(np.float32)
    _, true = np.linalg.slogdet(_jacobian(exact.bijector.forward, noise.astype(np.float64)))
    found = []
    for flow, dtype in ((single, np.float32), (exact, np.float64)):
        z = tf.constant(noise.astype(dtype))
        x = flow.bijector.forward(z)
        back = flow.bijector.inverse(tf.identity(x))  # anew, not from the cache
        log_det = flow.bijector.forward_log_det_jacobian(z, event_ndims=1)
        trip = np.abs(back.numpy().astype(np.float64) - noise).max(axis=1)
        off = np.abs(log_det.numpy().astype(np.float64) - true)
        layers = f"{transform}, {'LU and ActNorm' if mixing else 'permutations'}"
        cells = [f"{value:.1e}" for value in (trip.max(), np.median(trip), off.max(), np.median(off))]
        found.append((layers, str(depth), np.dtype(dtype).name, *cells))
    return found


def _flow(transform: str, mixing: bool, depth: int, dtype: Any, seed: int) -> Any:
    import tfp_realnvp as tfr
    from tfp_realnvp.testing import randomize

    flow = tfr.real_nvp(
        ENTRIES,
        num_couplings=depth,
        transform=tfr.transforms.RationalQuadraticSpline() if transform == "spline" else None,
        use_lu=mixing,
        use_act_norm=mixing,
        dtype=dtype,
        seed=seed,
    )
    randomize(flow, seed=seed)
    return flow


def _jacobian(function: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """The autodiff Jacobian `[n, D, D]` at rows `[n, D]`: copy k of the rows is asked for output k alone."""
    import tensorflow as tf

    num_rows, size = x.shape
    copies = tf.constant(np.tile(x, [size, 1]))
    with tf.GradientTape() as tape:
        tape.watch(copies)
        asked = tf.reduce_sum(function(copies) * np.repeat(np.eye(size, dtype=x.dtype), num_rows, axis=0))
    return tape.gradient(asked, copies).numpy().reshape(size, num_rows, size).swapaxes(0, 1)


# Real tables.


@main.command()
@click.argument("data", nargs=-1, required=True)
@click.option("--steps", default=STEPS)
def tables(data: Sequence[str], steps: int) -> None:
    """LiteRT beside TensorFlow in float32 beside float64, over the rows a model was fitted to and over noise."""
    import pipelines

    rows = [
        (
            "table",
            "what",
            "LiteRT from TensorFlow",
            "(median)",
            "LiteRT from float64",
            "(median)",
            "TensorFlow from float64",
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        for path in data:
            model = Path(folder) / "model.augment"
            pipelines.fit(path, model=model, steps=steps, force=True)
            name = Path(path).parent.name if Path(path).stem == "train" else Path(path).stem
            rows += [(name, *line) for line in _compared(path, model)]
    print(aligned(rows))
    print(
        f"\n{steps} steps, up to {ROWS:,} rows; log-densities in nats, scores in standard deviations; {_conditions()}"
    )


def _compared(path: str, model: Path) -> list[tuple[str, ...]]:
    import safetensors.numpy
    import tensorflow as tf

    import tfp_realnvp as tfr
    from pipelines.engines import local
    from pipelines.storage.model_file import read_model
    from pipelines.tables.files.reading import read_source

    opened = read_model(model)
    tensors = safetensors.numpy.load(opened.member("weights.safetensors"))
    config = opened.description["flow"]
    double = _double(json.loads(json.dumps(config).replace('"float32"', '"float64"')))
    wide = {name: value.astype(np.float64) if value.dtype == np.float32 else value for name, value in tensors.items()}
    flows = [
        getattr(one, "continuous", one) for one in (tfr.from_config(config, tensors), tfr.from_config(double, wide))
    ]
    source = read_source(path, max_rows=ROWS)
    encoded = opened.encoding.encode(source, opened.schema, np.random.default_rng(0), spread=False)
    if encoded.classes.shape[1]:
        flows = [tfr.given(flow, tf.constant(encoded.classes)) for flow in flows]
    noise = np.random.default_rng(1).standard_normal(encoded.scores.shape).astype(np.float32)
    graph = local.Graph(opened, "scorer.tflite")
    lite, _ = graph(x=encoded.scores, context=encoded.classes)
    dense = [flow.log_prob(tf.constant(encoded.scores, flow.dtype)).numpy() for flow in flows]
    drawn = local.Decoder(opened)(encoded.classes, noise)
    moved = [flow.bijector.forward(tf.constant(noise, flow.dtype)).numpy() for flow in flows]
    return [
        ("log-density", *_apart(lite, *dense)),
        ("scores of new rows", *_apart(drawn, *moved)),
    ]


def _double(config: Any) -> Any:
    """A flow's configuration in float64, said to the layers that leave it out where it is float32."""
    if isinstance(config, list):
        return [_double(part) for part in config]
    if not isinstance(config, dict):
        return config
    config = {key: _double(part) for key, part in config.items()}
    if config.get("class") in ("tfp_realnvp.LULinear", "tfp_realnvp.ActNorm", "tfp_realnvp.MarginalSpline"):
        config["arguments"]["dtype"] = {"dtype": "float64"}
    return config


def _apart(lite: np.ndarray, single: np.ndarray, double: np.ndarray) -> tuple[str, ...]:
    first, second, third = (
        np.abs(np.asarray(a, np.float64) - b) for a, b in ((lite, single), (lite, double), (single, double))
    )
    figures = (first.max(), np.median(first), second.max(), np.median(second), third.max())
    return tuple(f"{value:.1e}" for value in figures)


# What repeats.


@main.command()
@click.option("--steps", default=50)
def repeats(steps: int) -> None:
    """Whether the bytes are the same: in another process, with other chunks, on one core."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fit = ["fit", str(MOONS), "--steps", str(steps), "--couplings", "4", "-q", "--force", "-m"]
        for model, cores in (("a", None), ("b", None), ("one", 1)):
            _augment([*fit, str(folder / f"{model}.augment")], cores)
        a = str(folder / "a.augment")
        new = ["generate", "-m", a, "--n", "100000", "--seed", "5", "-q", "--force", "-o"]
        runs = {
            "again": ([], None),
            "chunk": (["--chunk-size", "777"], None),
            "one": ([], 1),
        }
        _augment([*new, str(folder / "new.csv")], None)
        for run, (options, cores) in runs.items():
            _augment([*new, str(folder / f"{run}.csv"), *options], cores)
        score = ["score", str(MOONS), "-m", a, "-q", "--force", "-o"]
        for run, cores in (("scored", None), ("scored_again", None), ("scored_one", 1)):
            _augment([*score, str(folder / f"{run}.csv")], cores)
        same = {
            "fit: weights in another process": _weights(folder, "a") == _weights(folder, "b"),
            "fit: weights on one core": _weights(folder, "a") == _weights(folder, "one"),
            "generate: rows in another process": _same(folder, "new.csv", "again.csv"),
            "generate: rows with --chunk-size 777": _same(folder, "new.csv", "chunk.csv"),
            "generate: rows on one core": _same(folder, "new.csv", "one.csv"),
            "score: densities in another process": _same(folder, "scored.csv", "scored_again.csv"),
            "score: densities on one core": _same(folder, "scored.csv", "scored_one.csv"),
        }
    print(aligned([("what", "the same bytes"), *((what, "yes" if found else "no") for what, found in same.items())]))
    print(f"\n{len(os.sched_getaffinity(0))} cores; {_conditions()}")


def _augment(arguments: Sequence[str], cores: int | None) -> None:
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", *arguments]
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    subprocess.run(command, check=True, preexec_fn=lambda: os.sched_setaffinity(0, chosen))


def _weights(folder: Path, model: str) -> str:
    with zipfile.ZipFile(folder / f"{model}.augment") as archive:
        return hashlib.sha256(archive.read("weights.safetensors")).hexdigest()


def _same(folder: Path, first: str, second: str) -> bool:
    return (folder / first).read_bytes() == (folder / second).read_bytes()


if __name__ == "__main__":
    main()
