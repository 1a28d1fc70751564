"""Side of the speed benchmark: `tfb.RealNVP` with its default template, in TensorFlow's usual training loop."""

import itertools

import numpy as np
import speed_worker as worker
import tensorflow as tf
import tf_keras
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd


def build(job: worker.Job) -> tuple[tfd.Distribution, list[tf.Variable]]:
    """A chain of `tfb.RealNVP` with `tfb.Permute` between them, and its variables."""
    templates = [tfb.real_nvp_default_template([job.width] * 2) for _ in range(job.couplings)]

    def clamped(template: worker.Callable[..., tuple[tf.Tensor, tf.Tensor]]) -> worker.Callable[..., object]:
        def shift_and_log_scale(values: tf.Tensor, output_units: int) -> tuple[tf.Tensor, tf.Tensor]:
            shift, log_scale = template(values, output_units)
            return shift, worker.CLAMP * tf.tanh(log_scale / worker.CLAMP)

        return shift_and_log_scale

    layers: list[tfb.Bijector] = []
    for index, template in enumerate(templates):
        if index % 2:  # the entries kept before are moved now
            layers.append(tfb.Permute(np.roll(np.arange(job.entries), -job.kept)))
        elif index:
            layers.append(tfb.Permute(np.random.default_rng(index).permutation(job.entries)))
        layers.append(tfb.RealNVP(num_masked=job.kept, shift_and_log_scale_fn=clamped(template)))
    base = tfd.MultivariateNormalDiag(tf.zeros(job.entries))
    flow = tfd.TransformedDistribution(base, tfb.Chain(layers))
    flow.log_prob(tf.zeros([1, job.entries]))  # makes the variables
    return flow, [variable for template in templates for variable in template.trainable_variables]


def main() -> None:
    """Measures until standard input ends."""
    job, rows = worker.read_job()
    flow, variables = build(job)
    schedule = tf_keras.optimizers.schedules.CosineDecay(worker.LEARNING_RATE, worker.SCHEDULE_STEPS)
    optimizer = tf_keras.optimizers.Adam(schedule, beta_2=worker.BETA_2, global_clipnorm=worker.CLIP_NORM)
    optimizer.build(variables)
    batches = iter(tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows)).repeat().batch(job.batch).prefetch(2))

    @tf.function
    def update(values: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(flow.log_prob(values))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def step() -> int:
        update(next(batches))
        return 1

    log_prob, many = tf.function(flow.log_prob), tf.constant(worker.density_rows(rows))
    sample = tf.function(lambda seed: flow.sample(worker.DENSITY_ROWS, seed=seed))
    seeds = itertools.count()
    measures = worker.rates(
        train=step,
        log_prob=lambda: len(log_prob(many).numpy()),
        sample=lambda: len(sample(tf.constant([0, next(seeds)])).numpy()),
    )
    worker.Rounds(measures, "tensorflow-probability", "tensorflow").wait_for()


if __name__ == "__main__":
    main()
