"""The optimizer takes Keras's steps."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfp_realnvp.adam import Adam

OPTIONS = {
    "plain": {},
    "betas": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    "clipped": {"global_clipnorm": 0.5},
    "average": {"use_ema": True, "ema_momentum": 0.9},
    "amsgrad": {"amsgrad": True},
    "adaptive epsilon": {"adaptive_epsilon": True, "epsilon": 1e-3},
    "decay": {"weight_decay": 0.01},
    "decay by names": {"weight_decay": {"of no variable": 0.5, "": 0.01}},
    "schedule": {"learning_rate": tf_keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_its_steps_are_those_of_keras(options, jit_compile):
    """Of a matrix, and of an embedding, whose gradient is sparse; in float64, where rounding stays below 1e-11."""
    results = []
    for kind in (Adam, tf_keras.optimizers.Adam):
        rng = np.random.default_rng(0)
        kernel = tf.Variable(rng.normal(size=[3, 2]), dtype=tf.float64)
        embedding = tf.Variable(rng.normal(size=[5, 3]), dtype=tf.float64)
        options = {"learning_rate": 0.05, "jit_compile": False} | options
        if kind is not Adam and isinstance(options.get("weight_decay"), dict):
            options["weight_decay"] = options["weight_decay"][""]
        optimizer = kind(**options)
        optimizer.build([kernel, embedding])

        @tf.function(jit_compile=jit_compile, autograph=False)
        def step(kernel=kernel, embedding=embedding, optimizer=optimizer):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(tf.matmul(tf.gather(embedding, [1, 1, 4]), kernel) - 1.0))
            gradients = tape.gradient(loss, [kernel, embedding])
            assert isinstance(gradients[1], tf.IndexedSlices)
            optimizer.apply_gradients(zip(gradients, [kernel, embedding], strict=True))

        for _ in range(20):
            step()
        results.append([v.numpy() for v in (kernel, embedding, *optimizer.variables)])
    for ours, keras in zip(*results, strict=True):
        np.testing.assert_allclose(ours, keras, rtol=1e-11, atol=1e-14)
