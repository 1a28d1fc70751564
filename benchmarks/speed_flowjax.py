"""Side of the speed benchmark: FlowJAX's coupling flow, trained by its `fit_to_data` and by its compiled step alone."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import flowjax.train.loops
import jax
import jax.numpy as jnp
import numpy as np
import optax
import speed_worker as worker
from flowjax.bijections import Affine
from flowjax.distributions import Normal, Transformed
from flowjax.flows import coupling_flow
from flowjax.train import fit_to_data
from flowjax.train.losses import MaximumLikelihoodLoss
from flowjax.train.train_utils import step as flowjax_step
from paramax import NonTrainable, Parameterize


def build(job: worker.Job) -> Transformed:
    """`coupling_flow` with an affine transformer whose log-scale has the soft clamp."""
    scale = Parameterize(lambda s: jnp.exp(worker.CLAMP * jnp.tanh(s / worker.CLAMP)), jnp.array(0.0))
    return coupling_flow(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(job.entries)),
        transformer=eqx.tree_at(lambda affine: affine.scale, Affine(), replace=scale),
        flow_layers=job.couplings,
        nn_width=job.width,
        nn_depth=2,
    )


def adam() -> optax.GradientTransformation:
    """Adam as everywhere."""
    schedule = optax.cosine_decay_schedule(worker.LEARNING_RATE, worker.SCHEDULE_STEPS)
    clip = optax.clip_by_global_norm(worker.CLIP_NORM)
    return optax.chain(clip, optax.adam(schedule, b2=worker.BETA_2, eps=worker.EPSILON))


class _Enough(Exception):  # noqa: N818 - not an error
    """Leaves `fit_to_data`."""


def fit(job: worker.Job, flow: Transformed, rows: np.ndarray) -> None:
    """`fit_to_data`, on and on; one batch is held out, as it cannot do without any."""
    fit_to_data(
        jax.random.key(1),
        flow,
        rows,
        optimizer=adam(),
        max_epochs=worker.SCHEDULE_STEPS,
        max_patience=worker.SCHEDULE_STEPS,
        batch_size=job.batch,
        val_prop=job.batch / len(rows),
    )


def first_step(job: worker.Job, rows: np.ndarray) -> float:
    """Seconds from the call of `fit_to_data` to the end of its first step, nothing compiled before."""
    jax.clear_caches()
    flow, done = build(job), float("nan")

    def only_one(*arguments: Any, **options: Any) -> None:
        nonlocal done
        jax.block_until_ready(flowjax_step(*arguments, **options))
        done = time.perf_counter()
        raise _Enough

    flowjax.train.loops.step = only_one
    began = time.perf_counter()
    try:
        fit(job, flow, rows)
    except _Enough:
        pass
    finally:
        flowjax.train.loops.step = flowjax_step
    return done - began


class RoundsOfEpochs:
    """Stands in for the progress bar of `fit_to_data` and makes it wait between epochs while others are measured."""

    def __init__(self, rounds: worker.Rounds, seconds: float, steps_per_epoch: int) -> None:
        self.rounds, self.seconds, self.steps_per_epoch = rounds, seconds, steps_per_epoch

    def __call__(self, epochs: range, disable: bool) -> "RoundsOfEpochs":
        return self

    def set_postfix(self, *_: Any) -> None:
        """A progress bar would show the losses."""

    def __iter__(self) -> Iterator[int]:
        seconds: float | None = self.seconds
        while seconds is not None:
            began, done = time.perf_counter(), 0
            while (spent := time.perf_counter() - began) < seconds or not done:
                yield done
                done += 1
            self.rounds.answer(done * self.steps_per_epoch / spent)
            seconds = self.rounds.wait_for("train")


def compiled_step(job: worker.Job, rows: np.ndarray) -> worker.Callable[[], int]:
    """The step of `fit_to_data` in a bare loop."""
    flow, optimizer, loss = build(job), adam(), MaximumLikelihoodLoss()
    params, static = eqx.partition(flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, NonTrainable))
    state, key, values = optimizer.init(params), jax.random.key(0), jnp.asarray(rows)
    count = len(rows) // job.batch
    shuffled = jax.jit(
        lambda key: jax.random.permutation(key, values)[: count * job.batch].reshape(count, job.batch, -1)
    )

    def epoch() -> int:
        nonlocal params, state, key
        key, use = jax.random.split(key)
        for batch in shuffled(use):
            params, state, _ = flowjax_step(
                params, static, batch, optimizer=optimizer, opt_state=state, loss_fn=loss, key=use
            )
        jax.block_until_ready(params)
        return count

    return epoch


def main() -> None:
    """Measures until standard input ends."""
    job, rows = worker.read_job()
    flow, many = build(job), jnp.asarray(worker.density_rows(rows))
    log_prob = eqx.filter_jit(lambda flow, x: flow.log_prob(x))
    sample = eqx.filter_jit(lambda flow, key: flow.sample(key, (worker.DENSITY_ROWS,)))
    seeds = itertools.count()
    measures = worker.rates(
        train_step=compiled_step(job, rows),
        log_prob=lambda: len(log_prob(flow, many).block_until_ready()),
        sample=lambda: len(sample(flow, jax.random.key(next(seeds))).block_until_ready()),
    )
    rounds = worker.Rounds({"first_step": lambda _: first_step(job, rows), **measures}, "flowjax", "jax")
    seconds = rounds.wait_for("train")
    if seconds is not None:
        steps_per_epoch = len(rows) // job.batch - 1
        flowjax.train.loops.tqdm = RoundsOfEpochs(rounds, seconds, steps_per_epoch)
        fit(job, flow, rows)


if __name__ == "__main__":
    main()
