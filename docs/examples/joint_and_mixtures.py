"""A flow as a part of larger TFP models: the prior in a joint distribution, and the component of a mixture.

A trained flow is an ordinary `tfd.Distribution`, so it can be yielded from a `tfd.JointDistributionCoroutine`,
sampled and conditioned on data. It can also be trained where it stands, inside `tfd.Mixture` or, as
`flow.given(one_hot)`, inside `tfd.MixtureSameFamily`.

The data are three bananas far apart, each a Gaussian in polar coordinates, so their density is known.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import recipe
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats
from sklearn.cluster import KMeans
from tensorflow_probability import distributions as tfd

import tfp_realnvp as tfr

NUM_CLUSTERS, RADIUS, RADIAL, ANGULAR = 3, 0.7, 0.05, 0.5  # radius, its standard deviation, the angle's (radians)
DIRECTIONS = np.arange(NUM_CLUSTERS) * 2 * np.pi / NUM_CLUSTERS + 0.5
CENTRES = 1.4 * np.stack([np.cos(DIRECTIONS), np.sin(DIRECTIONS)], axis=1)


def sample_bananas(num_rows: int, seed: int) -> np.ndarray:
    """Draws rows, `[n, 2]`."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(NUM_CLUSTERS, size=num_rows)
    radius, angle = rng.normal(RADIUS, RADIAL, num_rows), rng.normal(DIRECTIONS[cluster], ANGULAR)
    return (CENTRES[cluster] + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.float32)


def log_densities_of_bananas(x: np.ndarray) -> np.ndarray:
    """The log-density of rows in each cluster, `[n, NUM_CLUSTERS]`, in nats."""
    offsets = x[:, None, :] - CENTRES
    radius, angle = np.linalg.norm(offsets, axis=-1), np.arctan2(offsets[..., 1], offsets[..., 0])
    turn = (angle - DIRECTIONS + np.pi) % (2 * np.pi) - np.pi
    return stats.norm.logpdf(radius, RADIUS, RADIAL) + stats.norm.logpdf(turn, 0.0, ANGULAR) - np.log(radius)


def log_density_of_bananas(x: np.ndarray) -> np.ndarray:
    """The true log-density of rows, `[n]`, in nats."""
    return np.logaddexp.reduce(log_densities_of_bananas(x), axis=1) - np.log(NUM_CLUSTERS)


def single_flow(num_couplings: int) -> tfd.Distribution:
    """One flow from one Gaussian."""
    return tfr.real_nvp(2, num_couplings=num_couplings, seed=0)


