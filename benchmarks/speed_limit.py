"""Side of the speed benchmark: the limit, a RealNVP and its Adam written by hand in JAX for nothing but speed.

The arithmetic is that of ours: the same couplings, permutations, clamp, clipped gradient, Adam and schedule, but no
objects, no options and no callbacks: one compiled scan over batches that are gathered by number.
"""

import itertools
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import speed_worker as worker

STEPS_PER_CALL = 64
WARM_UP_STEPS = 0.05 * worker.SCHEDULE_STEPS
BETA_1 = 0.9

Parameters = list[list[tuple[jax.Array, jax.Array]]]


def initial(job: worker.Job) -> Parameters:
    """Kernel and bias of three layers for each coupling, the last zero."""
    rng = np.random.default_rng(0)
    sizes = [job.kept, job.width, job.width]

    def layer(inputs: int, outputs: int) -> tuple[jax.Array, jax.Array]:
        kernel = rng.normal(size=(inputs, outputs)) * math.sqrt(2 / inputs)
        bias = rng.uniform(-1, 1, outputs) * 2 / math.sqrt(inputs)
        return jnp.asarray(kernel, jnp.float32), jnp.asarray(bias, jnp.float32)

    moved = job.entries - job.kept
    last = [(jnp.zeros((job.width, 2 * moved)), jnp.zeros(2 * moved)) for _ in range(job.couplings)]
    return [[layer(sizes[0], sizes[1]), layer(sizes[1], sizes[2]), last[index]] for index in range(job.couplings)]


def permutations(job: worker.Job) -> list[np.ndarray]:
    """The permutation after each coupling: what was kept is moved next, and every other time all is shuffled."""
    rng, size = np.random.default_rng(1), job.entries
    return [rng.permutation(size) if k % 2 else np.roll(np.arange(size), -job.kept) for k in range(job.couplings)]


def taken(x: jax.Array, order: np.ndarray) -> jax.Array:
    """Columns in another order; the gradient is a gather too, where JAX's own would be a scatter."""

    @jax.custom_vjp
    def take(x: jax.Array) -> jax.Array:
        return x[:, order]

    take.defvjp(lambda x: (x[:, order], None), lambda _, g: (g[:, np.argsort(order)],))
    return take(x)


def network(layers: list[tuple[jax.Array, jax.Array]], kept: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Shift and clamped log-scale."""
    (a, b), (c, d), (e, f) = layers
    parameters = jax.nn.relu(jax.nn.relu(kept @ a + b) @ c + d) @ e + f
    shift, log_scale = jnp.split(parameters, 2, axis=1)
    return shift, worker.CLAMP * jnp.tanh(log_scale / worker.CLAMP)


def log_prob(job: worker.Job, parameters: Parameters, x: jax.Array) -> jax.Array:
    """Log-density of rows, nats: from data to noise."""
    log_det = jnp.zeros(len(x))
    for layers, order in zip(parameters, permutations(job), strict=True):
        kept, moved = x[:, : job.kept], x[:, job.kept :]
        shift, log_scale = network(layers, kept)
        x = taken(jnp.concatenate([kept, (moved - shift) * jnp.exp(-log_scale)], axis=1), order)
        log_det -= log_scale.sum(axis=1)
    return log_det - 0.5 * (x**2).sum(axis=1) - 0.5 * job.entries * math.log(2 * math.pi)


def sample(job: worker.Job, parameters: Parameters, key: jax.Array) -> jax.Array:
    """New rows: from noise to data."""
    x = jax.random.normal(key, (worker.DENSITY_ROWS, job.entries))
    for layers, order in zip(reversed(parameters), reversed(permutations(job)), strict=True):
        x = x[:, np.argsort(order)]
        kept, moved = x[:, : job.kept], x[:, job.kept :]
        shift, log_scale = network(layers, kept)
        x = jnp.concatenate([kept, moved * jnp.exp(log_scale) + shift], axis=1)
    return x


def learning_rate(step: jax.Array) -> jax.Array:
    """Linear warm-up, then half a cosine, as `tfp_realnvp.schedule.WarmUpCosine`."""
    progress = jnp.clip((step - WARM_UP_STEPS) / (worker.SCHEDULE_STEPS - WARM_UP_STEPS), 0, 1)
    return worker.LEARNING_RATE * jnp.minimum((step + 1) / WARM_UP_STEPS, 0.5 * (1 + jnp.cos(math.pi * progress)))


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train(job: worker.Job, state: Any, rows: jax.Array, numbers: jax.Array) -> tuple[Any, jax.Array]:
    """Steps on batches of rows by number, ``[steps, batch]``; returns the state and the losses."""

    def step(state: Any, index: jax.Array) -> tuple[Any, jax.Array]:
        parameters, first, second, count = state
        values = rows[index]
        loss, gradient = jax.value_and_grad(lambda p: -log_prob(job, p, values).mean())(parameters)
        norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))
        shrink = worker.CLIP_NORM / jnp.maximum(norm, worker.CLIP_NORM)
        t = count + 1.0
        rate = learning_rate(count) * jnp.sqrt(1 - worker.BETA_2**t) / (1 - BETA_1**t)
        first = jax.tree.map(lambda m, g: m + (g * shrink - m) * (1 - BETA_1), first, gradient)
        second = jax.tree.map(lambda v, g: v + ((g * shrink) ** 2 - v) * (1 - worker.BETA_2), second, gradient)
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) + worker.EPSILON), parameters, first, second
        )
        return (parameters, first, second, t), loss

    return jax.lax.scan(step, state, numbers)


def main() -> None:
    """Measures until standard input ends."""
    job, rows = worker.read_job()
    parameters = initial(job)
    values, many = jnp.asarray(rows), jnp.asarray(worker.density_rows(rows))
    state = (parameters, jax.tree.map(jnp.zeros_like, parameters), jax.tree.map(jnp.zeros_like, parameters), 0.0)
    rng = np.random.default_rng(2)
    numbers = np.empty(0, np.int32)

    def block() -> int:
        nonlocal state, numbers
        while len(numbers) < STEPS_PER_CALL * job.batch:
            numbers = np.concatenate([numbers, rng.permutation(len(rows)).astype(np.int32)])
        use, numbers = np.split(numbers, [STEPS_PER_CALL * job.batch])
        state, losses = train(job, state, values, use.reshape(STEPS_PER_CALL, job.batch))
        return len(losses.block_until_ready())

    density, draw = jax.jit(partial(log_prob, job)), jax.jit(partial(sample, job))
    trained = initial(job)
    seeds = itertools.count()
    measures = worker.rates(
        train=block,
        log_prob=lambda: len(density(trained, many).block_until_ready()),
        sample=lambda: len(draw(trained, jax.random.key(next(seeds))).block_until_ready()),
    )
    worker.Rounds(measures, "jax", "jaxlib").wait_for()


if __name__ == "__main__":
    main()
