"""What hypothesis draws: flows of any event rank, mask, transform, conditioner, context, dtype and depth."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import (
    ActNorm,
    ClassContext,
    Coupling,
    FeatureContext,
    Flow,
    LULinear,
    Mask,
    alternating_mask,
    channel_mask,
    checkerboard_mask,
    conv_resnet,
    half_mask,
    mlp,
    random_mask,
    residual_mlp,
)
from tfp_realnvp.testing import randomize
from tfp_realnvp.transforms import Additive, Affine, RationalQuadraticSpline

NUM_ROWS = 16  # enough for every unit to see rows on both sides of it

dtypes = st.sampled_from([tf.float32, tf.float64])
seeds = st.integers(0, 10_000)
transforms = st.one_of(
    st.just(Additive()),
    st.builds(Affine, st.sampled_from([None, 0.5, 2.0])),
    st.builds(RationalQuadraticSpline, num_bins=st.integers(2, 6), bound=st.sampled_from([1.0, 4.0])),
)
vector_masks = st.integers(2, 6).flatmap(
    lambda size: st.one_of(
        st.sampled_from([half_mask(size), alternating_mask(size)]),
        st.builds(lambda seed: random_mask(size, seed=seed), seeds),
    )
)
image_shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)).filter(lambda s: np.prod(s[:2]) > 1)
image_masks = image_shapes.flatmap(
    lambda shape: st.one_of(
        st.just(checkerboard_mask(shape)),
        st.builds(lambda seed: random_mask(shape, seed=seed), seeds),
        *([st.just(channel_mask(shape))] if shape[-1] > 1 else []),
    )
)
masks = st.one_of(vector_masks, image_masks)
# Kinks would make the Jacobian of autodiff depend on the side.
vector_conditioners = st.sampled_from(
    [
        functools.partial(mlp, hidden_units=[], activation="tanh"),
        functools.partial(mlp, hidden_units=[6], activation="tanh"),
        functools.partial(mlp, hidden_units=[6, 6], activation="elu", use_layer_norm=True),
        functools.partial(residual_mlp, width=6, num_blocks=1, activation="tanh"),
    ]
)
image_conditioners = st.sampled_from(
    [
        functools.partial(conv_resnet, filters=4, num_blocks=1, activation="tanh"),
        functools.partial(conv_resnet, filters=4, num_blocks=1, activation="elu", use_layer_norm=True),
    ]
)
context_kinds = st.sampled_from(["none", "features", "class", "classes"])


@dataclasses.dataclass
class Case:
    """A flow of random weights, bound to a context a row if it is conditional, its couplings, and rows."""

    flow: Flow
    couplings: list
    x: np.ndarray


@st.composite
def cases(draw, max_depth=4):
    mask, dtype, kind, seed = draw(masks), draw(dtypes), draw(context_kinds), draw(seeds)
    transform, depth = draw(transforms), draw(st.integers(1, max_depth))
    is_image = len(mask.event_shape) == 3
    conditioner = draw(image_conditioners if is_image else vector_conditioners)
    rng = np.random.default_rng(seed)
    context, values = {
        "none": lambda: (None, None),
        "features": lambda: (FeatureContext(2, dtype=dtype), rng.normal(size=[NUM_ROWS, 2])),
        "class": lambda: (ClassContext(2, embedding_size=3, seed=seed, dtype=dtype), np.arange(NUM_ROWS) % 2),
        "classes": lambda: (
            ClassContext([2, 3], embedding_size=2, seed=seed, dtype=dtype),
            np.stack([np.arange(NUM_ROWS) % 2, np.arange(NUM_ROWS) % 3], axis=-1),
        ),
    }[kind]()
    layers = []
    for index in range(depth):
        this = mask if index % 2 == 0 else mask.complement
        sizes = [this] if is_image else [this.num_kept, this.num_moved]
        network = conditioner(*sizes, transform.num_parameters, context=context, dtype=dtype, seed=seed + index)
        layers.append(Coupling(this, network, transform, name=f"coupling_{index}"))
        # Of one channel, the triangles of an LU layer stand for nothing and have no gradient.
        between = [[], [ActNorm]] if mask.event_shape[-1] == 1 else [[], [ActNorm], [LULinear]]
        layers += draw(st.sampled_from(between).map(_of(mask, dtype, index)))
    if draw(st.booleans()):
        layers[0] = tfb.Invert(layers[0])
    base = tfd.Sample(tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype)), mask.event_shape)
    flow = Flow(base, tfb.Chain(layers))
    randomize(flow, seed=seed)
    bound = flow if context is None else flow.given(values)
    couplings = [getattr(part, "bijector", part) for part in bound.bijector.bijectors]
    couplings = [part for part in couplings if not isinstance(part, ActNorm | LULinear)]
    return Case(bound, couplings, rng.normal(size=[NUM_ROWS, *mask.event_shape]).astype(dtype.as_numpy_dtype))


def _of(mask: Mask, dtype, index):
    return lambda classes: [cls(mask.event_shape[-1], dtype=dtype, name=f"layer_{index}") for cls in classes]
