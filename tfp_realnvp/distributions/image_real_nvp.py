"""The multi-scale RealNVP for images."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.bijectors import (
    ActNorm,
    BoundedLogit,
    Coupling,
    FactorOut,
    Squeeze,
    UniformDequantization,
)
from tfp_realnvp.conditioners import Conditioner, conv_resnet
from tfp_realnvp.contexts import Context
from tfp_realnvp.distributions.flow import Flow
from tfp_realnvp.distributions.noise import checked_base
from tfp_realnvp.masks import Mask, channel_mask, checkerboard_mask
from tfp_realnvp.transforms import Affine, Transform

__all__ = ["image_real_nvp"]


def image_real_nvp(
    event_shape: Sequence[int],
    *,
    num_levels: int | None = None,
    num_scales: int = 2,
    num_couplings: int = 3,
    transform: Transform | None = None,
    conditioner: Callable[..., Conditioner] | None = None,
    filters: int = 32,
    num_blocks: int = 2,
    use_act_norm: bool = True,
    base: tfd.Distribution | None = None,
    context: Context | None = None,
    dtype: Any = tf.float32,
    conditioner_dtype: Any = None,
    seed: int | None = None,
    name: str = "flow",
) -> Flow:
    """Builds the multi-scale architecture of RealNVP over images (Dinh et al., 2017, sections 3.6 and 4.1).

    At each scale: couplings with checkerboard masks, a squeeze, couplings with channel masks, and the next
    scale for half of the channels. The last scale has checkerboard couplings only, one more of them. The masks
    alternate with their complements. The couplings start as the identity.

    Args:
        event_shape: `[height, width, channels]`; height and width must be multiples of
            `2 ** (num_scales - 1)`.
        num_levels: For images of integers `0, …, num_levels - 1`: dequantisation and a logit come before the
            couplings, `log_prob` is a lower bound on the log-probability of the integers, and samples are
            integers. None for images of real numbers.
        num_scales: Number of scales, at least 1.
        num_couplings: Couplings in a row with each kind of mask, at least 2.
        transform: What a coupling does to an entry. Default: `transforms.Affine()`.
        conditioner: Builds the networks, as `conv_resnet` does from the same arguments. Default: `conv_resnet`
            with `filters` and `num_blocks`.
        filters: Channels of the hidden layers of `conv_resnet`, unless there is a `conditioner`.
        num_blocks: Residual blocks of `conv_resnet`, unless there is a `conditioner`.
        use_act_norm: Whether an `ActNorm` follows each coupling, in place of the paper's batch normalisation. Call
            `tfp_realnvp.initialize` before training.
        base: Base distribution, with event shape `event_shape`, batch shape `[]` and dtype `dtype`. Default: standard
            Gaussian.
        context: How contexts are encoded, for a conditional flow; see `Flow.given`.
        dtype: Floating dtype of images, variables and densities.
        conditioner_dtype: What the networks compute in, such as "mixed_bfloat16"; see `mlp`. Default: `dtype`.
        seed: Integer seed of the initial weights and of the dequantisation; None draws fresh ones.
        name: Name of the distribution.

    Returns:
        A `Flow` with event shape `event_shape` and batch shape `[]`.

    Raises:
        ValueError: If the event is not an image that can be squeezed so often, or an option is out of range.
    """
    shape = [int(size) for size in event_shape]
    if len(shape) != 3:
        raise ValueError(f"event_shape must be [height, width, channels], got {shape}.")
    if num_scales < 1 or num_couplings < 2:
        raise ValueError(
            f"num_scales must be at least 1 and num_couplings at least 2, got {num_scales} and {num_couplings}."
        )
    multiple = 2 ** (num_scales - 1)
    if shape[0] % multiple or shape[1] % multiple or shape[0] * shape[1] < 2 * multiple**2:
        raise ValueError(
            f"height and width must be multiples of {multiple} for num_scales={num_scales}, with more than one pixel "
            f"at the last scale; got {shape}."
        )
    base = checked_base(base, shape, dtype)
    transform = Affine() if transform is None else transform
    context = None if context is None else context.for_flow(dtype)
    if conditioner is None:
        conditioner = functools.partial(conv_resnet, filters=filters, num_blocks=num_blocks)
    labels, seeds = itertools.count(), _seeds(seed)

    def couplings(mask: Mask, count: int) -> list[tfb.Bijector]:
        """Couplings whose masks alternate, from the data's end inwards."""
        layers: list[tfb.Bijector] = []
        for index in range(count):
            label, this = next(labels), mask if index % 2 == 0 else mask.complement
            network = conditioner(
                this,
                transform.num_parameters,
                context=context,
                dtype=dtype if conditioner_dtype is None else conditioner_dtype,
                seed=next(seeds),
                name=f"conditioner_{label}",
            )
            if use_act_norm:
                layers.append(ActNorm(mask.event_shape[-1], dtype=dtype, name=f"act_norm_{label}"))
            layers.append(Coupling(this, network, transform, dtype=dtype, name=f"coupling_{label}"))
        return layers

    def scale(size: list[int], left: int) -> list[tfb.Bijector]:
        """The layers from an image of this size to its latent, of the same size."""
        if left == 1:
            return couplings(checkerboard_mask(size), num_couplings + 1)
        squeezed = [size[0] // 2, size[1] // 2, 4 * size[2]]
        inner = tfb.Chain(scale([*squeezed[:2], 2 * size[2]], left - 1), name=f"scale_{num_scales - left + 2}")
        return [
            *couplings(checkerboard_mask(size), num_couplings),
            tfb.Invert(Squeeze(), name=f"unsqueeze_{left}"),
            *couplings(channel_mask(squeezed), num_couplings),
            FactorOut(inner, 2 * size[2], name=f"factor_out_{left}"),
            Squeeze(name=f"squeeze_{left}"),
        ]

    layers = scale(shape, num_scales)
    if num_levels is not None:
        dequantization_seed = None if seed is None else next(seeds)
        layers = [
            UniformDequantization(num_levels, seed=dequantization_seed),
            BoundedLogit(num_levels),
            *layers,
        ]
    return Flow(base, tfb.Chain(layers, name="chain"), name=name)


def _seeds(seed: int | None) -> Iterator[int]:
    sequence = np.random.SeedSequence(seed)
    while True:
        yield int(sequence.spawn(1)[0].generate_state(1)[0])
