"""Parts that several of these tests are made of: random couplings, a counting network, a Jacobian."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfp_realnvp
from tfp_realnvp.testing import randomize


class CountingNetwork(tf.Module):
    """A conditioner that counts how often it is called, with a context or without."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.calls = 0

    @property
    def context_shape(self):
        return getattr(self.network, "context_shape", None)

    @property
    def context_dtype(self):
        return getattr(self.network, "context_dtype", None)

    def __call__(self, *inputs):
        self.calls += 1
        return self.network(*inputs)


def _make_coupling(mask, *, hidden_units=(8,), context=None, dtype=tf.float32, seed=0, counting=False, **options):
    """An `AffineCoupling` with random, non-zero weights."""
    mask = tfp_realnvp.Mask(mask)
    network = tfp_realnvp.mlp(
        mask.num_kept,
        mask.num_moved,
        hidden_units=hidden_units,
        activation="tanh",
        context=context,
        dtype=dtype,
        seed=seed,
    )
    coupling = tfp_realnvp.AffineCoupling(mask, CountingNetwork(network) if counting else network, **options)
    randomize(coupling, seed=seed)
    return coupling


def _make_flow(bijector, event_size, dtype=tf.float32):
    """A distribution of vectors: `bijector` over a standard Gaussian."""
    normal = tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype))
    return tfd.TransformedDistribution(tfd.Sample(normal, event_size), bijector)


def _make_chain(event_size=3, num_couplings=3, *, inverted=False, **options):
    """Couplings of one mask with reversals between them; a coupling stands at index 0, nearest to the data."""
    mask = tfp_realnvp.half_mask(event_size)
    layers = []
    for index in range(num_couplings):
        if index:
            layers.append(tfb.Permute(np.arange(event_size)[::-1]))
        coupling = _make_coupling(mask, seed=index, name=f"coupling_{index}", **options)
        layers.append(tfb.Invert(coupling) if inverted else coupling)
    return tfb.Chain(layers, name="chain")


def _jacobian(function, x):
    """The autodiff Jacobian `[n, D, D]`, output by input, of a function of rows at `x`, `[n, D]`.

    One gradient for all outputs: copy k of the rows is asked for output k alone.
    """
    num_rows, size = x.shape
    copies = tf.constant(np.tile(x, [size, 1]))
    with tf.GradientTape() as tape:
        tape.watch(copies)
        asked = tf.reduce_sum(function(copies) * np.repeat(np.eye(size, dtype=x.dtype), num_rows, axis=0))
    return tape.gradient(asked, copies).numpy().reshape(size, num_rows, size).swapaxes(0, 1)


def _step(module, size=0.1):
    """Moves every trainable variable, as an optimizer would."""
    for variable in module.trainable_variables:
        variable.assign_add(size * tf.ones_like(variable))


@pytest.fixture(scope="session")
def make_coupling():
    return _make_coupling


@pytest.fixture(scope="session")
def make_chain():
    return _make_chain


@pytest.fixture(scope="session")
def make_flow():
    return _make_flow


@pytest.fixture(scope="session")
def jacobian():
    return _jacobian


@pytest.fixture(scope="session")
def step():
    return _step


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def counting_network():
    return CountingNetwork
