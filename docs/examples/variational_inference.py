"""Variational inference with a flow as the surrogate posterior.

Two posteriors that no Gaussian fits: a banana, and the eight schools in their centred form, where the effects
of the schools huddle together when their spread is small. `tfp.vi.fit_surrogate_posterior` fits a RealNVP and, for
comparison, a mean-field Gaussian to each. Both posteriors can be integrated on a grid, so the log-evidence is known and
what the ELBO lacks of it is the Kullback-Leibler divergence from the surrogate to the posterior. The moments are
compared with a long run of NUTS.
"""

import math
import pathlib
import time
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import recipe
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from scipy import special
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfp_realnvp as tfr

# A model is the log-density of parameters and data together, as a function of the parameters, [..., D].
LogDensity = Callable[[tf.Tensor], tf.Tensor]

# The banana: two parameters, of which one observation tells a + b**2 only.
OBSERVATION, NOISE = 1.0, 0.25

# Eight schools (Rubin, 1981): the effect of coaching in each, and the standard error of that estimate.
EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
SCALE_OF_MEAN, SCALE_OF_SPREAD = 10.0, 5.0

COLOURS = {"NUTS": recipe.GREY, "flow": recipe.BLUE, "mean field": recipe.RED}


def banana(parameters: tf.Tensor) -> tf.Tensor:
    """Parameters: a and b, standard Gaussian beforehand."""
    a, b = tf.unstack(parameters, axis=-1)
    prior = tfd.Normal(0.0, 1.0)
    return prior.log_prob(a) + prior.log_prob(b) + tfd.Normal(a + b**2, NOISE).log_prob(OBSERVATION)


def banana_log_evidence() -> float:
    """The sum over a grid."""
    grid = np.linspace(-8, 8, 1601, dtype=np.float32)
    log_density = banana(np.stack(np.meshgrid(grid, grid), axis=-1)).numpy().astype(np.float64)
    return special.logsumexp(log_density) + 2 * math.log(grid[1] - grid[0])


def eight_schools(parameters: tf.Tensor) -> tf.Tensor:
    """Parameters: the mean of the effects, the log of their spread, and the effects."""
    mean, log_spread, effects = parameters[..., 0], parameters[..., 1], parameters[..., 2:]
    spread = tf.exp(log_spread)
    prior = tfd.Normal(0.0, SCALE_OF_MEAN).log_prob(mean) + tfd.HalfCauchy(0.0, SCALE_OF_SPREAD).log_prob(spread)
    of_effects = tfd.Normal(mean[..., tf.newaxis], spread[..., tf.newaxis]).log_prob(effects)
    of_data = tfd.Normal(effects, ERRORS.astype(np.float32)).log_prob(EFFECTS.astype(np.float32))
    # The last term is the log-derivative of exp: the density is one of the log of the spread.
    return prior + tf.reduce_sum(of_effects + of_data, axis=-1) + log_spread


def eight_schools_non_centred(parameters: tf.Tensor) -> tf.Tensor:
    """The same with standardised effects, which NUTS can sample."""
    return eight_schools(centred(parameters)) + 8 * parameters[..., 1]


def centred(parameters: tf.Tensor) -> tf.Tensor:
    """Returns the parameters of the centred form."""
    mean, log_spread, standardised = parameters[..., :1], parameters[..., 1:2], parameters[..., 2:]
    return tf.concat([mean, log_spread, mean + tf.exp(log_spread) * standardised], axis=-1)


def eight_schools_log_evidence() -> float:
    """Given mean and spread the effects integrate to a Gaussian; these two are summed over a grid."""
    mean, log_spread = np.linspace(-60, 60, 1201)[:, np.newaxis], np.linspace(-16, 10, 1301)
    variance = np.exp(2 * log_spread)[:, np.newaxis] + ERRORS**2
    log_density = -0.5 * np.sum(
        (EFFECTS - mean[..., np.newaxis]) ** 2 / variance + np.log(2 * np.pi * variance), axis=-1
    )
    log_density += tfd.Normal(np.float64(0), SCALE_OF_MEAN).log_prob(mean)
    log_density += tfd.HalfCauchy(np.float64(0), SCALE_OF_SPREAD).log_prob(np.exp(log_spread)) + log_spread
    return special.logsumexp(log_density) + math.log((mean[1, 0] - mean[0, 0]) * (log_spread[1] - log_spread[0]))


def mean_field(size: int) -> tfd.Distribution:
    """Returns independent Gaussians with means and scales to be trained."""
    scale = tfp.util.TransformedVariable(tf.ones(size), tfb.Softplus(), name="scale")
    return tfd.MultivariateNormalDiag(tf.Variable(tf.zeros(size), name="mean"), scale)


