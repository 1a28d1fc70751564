"""Keras's own `fit` trains a `LikelihoodModel` on several devices as on one: gradients are means over all rows."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np
import tensorflow as tf
import tf_keras

import tfp_realnvp as tfr
from tfp_realnvp.conditioners.layers import SeededDropout

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
rows = np.random.default_rng(0).normal(1.0, 2.0, (64, 3)).astype("float32")


def trained(strategy, optimizer):
    with strategy.scope():
        flow = tfr.real_nvp(3, num_couplings=2, hidden_units=(8,), seed=0)
        model = tfr.LikelihoodModel(flow)
        model.compile(optimizer())
    history = model.fit(tf.data.Dataset.from_tensor_slices(rows).batch(32), epochs=2, verbose=0).history["loss"]
    return np.concatenate([np.ravel(v.numpy()) for v in flow.trainable_variables]), history


for optimizer in (lambda: tf_keras.optimizers.SGD(0.1), lambda: tfr.optimizer(0.01, 10, ema_momentum=0.5)):
    one, losses = trained(tf.distribute.get_strategy(), optimizer)
    two, same = trained(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), optimizer)
    # Of sums of 32 float32 in another order; sums in the place of means would be off by a factor of two.
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(same, losses, rtol=1e-5)
    assert losses[1] < losses[0]

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = SeededDropout(0.5, seed=0, dtype="float32")
dropped = [
    strategy.experimental_local_results(strategy.run(tf.function(lambda: layer(tf.ones([8, 8]), training=True))))
    for _ in range(2)
]
patterns = {part.numpy().tobytes() for step in dropped for part in step}
assert len(patterns) == 4, "no device and no step drops what another does"
"""


@pytest.mark.slow
def test_two_devices_take_the_steps_that_one_takes():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env=os.environ | {"TF_USE_LEGACY_KERAS": "1"})
