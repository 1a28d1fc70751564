"""The arrays of the density benchmark: tables of a folder, and a mixture of Gaussians whose density is known.

The columns of a table are lattices: abalone's lengths are multiples of 0.005, its rings whole numbers. A density may
grow without bound on such values, and then measures how sharp a peak a method can make. Therefore each value is spread
evenly over its own cell of the lattice, once and with a fixed seed, so that every method sees the same numbers.

References
----------
L. Theis, A. van den Oord and M. Bethge, A note on the evaluation of generative models (2016), section 3.1,
https://arxiv.org/abs/1511.01844 (why discrete values need noise).
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DATASETS = ("magic", "mixture", "abalone")
VALIDATION_SHARE = 0.1  # of the training rows
NOISE_SEED, SPLIT_SEED, MIXTURE_SEED = 1, 2, 3


@dataclass(frozen=True)
class Split:
    """Rows for fitting, for judging weights and for the figure, float32 ``[n, D]``, standardised by the fitted rows.

    Attributes
    ----------
    train, valid, test : float32 array ``[n, D]``
    true_log_prob : float64 array ``[n]`` or None
        The true log-density of ``test`` in standardised units, nats, where it is known.
    """

    train: NDArray[np.float32]
    valid: NDArray[np.float32]
    test: NDArray[np.float32]
    true_log_prob: NDArray[np.float64] | None = None


def load(name: str, folder: Path | None) -> Split:
    """The rows of one of `DATASETS`; ``folder`` has ``tabular/<name>/`` with train.csv, test.csv and meta.json."""
    if name == "mixture":
        mixture, rng = Mixture(), np.random.default_rng([MIXTURE_SEED, 1])
        train, test = mixture.sample(20_000, rng), mixture.sample(10_000, rng)
        scale = train.std(axis=0)
        return _split(train, test, mixture.log_prob(test) + np.log(scale).sum())
    if folder is None:
        raise ValueError(f"{name} is read from files: name their folder with --data")
    return _split(*_dequantised(*_read(folder / "tabular" / name)))


def _split(
    train: NDArray[np.float64], test: NDArray[np.float64], true_log_prob: NDArray[np.float64] | None = None
) -> Split:
    """Standardises by the mean and deviation of ``train`` and holds a part of it out."""
    mean, scale = train.mean(axis=0), train.std(axis=0)
    train, test = ((rows - mean) / scale for rows in (train, test))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(train))
    valid, rest = np.split(order, [round(VALIDATION_SHARE * len(train))])
    return Split(*(rows.astype(np.float32) for rows in (train[rest], train[valid], test)), true_log_prob)


def _read(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The numeric columns of train.csv and test.csv."""
    columns = json.loads((folder / "meta.json").read_text())["numeric"]

    def rows(path: Path) -> NDArray[np.float64]:
        with path.open(newline="") as file:
            return np.array([[float(row[column]) for column in columns] for row in csv.DictReader(file)])

    return rows(folder / "train.csv"), rows(folder / "test.csv")


def _dequantised(
    train: NDArray[np.float64], test: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Adds noise, uniform over one step of each column: the smallest distance of two values of ``train``."""
    steps = [np.diff(np.unique(np.round(column, 8))).min() for column in train.T]
    rng = np.random.default_rng(NOISE_SEED)
    train_noise, test_noise = (steps * rng.uniform(-0.5, 0.5, rows.shape) for rows in (train, test))
    return train + train_noise, test + test_noise


class Mixture:
    """Eight Gaussians in 16 dimensions with random weights, means and full covariances.

    The eigenvalues of a covariance are log-uniform in [0.01, 1], its axes random, the means standard Gaussian.
    """

    size, components = 16, 8

    def __init__(self) -> None:
        rng = np.random.default_rng([MIXTURE_SEED, 0])
        self.log_weights = np.log(rng.dirichlet(np.full(self.components, 5.0)))
        self.means = rng.normal(size=(self.components, self.size))
        axes, _ = np.linalg.qr(rng.normal(size=(self.components, self.size, self.size)))
        self.log_scales = rng.uniform(np.log(0.1), 0, (self.components, self.size))
        self.roots = axes * np.exp(self.log_scales)[:, None, :]  # covariance = root @ root.T
        self.inverse_roots = np.exp(-self.log_scales)[:, :, None] * axes.transpose(0, 2, 1)

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draws ``n`` rows."""
        which = rng.choice(self.components, n, p=np.exp(self.log_weights))
        return self.means[which] + np.einsum("nij,nj->ni", self.roots[which], rng.normal(size=(n, self.size)))

    def log_prob(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The true log-density of each row, nats."""
        terms = np.stack(
            [
                log_weight - log_scale.sum() - 0.5 * (((rows - mean) @ inverse_root.T) ** 2).sum(axis=1)
                for log_weight, mean, log_scale, inverse_root in zip(
                    self.log_weights, self.means, self.log_scales, self.inverse_roots, strict=True
                )
            ]
        )
        highest = terms.max(axis=0)
        return highest + np.log(np.exp(terms - highest).sum(axis=0)) - 0.5 * self.size * np.log(2 * np.pi)


def mixture_entropy(n: int = 1_000_000) -> tuple[float, float]:
    """Entropy of the mixture in the standardised units of `load`, by Monte Carlo, and its standard error; nats."""
    mixture = Mixture()
    scale = mixture.sample(20_000, np.random.default_rng([MIXTURE_SEED, 1])).std(axis=0)
    values = -mixture.log_prob(mixture.sample(n, np.random.default_rng([MIXTURE_SEED, 2])))
    return float(values.mean() - np.log(scale).sum()), float(values.std(ddof=1) / np.sqrt(n))