def fit(surrogate: tfd.Distribution, log_density: LogDensity, num_steps: int, *, jit_compile: bool) -> float:
    """Maximises the ELBO and returns the seconds of processor time it took, compilation included."""
    rate = tf_keras.optimizers.schedules.CosineDecay(0.0, num_steps, warmup_target=5e-3, warmup_steps=num_steps // 20)
    start = time.process_time()
    tfp.vi.fit_surrogate_posterior(
        log_density,
        surrogate,
        optimizer=tf_keras.optimizers.Adam(rate, beta_2=0.99, global_clipnorm=10.0),
        num_steps=num_steps,
        sample_size=256,
        seed=(0, 1),
        jit_compile=jit_compile,
    )
    return time.process_time() - start


def elbo(surrogate: tfd.Distribution, log_density: LogDensity, num_samples: int) -> np.ndarray:
    """Returns `num_samples` terms, in nats, whose mean is the ELBO."""
    samples, log_prob = surrogate.experimental_sample_and_log_prob(num_samples, seed=(0, 2))
    return (log_density(samples) - log_prob).numpy()


def nuts(log_density: LogDensity, size: int, num_samples: int, *, jit_compile: bool) -> tf.Tensor:
    """Returns samples of 16 chains, `[num_samples, 16, size]`."""

    @tf.function(jit_compile=jit_compile, autograph=False)
    def sample() -> tf.Tensor:
        kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
            tfp.mcmc.NoUTurnSampler(log_density, step_size=0.1), num_samples // 4, target_accept_prob=0.9
        )
        return tfp.mcmc.sample_chain(
            num_samples,
            current_state=tfd.Normal(0.0, 1.0).sample([16, size], seed=(0, 3)),
            kernel=kernel,
            num_burnin_steps=num_samples // 2,
            trace_fn=None,
            seed=(0, 4),
        )

    return sample()


def plot(draws: dict[str, dict[str, np.ndarray]], path: pathlib.Path) -> None:
    """Draws a row of panels a posterior: two parameters, as each method has them."""
    panels = {"banana": ((0, 1), "a", "b"), "eight schools": ((2, 1), "effect of school A", "log spread")}
    limits = {"banana": ((-3.2, 2.2), (-2.2, 2.2)), "eight schools": ((-15, 35), (-4, 4))}
    figure, axes = plt.subplots(2, 3, figsize=(10, 6.4), sharex="row", sharey="row")
    for row, (model, (columns, x_label, y_label)) in zip(axes, panels.items(), strict=True):
        for axis, (name, samples) in zip(row, draws[model].items(), strict=True):
            shown = np.random.default_rng(0).choice(samples, 4_000)[:, columns]
            axis.plot(*shown.T, ".", markersize=3, alpha=0.5, color=COLOURS[name], markeredgewidth=0)
            axis.set(title=f"{model}: {name}", xlabel=x_label, xlim=limits[model][0], ylim=limits[model][1])
        row[0].set_ylabel(y_label)
    recipe.save_figure(figure, path)


def run(small: bool, out: pathlib.Path) -> None:
    """Writes two tables and a picture, `variational_inference*`."""
    num_steps, num_draws, num_samples = (20, 2_000, 50) if small else (4_000, 200_000, 5_000)
    couplings, units = (2, [8]) if small else (6, [64, 64])
    posteriors = {
        # Of each: its density, the one that NUTS samples, the way from there, the log-evidence, the parameters shown.
        "banana": (banana, banana, tf.identity, banana_log_evidence(), {"a": 0, "b": 1}),
        "eight schools": (
            eight_schools,
            eight_schools_non_centred,
            centred,
            eight_schools_log_evidence(),
            {"mean": 0, "log spread": 1, "school A": 2, "school C": 4},
        ),
    }
    sizes = {"banana": 2, "eight schools": 10}
    elbos, moments, draws = [], [], {}
    for model, (log_density, for_nuts, from_nuts, log_evidence, parameters) in posteriors.items():
        size = sizes[model]
        reference = from_nuts(nuts(for_nuts, size, num_samples, jit_compile=not small))
        draws[model] = {"NUTS": tf.reshape(reference, [-1, size]).numpy()}
        surrogates = {
            # In the neck of a funnel scales are small: log-scales may go further than they do for data.
            "flow": tfr.real_nvp(size, num_couplings=couplings, hidden_units=units, log_scale_clamp=5.0, seed=0),
            "mean field": mean_field(size),
        }
        for name, surrogate in surrogates.items():
            seconds = fit(surrogate, log_density, num_steps, jit_compile=not small)
            terms = elbo(surrogate, log_density, num_draws)
            divergence = recipe.mean_and_error(log_evidence - terms, 4)
            elbos.append([f"{model}: {name}", recipe.mean_and_error(terms, 4), divergence, f"{seconds:.0f}"])
            draws[model][name] = surrogate.sample(num_draws, seed=(0, 5)).numpy()
        elbos.append([f"{model}: log-evidence", f"{log_evidence:.4f}", "0", ""])

        error = np.sqrt(
            tf.math.reduce_variance(reference, axis=[0, 1])
            / tf.reduce_sum(tfp.mcmc.effective_sample_size(reference), axis=0)
        )
        for name, index in parameters.items():
            columns = [samples[:, index] for samples in draws[model].values()]
            cells = [f"{column.mean():.2f} ({column.std():.2f})" for column in columns]
            moments.append([f"{model}: {name}", f"{error[index]:.3f}", *cells])

    recipe.write_table(
        out / "variational_inference.md",
        ["posterior: surrogate", "ELBO (nats)", "KL(surrogate, posterior)", "seconds"],
        elbos,
        f"Mean ± standard error over {num_draws:,} samples. The log-evidence is a sum over a grid. Seconds of "
        "processor time for the fit, compilation included.",
    )
    recipe.write_table(
        out / "variational_inference_moments.md",
        ["posterior: parameter", "error of NUTS", "NUTS", "flow", "mean field"],
        moments,
        "Mean (standard deviation) of the samples. The first column is the standard error of the mean of NUTS.",
    )
    plot(draws, out / "variational_inference.png")


if __name__ == "__main__":
    recipe.main(run)
