"""NeuTra: Hamiltonian Monte Carlo in a space that a flow has straightened.

In Neal's funnel the scale of nine variables is the exponential of half a tenth, v. One step size fits its mouth or its
neck, not both, and the steps that HMC adapts to the mouth keep it out of the neck, at an acceptance that looks well.
A RealNVP, fitted to the funnel by variational inference, maps it to something near a Gaussian, in which HMC moves
freely: `tfp.mcmc.TransformedTransitionKernel` needs nothing but the flow's bijector. What the flow gets wrong, HMC
puts right.

References: Matthew Hoffman et al. NeuTra-lizing bad geometry in Hamiltonian Monte Carlo using neural transport. 2019.
    https://arxiv.org/abs/1903.03704
"""

import dataclasses
import pathlib
import time
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import recipe
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from tensorflow_probability import distributions as tfd

import tfp_realnvp as tfr

SIZE = 10
SCALE_OF_V = 3.0
NUM_CHAINS = 64


def log_density(x: tf.Tensor) -> tf.Tensor:
    """The funnel, of `x = (v, x_1, …, x_9)`."""
    v, rest = x[..., 0], x[..., 1:]
    scale = tf.exp(v[..., tf.newaxis] / 2)
    return tfd.Normal(0.0, SCALE_OF_V).log_prob(v) + tf.reduce_sum(tfd.Normal(0.0, scale).log_prob(rest), axis=-1)


def sample_funnel(num_samples: int) -> np.ndarray:
    """Draws from the funnel itself."""
    rng = np.random.default_rng(0)
    v = rng.normal(0, SCALE_OF_V, [num_samples, 1])
    return np.concatenate([v, np.exp(v / 2) * rng.normal(size=[num_samples, SIZE - 1])], axis=1)


