"""How Gaussian the real rows became, which is what training asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

from pipelines.engines import local
from pipelines.matching import sample_of
from pipelines.storage.model_file import ModelFile
from pipelines.tables.files.source import Source

__all__ = ["Latents", "latents_of"]


@dataclasses.dataclass(frozen=True)
class Latents:
    """Real rows in the latent space.

    Attributes:
        names: The columns of numbers, D of them.
        noise: float32 `[n, D]`; every entry may depend on the whole row.
        classes: int32 `[n, C]`, of the discrete columns.
    """

    names: tuple[str, ...]
    noise: np.ndarray
    classes: np.ndarray

    @property
    def distances(self) -> list[float]:
        """How far the distribution of each entry is from the standard Gaussian (Kolmogorov-Smirnov), in [0, 1]."""
        return [float(stats.kstest(entry, "norm").statistic) for entry in self.noise.T]

    @property
    def norm_distance(self) -> float:
        """How far the distribution of the norm is from chi's with D degrees of freedom, in [0, 1]."""
        return float(stats.kstest(self.norms, stats.chi(self.noise.shape[1]).cdf).statistic)

    @property
    def norms(self) -> np.ndarray:
        """The Euclidean norm of each row's noise, `[n]`."""
        norms: np.ndarray = np.linalg.norm(self.noise.astype(np.float64), axis=1)
        return norms

    @property
    def expected_distance(self) -> float:
        """The mean of such a distance for as many Gaussian rows (Kolmogorov's distribution)."""
        return float(np.sqrt(np.pi / 2) * np.log(2) / np.sqrt(max(1, len(self.noise))))


def latents_of(model: ModelFile, source: Source, max_rows: int, seed: int) -> Latents:
    """Returns rows of a table, of more a uniform sample of `max_rows`, in the latent space of a model.

    Absent numbers are Gaussian noise, as in training; rows with a value that the model does not know are left out.
    """
    rng = np.random.default_rng(seed)
    part = sample_of(source, max_rows, seed)
    rows = model.encoding.encode(part, model.schema, rng)
    rows = rows.take(np.flatnonzero((rows.classes >= 0).all(axis=1)))
    _, noise = local.Scorer(model)(rows.classes, rows.scores)
    is_finite = np.isfinite(noise).all(axis=1)
    names = tuple(column.name for column in model.encoding.continuous)
    return Latents(names, noise[is_finite], rows.classes[is_finite])
