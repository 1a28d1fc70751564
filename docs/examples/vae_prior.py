"""A variational autoencoder whose prior is a flow.

The codes that an encoder gives to real pictures are no standard Gaussian: they leave holes, and a decoder fed from
there draws what nobody wrote. With a RealNVP as the prior, trained together with the rest, the prior follows the
codes. A `Flow` is a distribution like any other: the model below does not know which prior it has, and Keras finds the
variables of both. The pictures are scikit-learn's 8x8 digits, whose pixels are counts from 0 to 16.

References: Xi Chen et al. Variational lossy autoencoder. ICLR 2017, section 3.2. https://arxiv.org/abs/1611.02731
"""

import math
import pathlib
import time

import matplotlib.pyplot as plt
import numpy as np
import recipe
import tensorflow as tf
import tf_keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tensorflow_probability import distributions as tfd

import tfp_realnvp as tfr

NUM_PIXELS, MAX_COUNT, CODE_SIZE = 64, 16, 8


class VariationalAutoencoder(tf_keras.Model):
    """Returns the evidence lower bound (ELBO) of each picture, `[n, 64]`, in nats, estimated with one code each."""

    def __init__(self, prior: tfd.Distribution, num_units: int) -> None:
        super().__init__()
        self.prior = prior
        self.encoder = tf_keras.Sequential(
            [
                tf_keras.layers.Rescaling(2 / MAX_COUNT, offset=-1),
                tf_keras.layers.Dense(num_units, "relu"),
                tf_keras.layers.Dropout(0.2),
                tf_keras.layers.Dense(2 * CODE_SIZE),
            ]
        )
        self.decoder = tf_keras.Sequential(
            [
                tf_keras.layers.Dense(num_units, "relu"),
                tf_keras.layers.Dropout(0.2),
                tf_keras.layers.Dense(NUM_PIXELS),
            ]
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the bound, `[n]`."""
        mean, scale = tf.split(self.encoder(x), 2, axis=-1)
        posterior = tfd.MultivariateNormalDiag(mean, tf.nn.softplus(scale))
        code = posterior.sample()
        likelihood = tfd.Independent(tfd.Binomial(MAX_COUNT, logits=self.decoder(code)), 1)
        return likelihood.log_prob(x) + self.prior.log_prob(code) - posterior.log_prob(code)

    def mean_pictures(self, num_samples: int) -> np.ndarray:
        """Returns the pixels' means given codes from the prior, `[num_samples, 64]`."""
        code = self.prior.sample(num_samples, seed=(0, 1))
        return MAX_COUNT * tf.sigmoid(self.decoder(code)).numpy()


def make_prior(name: str, seed: int, units: int) -> tfd.Distribution:
    """Returns the prior over codes."""
    if name == "Gaussian":
        return tfd.MultivariateNormalDiag(tf.zeros(CODE_SIZE))
    return tfr.real_nvp(CODE_SIZE, num_couplings=4, hidden_units=[units, units], seed=seed)


def train(prior: tfd.Distribution, x: np.ndarray, *, seed: int, num_units: int, epochs: int) -> VariationalAutoencoder:
    """Returns an autoencoder fitted to `x`."""
    tf_keras.utils.set_random_seed(seed)
    model = VariationalAutoencoder(prior, num_units)
    batch_size = 128
    steps_per_epoch = math.ceil(len(x) / batch_size)
    rate = tf_keras.optimizers.schedules.CosineDecay(3e-3, epochs * steps_per_epoch)
    optimizer = tf_keras.optimizers.Adam(rate, global_clipnorm=100.0)
    model.compile(optimizer, loss=lambda _, elbo: -elbo, steps_per_execution=steps_per_epoch)
    model.fit(x, x, batch_size=batch_size, epochs=epochs, verbose=0)
    return model


def bounds(model: VariationalAutoencoder, x: np.ndarray, num_draws: int) -> np.ndarray:
    """Returns the ELBO of each picture, the mean over draws of its code."""
    return np.mean([model(x, training=False).numpy() for _ in range(num_draws)], axis=0)


def plot(panels: dict[str, np.ndarray], path: pathlib.Path) -> None:
    """Draws eight rows of eight pictures a panel."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 4.3))
    for axis, (title, images) in zip(axes, panels.items(), strict=True):
        # Each picture gets a margin of one pixel, and they are laid out as one.
        tiles = np.pad(images[:64].reshape(64, 8, 8), [(0, 0), (1, 1), (1, 1)]).reshape(8, 8, 10, 10)
        axis.imshow(tiles.transpose(0, 2, 1, 3).reshape(80, 80), cmap="gray_r", vmin=0, vmax=MAX_COUNT)
        axis.set(title=title, xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    recipe.save_figure(figure, path)


def run(small: bool, out: pathlib.Path) -> None:
    """Writes `vae_prior.md` and `vae_prior.png`."""
    epochs, num_seeds, num_draws, units = (1, 1, 2, 8) if small else (300, 3, 50, 32)
    train_rows, test_rows = train_test_split(load_digits().data.astype(np.float32), test_size=360, random_state=0)
    panels, results, seconds = {"real": test_rows}, {}, {}
    for name in ("Gaussian", "RealNVP"):
        start = time.process_time()
        results[name] = []
        for seed in range(num_seeds):
            prior = make_prior(name, seed, units)
            model = train(prior, train_rows, seed=seed, num_units=4 * units, epochs=epochs)
            results[name].append(bounds(model, test_rows, num_draws))
        panels[f"from the {name} prior"] = model.mean_pictures(64)
        seconds[name] = (time.process_time() - start) / num_seeds
    rows = []
    for seed, (gaussian, flow) in enumerate(zip(results["Gaussian"], results["RealNVP"], strict=True)):
        cells = [recipe.mean_and_error(values, 2) for values in (gaussian, flow, flow - gaussian)]
        rows.append([f"seed {seed}", *cells])
    recipe.write_table(
        out / "vae_prior.md",
        ["", "Gaussian prior", "RealNVP prior", "difference"],
        rows,
        f"ELBO in nats a picture, of {len(test_rows)} test pictures: mean ± standard error over them, each "
        f"with {num_draws} draws of its code. A run took {seconds['Gaussian']:.0f} and "
        f"{seconds['RealNVP']:.0f} s of processor time.",
    )
    plot(panels, out / "vae_prior.png")


if __name__ == "__main__":
    recipe.main(run)
