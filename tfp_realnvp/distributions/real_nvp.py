"""A ready-made RealNVP: couplings and permutations in a chain over a base distribution."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.bijectors import ActNorm, Coupling, LULinear, MarginalSpline, Permute
from tfp_realnvp.conditioners import Conditioner, mlp
from tfp_realnvp.contexts import Context
from tfp_realnvp.distributions.flow import Flow
from tfp_realnvp.distributions.noise import checked_base
from tfp_realnvp.masks import Mask, half_mask
from tfp_realnvp.transforms import Affine, Transform

__all__ = ["real_nvp"]


def real_nvp(
    event_shape: int | Sequence[int],
    *,
    num_couplings: int = 8,
    transform: Transform | None = None,
    conditioner: Callable[..., Conditioner] | None = None,
    hidden_units: Sequence[int] = (64, 64),
    activation: str = "relu",
    log_scale_clamp: float | None = 2.0,
    use_act_norm: bool = False,
    use_lu: bool = False,
    use_marginal_spline: bool = False,
    base: tfd.Distribution | None = None,
    context: Context | None = None,
    dtype: Any = tf.float32,
    conditioner_dtype: Any = None,
    seed: int | None = None,
    name: str = "flow",
) -> Flow:
    """Builds a RealNVP over vectors (Dinh et al., 2017, section 3).

    Every coupling keeps the first half of its input; a `Permute` between two couplings decides which
    entries that is. The permutations are drawn so that each pair of couplings transforms every entry,
    and, from four couplings on, so that every entry of the output depends on every entry of the input and
    the other way round. Together they leave every entry in its place: the
    flow starts as the identity, and its density as that of the base.

    `forward` of the chain goes from noise to data, as everywhere in TFP.

    Args:
        event_shape: Number of entries `D >= 2` of an event, or `[D]`. A conditional flow may have `D = 1`: its
            couplings then read the context only.
        num_couplings: Number of coupling layers, at least 2.
        transform: What a coupling does to an entry, such as `transforms.RationalQuadraticSpline()`. Default:
            `transforms.Affine(log_scale_clamp)`.
        conditioner: Builds the networks, as `mlp` does from the same arguments: for instance
            `functools.partial(residual_mlp, width=128)`. Default: `mlp` with `hidden_units` and `activation`.
        hidden_units: Units of each hidden layer of `mlp`, unless there is a `conditioner`.
        activation: Name of a `tf_keras` activation for the hidden layers of `mlp`, unless there is a `conditioner`.
        log_scale_clamp: Soft bound on the log-scale of each affine coupling, in nats, unless there is a `transform`.
            None for no bound.
        use_act_norm: Whether an `ActNorm` follows each coupling. Call `tfp_realnvp.initialize` before training.
        use_lu: Whether an `LULinear` stands before each coupling, next to the `Permute`.
        use_marginal_spline: Whether the layer next to the data is a `MarginalSpline`. Call `tfp_realnvp.initialize`
            before training.
        base: Base distribution, with event shape `[D]` and batch shape `[]`. Default: standard Gaussian.
        context: How contexts are encoded, for a conditional flow; see `Flow.given`.
        dtype: Floating dtype of events, variables and densities.
        conditioner_dtype: What the networks compute in, such as "mixed_bfloat16"; see `mlp`. Default: `dtype`.
        seed: Integer seed of the permutations and of the initial weights; None draws fresh ones.
        name: Name of the distribution.

    Returns:
        A `Flow`, which behaves as a `tfd.TransformedDistribution`, with event shape `[D]` and batch shape `[]`.

    Raises:
        ValueError: If the event is not a vector of at least 2 entries (1 with a context), `num_couplings < 2`, or
            the base has another event shape or dtype.
        TypeError: If an argument is of another kind than said above.
    """
    shape = [int(size) for size in np.atleast_1d(event_shape)]
    if len(shape) != 1:
        raise ValueError(f"event_shape must be one number of entries, got {shape}.")
    for what, value, kind in (("base", base, tfd.Distribution), ("transform", transform, Transform)):
        if value is not None and not isinstance(value, kind):
            raise TypeError(
                f"{what} must be a {kind.__name__}, such as an object of one of its classes, got {value!r}."
            )
    if context is not None and not isinstance(context, Context):
        raise TypeError(f"context must be a Context, such as FeatureContext({context!r}), got {context!r}.")
    if isinstance(hidden_units, int):
        raise TypeError(f"hidden_units must be a list, the units of each layer, got {hidden_units}.")
    if num_couplings < 2:
        raise ValueError(f"num_couplings must be at least 2 for every entry to be transformed, got {num_couplings}.")
    base = checked_base(base, shape, dtype)
    mask = Mask([False]) if shape == [1] and context is not None else half_mask(shape[0])
    transform = Affine(log_scale_clamp) if transform is None else transform
    context = None if context is None else context.for_flow(dtype)
    if conditioner is None:
        conditioner = functools.partial(mlp, hidden_units=hidden_units, activation=activation)
    permutation_seed, weight_seed = np.random.SeedSequence(seed).spawn(2)
    weight_seeds = weight_seed.generate_state(num_couplings).tolist()
    # The first layer is the one nearest to the noise.
    layers: list[tfb.Bijector] = []
    permutations = _permutations(mask, num_couplings, np.random.default_rng(permutation_seed))
    permutations[0] = _undoing(permutations)
    for index, permutation in enumerate(permutations):
        if (permutation != np.arange(shape[0])).any():
            layers.append(Permute(permutation, name=f"permute_{index}"))
        if use_lu:
            layers.append(LULinear(shape[0], dtype=dtype, name=f"lu_{index}"))
        network = conditioner(
            mask.num_kept,
            mask.num_moved,
            transform.num_parameters,
            context=context,
            dtype=dtype if conditioner_dtype is None else conditioner_dtype,
            seed=weight_seeds[index],
            name=f"conditioner_{index}",
        )
        layers.append(Coupling(mask, network, transform, dtype=dtype, name=f"coupling_{index}"))
        if use_act_norm:
            layers.append(ActNorm(shape[0], dtype=dtype, name=f"act_norm_{index}"))
    if use_marginal_spline:
        layers.append(MarginalSpline(shape[0], dtype=dtype, name="marginal_spline"))
    # A chain applies its last bijector first.
    return Flow(base, tfb.Chain(layers[::-1], name="chain"), name=name)


def _permutations(mask: Mask, num_couplings: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Draws the permutation before each coupling (the first is the identity) until the flow mixes well."""
    kept = mask.kept
    if mask.event_size == 1:
        return [np.arange(1)] * num_couplings
    while True:
        permutations = list(_draw_permutations(kept, num_couplings, rng))
        if num_couplings < 4 or (
            _dependence(kept, permutations).all() and _inverse_dependence(kept, permutations).all()
        ):
            return permutations


def _undoing(permutations: Sequence[np.ndarray]) -> np.ndarray:
    """The permutation before the first coupling after which all together leave every entry in its place."""
    places = np.arange(permutations[0].size)
    for permutation in permutations[1:]:
        places = places[permutation]
    return np.argsort(places)


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