def mixture_of_flows(num_couplings: int, centres: np.ndarray) -> tfd.Distribution:
    """A flow for each cluster, whose base starts on its centre, and learnt weights."""
    flows = [
        tfr.real_nvp(
            2,
            num_couplings=max(2, num_couplings // NUM_CLUSTERS),
            base=tfd.MultivariateNormalDiag(tf.Variable(centre), tf.ones(2)),
            seed=k,
            name=f"flow_{k}",
        )
        for k, centre in enumerate(centres)
    ]
    return tfd.Mixture(tfd.Categorical(logits=tf.Variable(tf.zeros(NUM_CLUSTERS))), flows)


def mixture_of_conditional_flow(
    num_couplings: int, train: np.ndarray, labels: np.ndarray, steps: int
) -> tfd.Distribution:
    """One conditional flow, whose context is the one-hot number of the component.

    All components start as the same identity. To set them apart, the flow is first trained for some steps
    on labels, here those of k-means.
    """
    flow = tfr.real_nvp(2, num_couplings=num_couplings, context=tfr.FeatureContext(NUM_CLUSTERS), seed=0)
    one_hot = np.eye(NUM_CLUSTERS, dtype=np.float32)
    options = {"steps": steps, "validation_split": 0, "verbose": 0}
    tfr.fit(flow, train, context=one_hot[labels], seed=0, **options)
    components = flow.given(one_hot)  # batch shape [NUM_CLUSTERS]
    return tfd.MixtureSameFamily(tfd.Categorical(logits=tf.Variable(tf.zeros(NUM_CLUSTERS))), components)


def flow_from_mixture(num_couplings: int, centres: np.ndarray) -> tfd.Distribution:
    """One flow from a learnt mixture of Gaussians, which start on the centres."""
    base = tfr.gaussian_mixture(2, NUM_CLUSTERS)
    base.components_distribution.loc.assign(centres)
    return tfr.real_nvp(2, num_couplings=num_couplings, base=base, seed=0)


def posterior_by_hmc(
    prior: tfd.Distribution, reading: float, noise: float, num_chains: int, num_steps: int, jit_compile: bool
) -> tuple[np.ndarray, float]:
    """Draws latent points given a noisy reading of their first coordinate.

    HMC walks in the space of the flow's noise, where the prior is a round Gaussian and its clusters touch.

    Returns:
        Draws, `[num_steps, num_chains, 2]`, and the share of proposals that were accepted.
    """

    @tfd.JointDistributionCoroutine
    def model():
        latent = yield tfd.JointDistributionCoroutine.Root(prior)
        yield tfd.Normal(latent[..., 0], noise, name="reading")

    posterior = model.experimental_pin(reading=reading)
    kernel = tfp.mcmc.TransformedTransitionKernel(
        tfp.mcmc.HamiltonianMonteCarlo(posterior.unnormalized_log_prob, step_size=0.3, num_leapfrog_steps=4),
        prior.bijector,
    )
    adaptive = tfp.mcmc.SimpleStepSizeAdaptation(kernel, num_adaptation_steps=num_steps // 2, target_accept_prob=0.7)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def draw(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tfp.mcmc.sample_chain(
            num_steps,
            start,
            num_burnin_steps=num_steps // 2,
            kernel=adaptive,
            trace_fn=lambda _, results: results.inner_results.inner_results.is_accepted,
            seed=(0, 2),
        )

    latent, _ = model.sample(num_chains, seed=(0, 1))  # chains start from the prior
    draws, is_accepted = draw(latent)
    return draws.numpy(), float(tf.reduce_mean(tf.cast(is_accepted, tf.float32)))


def posterior_by_quadrature(prior: tfd.Distribution, reading: float, noise: float, grid: np.ndarray) -> np.ndarray:
    """The same posterior on a regular grid, `[n, 2]`: the weight of each point."""
    weights = prior.prob(grid).numpy() * stats.norm.pdf(reading, grid[:, 0], noise)
    return weights / weights.sum()


def summarise(points: np.ndarray, weights: np.ndarray) -> list[str]:
    """Mean and standard deviation of the second coordinate, and the probability of each cluster, as text."""
    mean = weights @ points[:, 1]
    cluster = np.linalg.norm(points[:, None, :] - CENTRES, axis=-1).argmin(axis=1)
    shares = np.bincount(cluster, weights, minlength=NUM_CLUSTERS)
    spread = np.sqrt(weights @ (points[:, 1] - mean) ** 2)
    return [f"{mean:.3f}", f"{spread:.3f}", *(f"{share:.3f}" for share in shares)]


def run(small: bool, out: pathlib.Path) -> None:
    """Fits four models of the bananas, and conditions one of them on a noisy reading."""
    num_train, num_test, steps, num_couplings = (1_000, 2_000, 32, 2) if small else (10_000, 20_000, 3_000, 9)
    train, test = sample_bananas(num_train, seed=1), sample_bananas(num_test, seed=2)
    clusters = KMeans(NUM_CLUSTERS, n_init=3, random_state=0).fit(train)
    centres = clusters.cluster_centers_.astype(np.float32)
    models = {
        "single flow": single_flow(num_couplings),
        "tfd.Mixture of flows": mixture_of_flows(num_couplings, centres),
        "tfd.MixtureSameFamily of flow.given(one_hot)": mixture_of_conditional_flow(
            num_couplings, train, clusters.labels_, steps // 4
        ),
        "single flow, gaussian_mixture base": flow_from_mixture(num_couplings, centres),
    }
    for name, model in models.items():
        left = steps - steps // 4 if "given" in name else steps
        tfr.fit(model, train, steps=left, validation_split=0, seed=0, verbose=0)

    # A sample lies between the clusters if the truth gives it less density than 99.9 % of its own rows.
    threshold = np.quantile(log_density_of_bananas(sample_bananas(100_000, seed=3)), 0.001)
    truth = log_density_of_bananas(test)
    rows = [["the true density", "", recipe.mean_and_error(truth), "", "0.10 %"]]
    for name, model in models.items():
        log_prob = model.log_prob(test).numpy()
        samples = model.sample(num_test, seed=(0, 3)).numpy()
        between = (log_density_of_bananas(samples) < threshold).mean()
        size = sum(int(tf.size(variable)) for variable in model.trainable_variables)
        short = recipe.mean_and_error(truth - log_prob)
        rows.append([name, f"{size:,}", recipe.mean_and_error(log_prob), short, f"{between:.2%}".replace("%", " %")])
    recipe.write_table(
        out / "mixtures.md",
        ["model", "parameters", "test log-likelihood (nats a row)", "short of the truth", "samples between clusters"],
        rows,
        caption=f"{NUM_CLUSTERS} bananas: {num_train:,} training rows, {steps:,} steps of 256 rows, {num_test:,} test "
        "rows and samples. ± is one standard error over the test rows; differences are paired. A sample lies between "
        "the clusters if the truth gives it less density than it gives 99.9 % of its own rows. All but the single "
        "flow start from k-means.",
    )

    prior, reading, noise = models["single flow"], 0.7, 1.0
    num_chains, num_steps = (16, 20) if small else (200, 500)
    axis = np.linspace(-3, 3, 100 if small else 400, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    draws, accepted = posterior_by_hmc(prior, reading, noise, num_chains, num_steps, jit_compile=not small)
    points, chain_means = draws.reshape(-1, 2), draws[..., 1].mean(axis=0)
    error = chain_means.std(ddof=1) / np.sqrt(num_chains)
    before = prior.prob(grid).numpy()
    recipe.write_table(
        out / "joint.md",
        ["latent point", "mean of y", "sd of y", *(f"P(cluster {k + 1})" for k in range(NUM_CLUSTERS))],
        [
            ["prior (quadrature)", *summarise(grid, before / before.sum())],
            ["posterior, quadrature", *summarise(grid, posterior_by_quadrature(prior, reading, noise, grid))],
            ["posterior, HMC", *summarise(points, np.full(len(points), 1 / len(points)))],
        ],
        caption=f"A point (x, y) from the single flow, of which x + N(0, {noise}) is read as {reading}. HMC in the "
        f"space of the flow's noise: {num_chains} chains of {num_steps} draws after {num_steps // 2} discarded, "
        f"{accepted:.0%} accepted; standard error of its mean {error:.3f}.".replace("%", " %"),
    )
    draw(models, points, reading, axis, out / "joint_and_mixtures.png")


def draw(
    models: dict[str, tfd.Distribution], posterior: np.ndarray, reading: float, axis: np.ndarray, path: pathlib.Path
) -> None:
    """Draws the log-densities, in which threads between clusters show, and the posterior."""
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    log_densities = {"truth": log_density_of_bananas(grid)}
    log_densities |= {name: model.log_prob(grid).numpy() for name, model in models.items()}
    extent = [axis[0], axis[-1], axis[0], axis[-1]]
    options = {"origin": "lower", "extent": extent, "cmap": "magma", "vmin": -8.0, "vmax": 1.0}

    figure, axes = plt.subplots(2, 3, figsize=(11.5, 7.6), sharex=True, sharey=True)
    for ax, (name, values) in zip(axes.flat, log_densities.items(), strict=False):
        image = ax.imshow(np.maximum(values, -8.0).reshape(len(axis), -1), **options)
        ax.set_title(name.replace(" of ", "\nof ") if len(name) > 34 else name)
    figure.colorbar(image, ax=axes, shrink=0.6, label="log-density (nats), cut off below")
    ax = axes[1, 2]
    prior = models["single flow"].sample(3_000, seed=(0, 4)).numpy()
    shown = np.random.default_rng(0).permutation(len(posterior))[:3_000]
    ax.scatter(*prior.T, s=3, linewidths=0, alpha=0.5, color=recipe.GREY, label="prior")
    ax.scatter(*posterior[shown].T, s=3, linewidths=0, alpha=0.7, color=recipe.RED, label="posterior, HMC")
    ax.axvline(reading, color=recipe.BLUE, linewidth=1, label="reading of x")
    ax.legend(loc="upper left", markerscale=4, handletextpad=0.3)
    ax.set(title="single flow as prior", aspect="equal", xlim=axis[[0, -1]], ylim=axis[[0, -1]])
    recipe.save_figure(figure, path)
    plt.close(figure)


if __name__ == "__main__":
    recipe.main(run)
