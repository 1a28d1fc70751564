"""Density estimation by hand: couplings and permutations in a TFP chain, trained by Keras.

The data are a pinwheel: three stretched Gaussians, turned about the origin by an angle that grows with
the radius. Such a turn preserves area, so the true density is known, and a flow can be told how many
nats it is short of it.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import recipe
import tensorflow as tf
import tf_keras
from scipy import stats
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfp_realnvp as tfr

NUM_ARMS, TWIST = 3, 0.9  # radians of turn per unit of radius


def rotate(x: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Turns each row of `x`, `[n, 2]`, about the origin."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * x[:, 0] - sin * x[:, 1], sin * x[:, 0] + cos * x[:, 1]], axis=1)


def sample_pinwheel(num_rows: int, seed: int) -> np.ndarray:
    """Draws rows `[n, 2]`."""
    rng = np.random.default_rng(seed)
    arm = rng.normal([2.0, 0.0], [0.6, 0.15], size=[num_rows, 2])
    arm = rotate(arm, rng.integers(NUM_ARMS, size=num_rows) * 2 * np.pi / NUM_ARMS)
    return rotate(arm, TWIST * np.linalg.norm(arm, axis=1)).astype(np.float32)


def log_density_of_pinwheel(x: np.ndarray) -> np.ndarray:
    """The true log-density of rows, `[n]`, in nats."""
    x = rotate(x, -TWIST * np.linalg.norm(x, axis=1))
    arms = [rotate(x, np.full(len(x), -k * 2 * np.pi / NUM_ARMS)) for k in range(NUM_ARMS)]
    densities = [stats.norm.pdf(arm, [2.0, 0.0], [0.6, 0.15]).prod(axis=1) for arm in arms]
    return np.log(np.mean(densities, axis=0))


def build_flow(num_couplings: int) -> tfd.Distribution:
    """A RealNVP from TFP's own parts; only the couplings are ours."""
    layers = []
    for k in range(num_couplings):
        conditioner = tfr.mlp(num_kept=1, num_moved=1, hidden_units=[64, 64], seed=k)
        layers += [tfr.AffineCoupling(tfr.half_mask(2), conditioner), tfb.Permute([1, 0])]
    return tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(2)), tfb.Chain(layers, name="chain"))


def run(small: bool, out: pathlib.Path) -> None:
    """Trains the flow and compares it with a Gaussian, a kernel estimate and the truth."""
    num_train, num_test, epochs, batch_size = (1_000, 2_000, 3, 250) if small else (10_000, 20_000, 125, 250)
    train, test = sample_pinwheel(num_train, seed=1), sample_pinwheel(num_test, seed=2)

    # Any Keras optimizer, schedule, callback and data pipeline will do.
    flow = build_flow(num_couplings=4 if small else 8)
    rows = tf.data.Dataset.from_tensor_slices(train)
    batches = rows.shuffle(num_train, seed=0).batch(batch_size, drop_remainder=True).prefetch(2)
    rate = tf_keras.optimizers.schedules.CosineDecay(3e-3, decay_steps=epochs * (num_train // batch_size))
    model = tfr.LikelihoodModel(flow)
    model.compile(tf_keras.optimizers.Adam(rate, beta_2=0.99, global_clipnorm=1.0), jit_compile=not small)
    model.fit(batches, epochs=epochs, verbose=0)

    gaussian = stats.multivariate_normal(train.mean(axis=0), np.cov(train.T))
    bandwidths = {"bandwidth": np.geomspace(0.03, 0.2, 2 if small else 8)}
    kernels = GridSearchCV(KernelDensity(), bandwidths, cv=5).fit(train).best_estimator_

    truth = log_density_of_pinwheel(test)
    models = {
        "the true density": truth,
        "RealNVP": flow.log_prob(test).numpy(),
        f"kernel estimate, bandwidth {kernels.bandwidth:.3f} (cross-validated)": kernels.score_samples(test),
        "Gaussian, full covariance": gaussian.logpdf(test),
    }
    recipe.write_table(
        out / "density_estimation.md",
        ["density", "test log-likelihood (nats a row)", "short of the truth"],
        [
            [name, recipe.mean_and_error(values), "" if values is truth else recipe.mean_and_error(truth - values)]
            for name, values in models.items()
        ],
        caption=f"A pinwheel of {NUM_ARMS} arms: {num_train:,} training rows, {num_test:,} test rows. ± is one "
        "standard error over the test rows; differences are paired.",
    )
    draw(flow, train, out / "density_estimation.png")


def draw(flow: tfd.Distribution, train: np.ndarray, path: pathlib.Path) -> None:
    """Draws data and samples, the true density and the flow's."""
    limit, size = 4.5, 300
    axis = np.linspace(-limit, limit, size, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    samples = flow.sample(len(train), seed=(0, 1)).numpy()
    true_density, flow_density = np.exp(log_density_of_pinwheel(grid)), flow.prob(grid).numpy()

    figure, axes = plt.subplots(1, 4, figsize=(14, 3.9), sharex=True, sharey=True)
    shown = min(len(train), 5_000)
    for ax, rows, title, colour in [
        (axes[0], train, f"data: {shown:,} rows", recipe.BLUE),
        (axes[1], samples, f"flow: {shown:,} samples", recipe.RED),
    ]:
        ax.scatter(*rows[:shown].T, s=2, alpha=0.5, linewidths=0, color=colour)
        ax.set_title(title)
    for ax, density, title in [(axes[2], true_density, "true density"), (axes[3], flow_density, "the flow's density")]:
        ax.imshow(
            density.reshape(size, size),
            origin="lower",
            extent=[-limit, limit, -limit, limit],
            cmap="magma",
            vmin=0,
            vmax=true_density.max(),
        )
        ax.set_title(title)
    for ax in axes:
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[-4, 0, 4], yticks=[-4, 0, 4])
    recipe.save_figure(figure, path)
    plt.close(figure)


if __name__ == "__main__":
    recipe.main(run)
