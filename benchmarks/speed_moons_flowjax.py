"""Side of `speed_moons.py`: FlowJAX's spline flow with its `fit_to_data`, sizes and options as in its examples."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import speed_moons_target as target
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import masked_autoregressive_flow
from flowjax.train import fit_to_data

ROUNDS, EPOCHS = 40, 5
train, held_out, goal = target.read()
mean, deviation = train.mean(axis=0), train.std(axis=0)
log_det = float(np.log(deviation).sum())
rows, unseen = jnp.asarray((train - mean) / deviation), jnp.asarray((held_out - mean) / deviation)
key, use = jax.random.split(jax.random.key(0))
flow = masked_autoregressive_flow(
    use, base_dist=Normal(jnp.zeros(2)), transformer=RationalQuadraticSpline(knots=8, interval=4), invert=True
)
log_prob = eqx.filter_jit(lambda flow, x: flow.log_prob(x).mean())
reached = float("inf")
for _ in range(ROUNDS):  # it cannot be told when to stop
    key, use = jax.random.split(key)
    flow, _ = fit_to_data(use, flow, rows, learning_rate=1e-3, max_epochs=EPOCHS, show_progress=False)
    reached = -float(log_prob(flow, unseen)) + log_det
    if reached <= goal:
        break
target.check(reached, goal)
