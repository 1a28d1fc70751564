"""Worker of the density benchmark for the flows of zuko (PyTorch) and FlowJAX (JAX).

`density.py` starts it, once for each run, with an interpreter that has those libraries.
"""

from __future__ import annotations

from typing import Any

import density_worker as worker
import numpy as np
from numpy.typing import NDArray

# For each method the best of three to six settings by magic's validation rows, or as good as the best and steadier:
# sizes, batches of 128 and 256, and rates up to one that was no better. The same for all data sets.
RECIPES: dict[str, dict[str, Any]] = {
    "zuko NSF": {"flow": "NSF", "transforms": 3, "hidden": [128, 128], "learning_rate": 1e-2, "batch_size": 256},
    "zuko NSF coupling": {
        "flow": "NSF",
        "passes": 2,
        "transforms": 5,
        "hidden": [128, 128],
        "learning_rate": 5e-3,
        "batch_size": 128,
    },
    "zuko MAF": {"flow": "MAF", "transforms": 8, "hidden": [128, 128], "learning_rate": 4e-3, "batch_size": 128},
    "zuko RealNVP": {
        "flow": "RealNVP",
        "transforms": 8,
        "hidden": [128, 128],
        "learning_rate": 2e-3,
        "batch_size": 256,
    },
    "FlowJAX coupling": {
        "layers": 8,
        "width": 128,
        "depth": 2,
        "knots": 8,
        "interval": 5,
        "learning_rate": 1e-2,
        "batch_size": 256,
    },
}
CLIP_NORM = 5.0


def fit_zuko(job: worker.Job, clock: worker.Clock, rows: dict[str, NDArray[np.float32]]) -> worker.Fitted:
    """Fits a flow of zuko by Adam with a clipped gradient."""
    import torch
    import zuko

    recipe = job.recipe
    torch.manual_seed(job.seed)
    options = {name: recipe[name] for name in ("passes", "bins", "randperm") if name in recipe}
    build = getattr(zuko.flows, recipe["flow"])
    flow = build(rows["train"].shape[1], transforms=recipe["transforms"], hidden_features=recipe["hidden"], **options)
    optimizer = torch.optim.Adam(flow.parameters(), lr=recipe["learning_rate"], fused=True)
    feed = worker.batches(rows["train"], recipe["batch_size"], job.seed)

    def step(learning_rate: float) -> None:
        loss = -flow().log_prob(torch.from_numpy(next(feed))).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(flow.parameters(), CLIP_NORM)
        if torch.isfinite(norm):
            optimizer.param_groups[0]["lr"] = learning_rate
            optimizer.step()

    def log_prob(values: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return flow().log_prob(torch.from_numpy(values)).numpy()

    best: dict[str, torch.Tensor] = {}

    def keep() -> None:
        best.update({name: value.clone() for name, value in flow.state_dict().items()})

    steps = worker.train(clock, step, lambda: float(log_prob(rows["valid"]).mean()), keep, recipe["learning_rate"])
    flow.load_state_dict(best)
    return worker.Fitted(log_prob, steps, sum(p.numel() for p in flow.parameters()))


def fit_flowjax(job: worker.Job, clock: worker.Clock, rows: dict[str, NDArray[np.float32]]) -> worker.Fitted:
    """Fits a coupling flow of FlowJAX with splines; the step is that of its `fit_to_data`, with a clipped gradient."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow
    from flowjax.train.losses import MaximumLikelihoodLoss
    from paramax import NonTrainable

    recipe = job.recipe
    flow = coupling_flow(
        jax.random.key(job.seed),
        base_dist=Normal(jnp.zeros(rows["train"].shape[1])),
        transformer=RationalQuadraticSpline(knots=recipe["knots"], interval=recipe["interval"]),
        flow_layers=recipe["layers"],
        nn_width=recipe["width"],
        nn_depth=recipe["depth"],
    )
    params, static = eqx.partition(flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, NonTrainable))
    optimizer = optax.apply_if_finite(
        optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.scale_by_adam()), max_consecutive_errors=100
    )
    state = optimizer.init(params)
    loss = MaximumLikelihoodLoss()
    feed = worker.batches(rows["train"], recipe["batch_size"], job.seed)

    @jax.jit
    def update(params: Any, state: Any, values: jax.Array, learning_rate: jax.Array) -> tuple[Any, Any]:
        gradient = jax.grad(lambda tree: loss(tree, static, values))(params)
        direction, state = optimizer.update(gradient, state)
        return jax.tree.map(lambda p, d: p - learning_rate * d, params, direction), state

    @jax.jit
    def log_prob(params: Any, values: jax.Array) -> jax.Array:
        return eqx.combine(params, static).log_prob(values)

    def step(learning_rate: float) -> None:
        nonlocal params, state
        params, state = update(params, state, next(feed), np.float32(learning_rate))

    best = params

    def keep() -> None:
        nonlocal best
        best = params

    def validate() -> float:
        return float(log_prob(params, rows["valid"]).mean())

    steps = worker.train(clock, step, validate, keep, recipe["learning_rate"])
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    return worker.Fitted(lambda values: np.asarray(log_prob(best, values)), steps, count)


if __name__ == "__main__":
    job = worker.start()
    if job.method.startswith("zuko"):
        import torch
        import zuko  # noqa: F401

        torch.set_num_threads(1)
        worker.finish(job, fit_zuko, "zuko", "torch")
    else:
        import flowjax.flows
        import flowjax.train  # noqa: F401

        worker.finish(job, fit_flowjax, "flowjax", "jax")