def fit(flow: tfd.Distribution, num_steps: int) -> float:
    """Maximises the ELBO and returns the seconds of processor time it took, compilation included."""
    rate = tf_keras.optimizers.schedules.CosineDecay(0.0, num_steps, warmup_target=5e-3, warmup_steps=num_steps // 20)
    start = time.process_time()
    tfp.vi.fit_surrogate_posterior(
        log_density,
        flow,
        optimizer=tf_keras.optimizers.Adam(rate, beta_2=0.99, global_clipnorm=10.0),
        num_steps=num_steps,
        sample_size=256,
        seed=(0, 1),
        jit_compile=True,
    )
    return time.process_time() - start


@dataclasses.dataclass(frozen=True)
class Chains:
    """What a sampler has drawn: states `[num_samples, NUM_CHAINS, SIZE]`, and how."""

    states: np.ndarray
    acceptance: float
    seconds: float


def run_chains(flow: tfd.Distribution | None, num_leapfrog_steps: int, num_samples: int) -> Chains:
    """Samples by HMC, through the flow if there is one."""
    kernel = tfp.mcmc.HamiltonianMonteCarlo(log_density, step_size=0.1, num_leapfrog_steps=num_leapfrog_steps)
    if flow is not None:
        kernel = tfp.mcmc.TransformedTransitionKernel(kernel, flow.bijector)
    num_burn_in = num_samples // 2
    kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(kernel, int(0.8 * num_burn_in), target_accept_prob=0.8)

    def acceptance_of(_: tf.Tensor, results: Any) -> tf.Tensor:
        results = results.inner_results if flow is None else results.inner_results.inner_results
        return tf.exp(tf.minimum(0.0, results.log_accept_ratio))

    @tf.function(jit_compile=True, autograph=False)
    def sample(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tfp.mcmc.sample_chain(
            num_samples,
            current_state=tfd.Normal(0.0, 1.0).sample([NUM_CHAINS, SIZE], seed=(0, 2)),
            kernel=kernel,
            num_burnin_steps=num_burn_in,
            trace_fn=acceptance_of,
            seed=seed,
        )

    sample(tf.constant([0, 3]))  # compiles
    start = time.process_time()
    states, acceptance = sample(tf.constant([0, 4]))
    seconds = time.process_time() - start
    return Chains(states.numpy(), float(tf.reduce_mean(acceptance)), seconds)


def describe(name: str, chains: Chains, seconds_of_training: float) -> list[str]:
    """Returns a row of the table."""
    sizes = np.nansum(tfp.mcmc.effective_sample_size(chains.states), axis=0)  # NaN is that of a chain that never moves
    v = chains.states[..., 0]
    r_hat = float(tfp.mcmc.potential_scale_reduction(v))
    in_neck = np.mean(v < -SCALE_OF_V, axis=0)
    # Of chains that wander from neck to mouth the means are Gaussian: their spread gives the error.
    return [
        name,
        f"{chains.acceptance:.2f}",
        f"{r_hat:.3f}",
        recipe.mean_and_error(v.mean(axis=0), 2),
        recipe.mean_and_error(v.std(axis=0), 2),
        recipe.mean_and_error(in_neck, 3),
        f"{sizes[0] / chains.seconds:,.0f}",
        f"{sizes.min() / chains.seconds:,.0f}",
        f"{sizes[0] / (chains.seconds + seconds_of_training):,.0f}",
        f"{chains.seconds:.1f}",
    ]


def plot(draws: dict[str, np.ndarray], path: pathlib.Path) -> None:
    """Draws v over one of the nine, as the truth and each sampler have them."""
    figure, axes = plt.subplots(1, len(draws), figsize=(3.4 * len(draws), 3.8), sharex=True, sharey=True)
    for axis, (name, x) in zip(axes, draws.items(), strict=True):
        colour = {"truth": recipe.GREY, "HMC": recipe.RED, "NeuTra": recipe.BLUE}[name.split(",")[0]]
        shown = np.random.default_rng(1).choice(x, 5_000)
        axis.plot(shown[:, 1], shown[:, 0], ".", markersize=2.5, alpha=0.4, color=colour, markeredgewidth=0)
        axis.axhline(-SCALE_OF_V, color="black", linewidth=0.8, linestyle=":")
        axis.set(
            title=f"{name}\n{np.mean(x[:, 0] < -SCALE_OF_V):.1%} below -3", xlabel="x₁", xlim=(-25, 25), ylim=(-11, 10)
        )
    axes[0].set_ylabel("v")
    recipe.save_figure(figure, path)


def run(small: bool, out: pathlib.Path) -> None:
    """Writes `neutra.md` and `neutra.png`."""
    num_steps, num_samples, couplings, units = (20, 40, 2, [8]) if small else (3_000, 4_000, 4, [32, 32])
    # v / 2 runs from -5 to 5: the log-scale of a coupling may, too.
    flow = tfr.real_nvp(SIZE, num_couplings=couplings, hidden_units=units, log_scale_clamp=5.0, seed=0)
    seconds = fit(flow, num_steps)
    samplers = {
        "HMC, 10 leapfrog steps": (None, 10),
        "HMC, 100 leapfrog steps": (None, 100),
        "NeuTra, 10 leapfrog steps": (flow, 10),
    }
    if small:
        del samplers["HMC, 100 leapfrog steps"]
    chains = {name: run_chains(*arguments, num_samples) for name, arguments in samplers.items()}
    rows = [describe(name, result, seconds if "NeuTra" in name else 0.0) for name, result in chains.items()]
    from_flow = flow.sample(100_000, seed=(0, 5)).numpy()
    v = from_flow[:, 0]
    rows.append(
        ["the flow alone", "", "", f"{v.mean():.2f}", f"{v.std():.2f}", f"{np.mean(v < -3):.3f}", "", "", "", ""]
    )
    rows.append(["truth", "", "", "0", "3", "0.159", "", "", "", ""])
    recipe.write_table(
        out / "neutra.md",
        [
            "sampler",
            "acceptance",
            "R-hat of v",
            "mean of v",
            "sd of v",
            "P(v < -3)",
            "ESS of v a second",
            "least ESS a second",
            "ESS of v a second, with training",
            "seconds",
        ],
        rows,
        f"{NUM_CHAINS} chains of {num_samples:,} samples after {num_samples // 2:,} of burn-in. Mean ± standard error "
        f"over chains, of each chain's figure. Seconds of processor time, burn-in included, compilation not; training "
        f"the flow took {seconds:.0f} s, with compilation. "
        "Chains that miss the neck have an effective sample size (ESS) of what they did see.",
    )
    plot(
        {
            "truth": sample_funnel(100_000),
            **{name: result.states.reshape(-1, SIZE) for name, result in chains.items()},
        },
        out / "neutra.png",
    )


if __name__ == "__main__":
    recipe.main(run)
