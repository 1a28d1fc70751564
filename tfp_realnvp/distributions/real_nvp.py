"""A ready-made RealNVP: couplings and permutations in a chain over a standard Gaussian."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.bijectors.affine_coupling import AffineCoupling
from tfp_realnvp.conditioners import mlp
from tfp_realnvp.masks import half_mask

__all__ = ["real_nvp"]


def real_nvp(
    event_shape: int | Sequence[int],
    *,
    num_couplings: int = 8,
    hidden_units: Sequence[int] = (64, 64),
    activation: str = "relu",
    log_scale_clamp: float | None = 2.0,
    dtype: Any = tf.float32,
    seed: int | None = None,
    name: str = "real_nvp",
) -> tfd.TransformedDistribution:
    """Builds a RealNVP over vectors (Dinh et al., 2017, section 3).

    Every coupling keeps the first half of its input; a `tfb.Permute` between two couplings decides
    which entries that is. The permutations are drawn so that each pair of couplings transforms every
    entry, and, from four couplings on, so that every entry of the output depends on every entry of the
    input and the other way round. The flow starts as the identity, so its density starts as the standard Gaussian.

    `forward` of the chain goes from noise to data, as everywhere in TFP.

    Args:
        event_shape: Number of entries `D >= 2` of an event, or `[D]`.
        num_couplings: Number of coupling layers, at least 2.
        hidden_units: Units of each hidden layer of each conditioner.
        activation: Name of a `tf_keras` activation for the hidden layers.
        log_scale_clamp: Soft bound on the log-scale of each coupling, in nats. None for no bound.
        dtype: Floating dtype of events, variables and densities.
        seed: Integer seed of the permutations and of the initial weights; None draws fresh ones.
        name: Name of the distribution.

    Returns:
        A `tfd.TransformedDistribution` with event shape `[D]` and batch shape `[]`.

    Raises:
        ValueError: If the event is not a vector of at least 2 entries or `num_couplings < 2`.
    """
    shape = [int(size) for size in np.atleast_1d(event_shape)]
    if len(shape) != 1:
        raise ValueError(f"event_shape must be one number of entries, got {shape}.")
    if num_couplings < 2:
        raise ValueError(f"num_couplings must be at least 2 for every entry to be transformed, got {num_couplings}.")
    mask = half_mask(shape[0])
    num_kept, num_moved = int(mask.sum()), int((~mask).sum())
    permutation_seed, weight_seed = np.random.SeedSequence(seed).spawn(2)
    weight_seeds = weight_seed.generate_state(num_couplings).tolist()
    layers: list[tfb.Bijector] = []
    for index, permutation in enumerate(_permutations(mask, num_couplings, np.random.default_rng(permutation_seed))):
        if index:
            layers.append(tfb.Permute(permutation, name=f"permute_{index}"))
        conditioner = mlp(
            num_kept,
            num_moved,
            hidden_units=hidden_units,
            activation=activation,
            dtype=dtype,
            seed=weight_seeds[index],
            name=f"mlp_{index}",
        )
        layers.append(
            AffineCoupling(mask, conditioner, log_scale_clamp=log_scale_clamp, dtype=dtype, name=f"coupling_{index}")
        )
    zero, one = tf.zeros([], dtype), tf.ones([], dtype)
    return tfd.TransformedDistribution(
        # The first layer is the one nearest to the noise; a chain applies its last bijector first.
        tfd.Sample(tfd.Normal(zero, one), sample_shape=shape),
        tfb.Chain(layers[::-1], name="chain"),
        name=name,
    )


def _permutations(mask: np.ndarray, num_couplings: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Draws the permutation before each coupling (the first is the identity) until the flow mixes well."""
    while True:
        permutations = list(_draw_permutations(mask, num_couplings, rng))
        if num_couplings < 4 or (
            _dependence(mask, permutations).all() and _inverse_dependence(mask, permutations).all()
        ):
            return permutations


def _draw_permutations(mask: np.ndarray, num_couplings: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields permutations so that couplings 2k and 2k + 1 together move every entry.

    Within such a pair the entries kept first are moved second; between pairs the entries are shuffled,
    and the set that is kept changes, so that no coupling repeats the one before it.
    """
    size, num_kept = mask.size, int(mask.sum())
    yield np.arange(size)
    for index in range(1, num_couplings):
        if index % 2:
            yield np.roll(np.arange(size), -num_kept)
        else:
            permutation = rng.permutation(size)
            while set(permutation[:num_kept]) == set(range(num_kept)):
                permutation = rng.permutation(size)
            yield permutation


def _dependence(mask: np.ndarray, permutations: Sequence[np.ndarray]) -> np.ndarray:
    """Returns a boolean `[D, D]` array: which output (row) depends on which input (column)."""
    depends = np.eye(mask.size, dtype=bool)
    for permutation in permutations:
        depends = depends[permutation]
        depends[~mask] |= depends[mask].any(axis=0)
    return depends


def _inverse_dependence(mask: np.ndarray, permutations: Sequence[np.ndarray]) -> np.ndarray:
    """The same of the inverse."""
    depends = np.eye(mask.size, dtype=bool)
    for permutation in permutations[::-1]:
        depends[~mask] |= depends[mask].any(axis=0)
        depends = depends[np.argsort(permutation)]
    return depends
