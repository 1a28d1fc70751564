"""Charts of tables and models, on matplotlib axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from pipelines.errors import printable
from pipelines.evaluation.alike import Alike, Rows

__all__ = ["REAL", "SYNTHETIC", "column", "curves", "matrix", "norms", "pair", "quantiles", "scatter"]

# Legible on white and on black, and told apart by people who see few colours.
REAL, SYNTHETIC = "#3b7dd8", "#d9660a"
_BINS = 40
_MAX_LEVELS = 10
_MAX_POINTS = 3_000
_SHORT = 24


def column(axis: Any, tables: Alike, name: str) -> None:
    """Draws how a column is spread in the real rows and in the synthetic ones."""
    if name in tables.numeric:
        place = tables.numeric.index(name)
        _density(axis, tables.real.numbers[:, place], tables.synthetic.numbers[:, place])
        return
    place = tables.categorical.index(name)
    codes = [rows.classes[:, place] for rows in (tables.real, tables.synthetic)]
    labels, shares = _shares(tables, place, codes)
    at = np.arange(len(labels))
    axis.barh(at - 0.2, shares[0], 0.38, color=REAL, label="real")
    axis.barh(at + 0.2, shares[1], 0.38, color=SYNTHETIC, label="synthetic")
    axis.set_yticks(at, labels)
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter("{x:.0f} %")


def _density(axis: Any, real: np.ndarray, synthetic: np.ndarray) -> None:
    """Histograms over the same bins; of few values, the share of each."""
    present = [values[~np.isnan(values)] for values in (real, synthetic)]
    both = np.concatenate(present)
    if not len(both):
        return
    distinct = np.unique(both)
    if len(distinct) <= _BINS:
        at = np.arange(len(distinct))
        for values, colour, shift in zip(present, (REAL, SYNTHETIC), (-0.2, 0.2), strict=True):
            counts = np.bincount(np.searchsorted(distinct, values), minlength=len(distinct))
            axis.bar(at + shift, 100 * counts / max(1, len(values)), 0.38, color=colour)
        shown = np.unique(np.linspace(0, len(distinct) - 1, min(6, len(distinct))).astype(int))
        axis.set_xticks(shown, [f"{distinct[i]:.6g}" for i in shown])
    else:
        low, high = np.quantile(both, [0.002, 0.998])
        if not high > low:
            low, high = both.min(), both.max()
        edges = np.linspace(low, high, _BINS + 1)
        for values, colour, filled in zip(present, (REAL, SYNTHETIC), (True, False), strict=True):
            shares = 100 * np.histogram(values, edges)[0] / max(1, len(values))
            axis.stairs(shares, edges, fill=filled, color=colour, alpha=0.45 if filled else 1.0, linewidth=1.6)
    axis.yaxis.set_major_formatter("{x:.2g} %")


def _shares(tables: Alike, place: int, codes: Sequence[np.ndarray]) -> tuple[list[str], list[np.ndarray]]:
    """The most frequent levels, in percent, and the rest."""
    levels = ["(missing)", *tables.levels[place]]
    size = max(len(levels), *(int(part.max()) + 1 for part in codes))
    found = np.array([np.bincount(part, minlength=size) / len(part) for part in codes])
    counts = np.concatenate([found[:, : len(levels)], found[:, len(levels) :].sum(axis=1, keepdims=True)], axis=1)
    names = [*levels, "(not in the real rows)"]
    order = [i for i in np.argsort(-counts.max(axis=0), kind="stable") if counts[:, i].any()]
    kept, rest = order[:_MAX_LEVELS], order[_MAX_LEVELS:]
    labels = [_short(names[i]) for i in kept]
    shares = 100 * counts[:, kept]
    if rest:
        labels.append(f"({len(rest)} others)")
        shares = np.concatenate([shares, 100 * counts[:, rest].sum(axis=1, keepdims=True)], axis=1)
    return labels, list(shares)


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


@dataclasses.dataclass(frozen=True)
class _Axis:
    """A column as coordinates: numbers, or the places of its most frequent levels."""

    values: np.ndarray
    labels: list[str] | None


def pair(axes: Sequence[Any], tables: Alike, names: tuple[str, str]) -> None:
    """Draws two columns against each other: the real rows on the first of two axes, the synthetic ones on the second.

    As many rows on either; classes are spread within their places.
    """
    shown = min(len(tables.real), len(tables.synthetic), _MAX_POINTS)
    for axis, rows, colour, word in zip(
        axes, (tables.real, tables.synthetic), (REAL, SYNTHETIC), ("real", "synthetic"), strict=True
    ):
        rng = np.random.default_rng(0)
        part = rows.sample(rng, shown)
        x, y = (_coordinates(tables, part, name, rng) for name in names)
        scatter(axis, x.values, y.values, colour)
        for found, one in ((x, axis.xaxis), (y, axis.yaxis)):
            if found.labels is not None:
                one.set_ticks(range(len(found.labels)), [label[:10] for label in found.labels])
        if x.labels is not None:
            axis.tick_params(axis="x", rotation=60)
        axis.set_title(f"{word}, {len(part):,} rows")
        axis.set_xlabel(_short(names[0]))
    axes[0].set_ylabel(_short(names[1]))
    for which in ("x", "y"):
        limits = [getattr(axis, f"get_{which}lim")() for axis in axes]
        for axis in axes:
            getattr(axis, f"set_{which}lim")(min(low for low, _ in limits), max(high for _, high in limits))


def _coordinates(tables: Alike, rows: Rows, name: str, rng: np.random.Generator) -> _Axis:
    if name in tables.numeric:
        return _Axis(rows.numbers[:, tables.numeric.index(name)], None)
    place = tables.categorical.index(name)
    counts = np.bincount(tables.real.classes[:, place], minlength=len(tables.levels[place]) + 1)
    kept = [i for i in np.argsort(-counts, kind="stable")[:_MAX_LEVELS] if counts[i]]
    where = np.full(max(len(counts), int(rows.classes[:, place].max()) + 1), np.nan)
    where[kept] = np.arange(len(kept))
    names = ["(missing)", *tables.levels[place]]
    spread = rng.uniform(-0.35, 0.35, len(rows))
    return _Axis(where[rows.classes[:, place]] + spread, [_short(names[i]) for i in kept])


def scatter(axis: Any, x: np.ndarray, y: np.ndarray, colour: str) -> None:
    """Draws points as an image within the axes: thousands of them as shapes would fill the page."""
    axis.scatter(x, y, s=4, alpha=0.5, linewidths=0, color=colour, rasterized=True)


def matrix(axis: Any, values: np.ndarray, names: Sequence[str], largest: float) -> Any:
    """Draws a matrix of associations; returns the image for its colour bar."""
    image = axis.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest)
    at = range(len(names))
    axis.set_xticks(at, [_short(name)[:14] for name in names], rotation=90)
    axis.set_yticks(at, [_short(name)[:14] for name in names])
    return image


def curves(axis: Any, epochs: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> None:
    """Draws mean log-densities by epoch, without the first steep ones."""
    axis.plot(epochs, train, color=REAL, label="training rows")
    axis.plot(epochs, held_out, color=SYNTHETIC, label="held-out rows")
    finite = np.concatenate([train, held_out])
    finite = finite[np.isfinite(finite)]
    if len(finite):
        high = finite.max()
        low = np.quantile(finite, 0.1)
        axis.set_ylim(low - 0.5 * (high - low) - 1e-9, high + 0.15 * (high - low) + 1e-9)
    axis.set_xlabel("epoch")
    axis.set_ylabel("nats a row")
    axis.legend(frameon=False, loc="lower right")


def quantiles(axis: Any, values: np.ndarray) -> None:
    """Draws the quantiles of one entry of the noise against those of a standard Gaussian."""
    shown = np.linspace(0, 1, 201)[1:-1]
    axis.plot([-3.2, 3.2], [-3.2, 3.2], color=SYNTHETIC, linewidth=1)
    axis.plot(stats.norm.ppf(shown), np.quantile(values, shown), ".", color=REAL, markersize=3)
    axis.set_xlim(-3.2, 3.2)
    axis.set_ylim(-3.8, 3.8)
    axis.set_xlabel("standard Gaussian")
    axis.set_ylabel("real rows")


def norms(axis: Any, values: np.ndarray, entries: int) -> None:
    """Draws the norms of the noise and the density of chi with as many degrees of freedom as it has entries."""
    high = max(stats.chi.ppf(0.9999, entries), float(np.quantile(values, 0.999)))
    axis.hist(values, bins=np.linspace(0, high, 50), density=True, color=REAL, alpha=0.45)
    x = np.linspace(0, high, 300)
    axis.plot(x, stats.chi.pdf(x, entries), color=SYNTHETIC)
    axis.set_xlabel("norm of the noise of a row")
    axis.set_ylabel("density")
