"""Worker of the density benchmark for `tfp_realnvp`."""

from __future__ import annotations

import functools
from typing import Any

import density_worker as worker
import numpy as np
from numpy.typing import NDArray

# `fit` looks at its clock between calls of up to a second, and validates once more after the last.
_LAST_CALL_SECONDS = 1.5

# Builds a flow over D entries, and the arguments of `tfp_realnvp.fit`; what is not given is left at its default.
RECIPES: dict[str, dict[str, Any]] = {
    "ours affine": {
        "flow": {"transform": "affine", "couplings": 8, "base": "Student-t", "width": 64, "dropout": 0.1},
        "fit": {"epochs": 100},
    },
    "ours best": {
        "flow": {
            "transform": "spline",
            "bins": 6,
            "couplings": 5,
            "base": "16 Gaussians",
            "marginal spline": True,
            "width": 80,
            "dropout": 0.25,
        },
        "fit": {"epochs": 60, "learning_rate": 5e-3},
    },
}


def build(size: int, seed: int, recipe: dict[str, Any]) -> Any:
    """A flow with residual conditioners and LU layers."""
    import tensorflow as tf
    import tensorflow_probability as tfp
    from tensorflow_probability import bijectors as tfb
    from tensorflow_probability import distributions as tfd

    import tfp_realnvp as tfr

    if recipe["base"] == "Student-t":
        degrees = tfp.util.TransformedVariable(tf.fill([size], 8.0), tfb.Softplus(low=1.0))
        base = tfd.Independent(tfd.StudentT(degrees, tf.zeros(size), tf.ones(size)), 1)
    else:
        base = tfr.gaussian_mixture(size, 16, spread=1.0, seed=seed)
    transforms = tfr.transforms
    return tfr.real_nvp(
        size,
        num_couplings=recipe["couplings"],
        transform=transforms.Affine()
        if recipe["transform"] == "affine"
        else transforms.RationalQuadraticSpline(num_bins=recipe["bins"]),
        conditioner=functools.partial(tfr.residual_mlp, width=recipe["width"], num_blocks=1, dropout=recipe["dropout"]),
        use_lu=True,
        use_marginal_spline=recipe.get("marginal spline", False),
        base=base,
        seed=seed,
    )


def fit(job: worker.Job, clock: worker.Clock, rows: dict[str, NDArray[np.float32]]) -> worker.Fitted:
    """Builds and fits a flow as a user would, with `max_time`."""
    import tensorflow as tf

    import tfp_realnvp as tfr

    flow = build(rows["train"].shape[1], job.seed, job.recipe["flow"])
    if job.recipe["flow"].get("marginal spline"):
        tfr.initialize(flow, rows["train"])
    history = tfr.fit(
        flow,
        rows["train"],
        validation_data=rows["valid"],
        **{"max_time": clock.left() - _LAST_CALL_SECONDS, "seed": job.seed, "verbose": 0} | job.recipe["fit"],
    )
    parameters = sum(int(tf.size(variable)) for variable in flow.trainable_variables)
    log_prob = tf.function(flow.log_prob, autograph=False)
    return worker.Fitted(lambda values: log_prob(values).numpy(), history.params["steps_done"], parameters)


if __name__ == "__main__":
    job = worker.start()
    import tensorflow_probability  # noqa: F401

    import tfp_realnvp  # noqa: F401

    worker.finish(job, fit, "tfp-realnvp", "tensorflow-probability", "tensorflow")
