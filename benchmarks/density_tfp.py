"""Worker of the density benchmark for TensorFlow Probability's own `tfb.RealNVP`, put together by hand."""

from __future__ import annotations

from typing import Any

import density_worker as worker
import numpy as np
from numpy.typing import NDArray

# The best of six settings by magic's validation rows: sizes, rates, bounds of the log-scale.
RECIPES: dict[str, dict[str, Any]] = {
    "tfb.RealNVP": {"couplings": 8, "hidden": [128, 128], "bound": 7, "learning_rate": 4e-3, "batch_size": 256},
}
CLIP_NORM = 5.0


def fit(job: worker.Job, clock: worker.Clock, rows: dict[str, NDArray[np.float32]]) -> worker.Fitted:
    """Fits couplings with networks of tf_keras, and `tfb.Permute` between them, by Adam with a clipped gradient."""
    import tensorflow as tf
    import tf_keras
    from tensorflow_probability import bijectors as tfb
    from tensorflow_probability import distributions as tfd

    recipe = job.recipe
    tf_keras.utils.set_random_seed(job.seed)
    size = rows["train"].shape[1]
    kept = size // 2
    networks = [
        tf_keras.Sequential(
            [
                *(tf_keras.layers.Dense(units, activation="relu") for units in recipe["hidden"]),
                tf_keras.layers.Dense(2 * (size - kept), kernel_initializer="zeros"),
            ]
        )
        for _ in range(recipe["couplings"])
    ]
    for network in networks:
        network.build((None, kept))

    def shift_and_log_scale(network: tf_keras.Model) -> Any:
        def function(values: tf.Tensor, _: int, **__: Any) -> tuple[tf.Tensor, tf.Tensor]:
            shift, log_scale = tf.split(network(values), 2, axis=-1)
            return shift, log_scale / (1 + tf.abs(log_scale) / recipe["bound"])  # a guard against overflow

        return function

    layers: list[tfb.Bijector] = []
    for index, network in enumerate(networks):
        if index % 2:  # the entries kept before are moved now
            layers.append(tfb.Permute(np.roll(np.arange(size), -kept)))
        elif index:
            layers.append(tfb.Permute(np.random.default_rng([job.seed, index]).permutation(size)))
        layers.append(tfb.RealNVP(num_masked=kept, shift_and_log_scale_fn=shift_and_log_scale(network)))
    base = tfd.MultivariateNormalDiag(tf.zeros(size), tf.ones(size))
    flow = tfd.TransformedDistribution(base, tfb.Chain(layers))
    variables = [variable for network in networks for variable in network.trainable_variables]
    optimizer = tf_keras.optimizers.Adam(0.0)
    optimizer.build(variables)
    feed = worker.batches(rows["train"], recipe["batch_size"], job.seed)

    @tf.function(jit_compile=True, autograph=False)
    def update(values: tf.Tensor, learning_rate: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(flow.log_prob(values))
        gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, variables), CLIP_NORM)
        gradients = [tf.where(tf.math.is_finite(norm), gradient, 0.0) for gradient in gradients]
        optimizer.learning_rate.assign(learning_rate)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    traced_log_prob = tf.function(flow.log_prob, autograph=False)

    def log_prob(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return traced_log_prob(tf.constant(values)).numpy()

    best: list[NDArray[np.float32]] = []

    def keep() -> None:
        best[:] = [variable.numpy() for variable in variables]

    steps = worker.train(
        clock,
        lambda learning_rate: update(tf.constant(next(feed)), tf.constant(learning_rate)),
        lambda: float(log_prob(rows["valid"]).mean()),
        keep,
        recipe["learning_rate"],
    )
    for variable, value in zip(variables, best, strict=True):
        variable.assign(value)
    return worker.Fitted(log_prob, steps, sum(int(tf.size(variable)) for variable in variables))


if __name__ == "__main__":
    job = worker.start()
    import tensorflow as tf
    import tensorflow_probability  # noqa: F401

    worker.finish(job, fit, "tensorflow-probability", "tensorflow")
