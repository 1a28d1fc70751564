"""Conditional flows: p(x | class) as a classifier, and p(y | features) with its calibration.

A flow of 16 principal components of handwritten digits, given the digit, classifies by Bayes' rule and
draws new digits of a class. A flow of one number, given features, is a regression that predicts a whole
distribution: its probability-integral transform, the predicted probability of a value below the one that came,
is uniform if the predictions are calibrated.
"""

import dataclasses
import functools
import pathlib

import matplotlib.pyplot as plt
import numpy as np
import recipe
import tensorflow as tf
from scipy import stats
from sklearn.datasets import load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, train_test_split
from sklearn.naive_bayes import GaussianNB
from tensorflow_probability import distributions as tfd

import tfp_realnvp as tfr

NUM_CLASSES, NUM_COMPONENTS = 10, 16
QUANTILES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


def log_prob_by_class(flow: tfd.Distribution, x: np.ndarray) -> np.ndarray:
    """The log-density of every row given every class, `[n, NUM_CLASSES]`."""
    given_each = flow.given(np.arange(NUM_CLASSES))  # batch shape [NUM_CLASSES]
    return given_each.log_prob(x[:, np.newaxis, :]).numpy()


def classify(small: bool, out: pathlib.Path) -> None:
    """p(x | class) of digits: the flow as a classifier beside Gaussian ones, and as a source of digits."""
    images, labels = load_digits(return_X_y=True)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.4, stratify=labels, random_state=0
    )
    pca = PCA(NUM_COMPONENTS, random_state=0).fit(train_images)
    scale = np.sqrt(pca.explained_variance_.mean())  # one for all, so that distances stay as they are
    train, test = (pca.transform(rows).astype(np.float32) / scale for rows in (train_images, test_images))

    flow = tfr.real_nvp(
        NUM_COMPONENTS,
        num_couplings=4 if small else 8,
        conditioner=functools.partial(tfr.residual_mlp, width=128, num_blocks=1, dropout=0.4),
        context=tfr.ClassContext(NUM_CLASSES, seed=0),
        seed=0,
    )
    tfr.fit(
        flow,
        train,
        context=train_labels,
        epochs=2 if small else 200,
        batch_size=128,
        patience=40,
        seed=0,
        verbose=0,
    )

    # Log-densities given each class; the priors are those of the training rows.
    qda = QuadraticDiscriminantAnalysis(store_covariance=True).fit(train, train_labels)
    bayes = GaussianNB().fit(train, train_labels)
    gaussians = [stats.multivariate_normal(qda.means_[k], qda.covariance_[k]) for k in range(NUM_CLASSES)]
    log_probs = {
        "conditional RealNVP": log_prob_by_class(flow, test),
        "Gaussians, full covariance (QDA)": np.stack([gaussian.logpdf(test) for gaussian in gaussians], axis=1),
        "Gaussians, diagonal covariance (naive Bayes)": stats.norm.logpdf(
            test[:, np.newaxis, :], bayes.theta_, np.sqrt(bayes.var_)
        ).sum(axis=-1),
    }
    log_prior = np.log(np.bincount(train_labels) / len(train_labels))
    rows = []
    for name, log_prob in log_probs.items():
        is_right = 100 * ((log_prob + log_prior).argmax(axis=1) == test_labels)
        of_own_class = log_prob[np.arange(len(test)), test_labels]
        rows.append([name, recipe.mean_and_error(of_own_class, 2), recipe.mean_and_error(is_right, 1)])
    recipe.write_table(
        out / "class_conditional.md",
        ["p(x | class)", "test log-likelihood (nats a row)", "accuracy by Bayes' rule (%)"],
        rows,
        caption=f"{NUM_COMPONENTS} principal components of scikit-learn's digits, {len(train):,} training and "
        f"{len(test):,} test rows. ± is one standard error over the test rows.",
    )

    per_class = 12
    samples = flow.given(np.arange(NUM_CLASSES)).sample(per_class, seed=(0, 1)).numpy()
    drawn = pca.inverse_transform(samples.reshape(-1, NUM_COMPONENTS) * scale).reshape(per_class, NUM_CLASSES, 8, 8)
    real = pca.inverse_transform(pca.transform(train_images)).reshape(-1, 8, 8)
    real = np.stack([real[train_labels == k][:per_class] for k in range(NUM_CLASSES)], axis=1)
    figure, axes = plt.subplots(1, 2, figsize=(10, 6.2))
    for ax, digits, title in [(axes[0], real, "data"), (axes[1], drawn, "samples given the class")]:
        ax.imshow(np.pad(digits, [(0, 0), (0, 0), (1, 1), (1, 1)]).transpose(0, 2, 1, 3).reshape(per_class * 10, -1))
        ax.images[0].set(cmap="gray_r", clim=(0, 16))
        ax.set_title(f"{title} ({NUM_COMPONENTS} components)")
        ax.set_axis_off()
    recipe.save_figure(figure, out / "class_conditional.png")
    plt.close(figure)


@dataclasses.dataclass
class Prediction:
    """What a model says of test rows: their log-densities, the probability of less, and quantiles `[n, 5]`."""

    log_prob: np.ndarray
    pit: np.ndarray
    quantiles: np.ndarray


def predict_with_flow(
    features: np.ndarray,
    y: np.ndarray,
    test_features: np.ndarray,
    test_y: np.ndarray,
    *,
    width: int,
    dropout: float,
    epochs: int,
    learning_rate: float,
    small: bool,
) -> Prediction:
    """p(y | features) by a flow of one entry: monotone splines, whose parameters depend on the features."""
    mean, scale = y.mean(), y.std()
    flow = tfr.real_nvp(
        1,
        num_couplings=2,
        transform=tfr.transforms.RationalQuadraticSpline(),
        conditioner=functools.partial(tfr.residual_mlp, width=width, num_blocks=1, dropout=dropout),
        context=tfr.FeatureContext.of(features),
        seed=0,
    )
    tfr.fit(
        flow,
        ((y - mean) / scale)[:, np.newaxis],
        context=features,
        epochs=2 if small else epochs,
        batch_size=64 if len(y) < 1_000 else 256,
        learning_rate=learning_rate,
        validation_split=0.2,
        seed=0,
        verbose=0,
    )
    predicted = flow.given(test_features)  # batch shape [n]: one distribution of y for each row
    value = ((test_y - mean) / scale)[:, np.newaxis].astype(np.float32)
    # Every coupling is increasing in y, so probabilities below a value are those of the noise.
    noise = stats.norm.ppf(QUANTILES).astype(np.float32)[:, np.newaxis, np.newaxis]
    noise = tf.broadcast_to(noise, [len(QUANTILES), len(test_y), 1])
    return Prediction(
        predicted.log_prob(value).numpy() - np.log(scale),
        stats.norm.cdf(predicted.bijector.inverse(value).numpy()[:, 0].astype(np.float64)),
        predicted.bijector.forward(noise).numpy()[..., 0].T * scale + mean,
    )


def predict_with_line(features: np.ndarray, y: np.ndarray, test_features: np.ndarray, test_y: np.ndarray) -> Prediction:
    """A linear mean and one Gaussian for the residuals."""
    line = LinearRegression().fit(features, y)
    spread = np.sqrt(np.sum((y - line.predict(features)) ** 2) / (len(y) - features.shape[1] - 1))
    gaussian = stats.norm(line.predict(test_features), spread)
    quantiles = np.stack([gaussian.ppf(q) for q in QUANTILES], axis=1)
    return Prediction(gaussian.logpdf(test_y), gaussian.cdf(test_y), quantiles)


def conditional_truth(x: np.ndarray) -> stats.rv_continuous:
    """The simulated y given x, `[n]`: a Gumbel distribution, skewed, whose mean is x and whose spread grows."""
    scale = 0.15 + 0.25 * (x + 2) / 2
    return stats.gumbel_r(x - np.euler_gamma * scale, scale)


def simulate(num_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws features, `[n, 1]`, and y, `[n]`."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, size=num_rows)
    return x[:, np.newaxis], conditional_truth(x).rvs(random_state=rng)


def report(data: str, model: str, prediction: Prediction) -> list[str]:
    """A row of the table."""
    ks = stats.kstest(prediction.pit, "uniform")
    distance = 2 * np.abs(prediction.pit - 0.5)
    coverage = [f"{100 * (distance < level).mean():.1f}" for level in (0.5, 0.9)]
    p_value = f"{ks.pvalue:.2f}" if ks.pvalue >= 0.01 else f"{ks.pvalue:.0e}"
    return [f"{data}: {model}", recipe.mean_and_error(prediction.log_prob), f"{ks.statistic:.3f}", p_value, *coverage]


def regress(small: bool, out: pathlib.Path) -> None:
    """p(y | features): calibration on simulated data, whose truth is known, and on the diabetes data."""
    num_train, num_test = (500, 1_000) if small else (5_000, 5_000)
    (x, y), (test_x, test_y) = simulate(num_train, seed=1), simulate(num_test, seed=2)
    truth = conditional_truth(test_x[:, 0])
    true_quantiles = np.stack([truth.ppf(q) for q in QUANTILES], axis=1)
    simulated = {
        "truth": Prediction(truth.logpdf(test_y), truth.cdf(test_y), true_quantiles),
        "flow": predict_with_flow(
            x, y, test_x, test_y, width=32, dropout=0.0, epochs=100, learning_rate=2e-3, small=small
        ),
        "linear-Gaussian": predict_with_line(x, y, test_x, test_y),
    }

    features, progression = load_diabetes(return_X_y=True)
    folds = list(KFold(2 if small else 5, shuffle=True, random_state=0).split(features))
    order = np.concatenate([held_out for _, held_out in folds])
    diabetes = {}
    # Few rows: dropout and a short, slow schedule, chosen on other folds than these.
    settings = {"width": 16, "dropout": 0.4, "epochs": 40, "learning_rate": 1e-3}
    for name, predict in {
        "flow": functools.partial(predict_with_flow, **settings, small=small),
        "linear-Gaussian": predict_with_line,
    }.items():
        parts = [predict(features[a], progression[a], features[b], progression[b]) for a, b in folds]
        fields = [field.name for field in dataclasses.fields(Prediction)]
        diabetes[name] = Prediction(*(np.concatenate([getattr(part, field) for part in parts]) for field in fields))

    recipe.write_table(
        out / "calibration.md",
        [
            "p(y given features)",
            "test log-likelihood (nats a row)",
            "KS of PIT",
            "p-value",
            "in 50 % (%)",
            "in 90 % (%)",
        ],
        [
            *(report("simulated", model, prediction) for model, prediction in simulated.items()),
            *(report("diabetes", model, prediction) for model, prediction in diabetes.items()),
        ],
        caption=f"Simulated: {num_train:,} training and {num_test:,} test rows. Diabetes: {len(progression)} rows, "
        f"each predicted once in {len(folds)}-fold cross-validation. KS is the distance of the probability-integral "
        "transform from uniform; the last columns are the shares of rows inside central intervals. ± is one standard "
        "error.",
    )

    figure, axes = plt.subplots(2, 3, figsize=(12, 7), width_ratios=[1.4, 1, 1])
    by_x, by_median = np.argsort(test_x[:, 0]), np.argsort(diabetes["flow"].quantiles[:, 2])
    draw_bands(axes[0, 0], test_x[by_x, 0], test_y[by_x], simulated["flow"].quantiles[by_x])
    axes[0, 0].plot(test_x[by_x, 0], true_quantiles[by_x], color="black", linewidth=0.8, linestyle="--")
    axes[0, 0].plot([], [], color="black", linewidth=0.8, linestyle="--", label="true quantiles")
    axes[0, 0].set(title="simulated: the flow's quantiles", xlabel="feature", ylabel="y", ylim=(-3, 7))
    axes[0, 0].legend(loc="upper left")
    draw_bands(
        axes[1, 0],
        np.arange(len(order)),
        progression[order][by_median],
        diabetes["flow"].quantiles[by_median],
    )
    axes[1, 0].set(title="diabetes: the flow's quantiles", xlabel="rows, by predicted median", ylabel="progression")
    for row, (data, predictions) in enumerate([("simulated", simulated), ("diabetes", diabetes)]):
        for ax, model, colour in zip(
            axes[row, 1:], ["flow", "linear-Gaussian"], [recipe.RED, recipe.GREY], strict=True
        ):
            draw_pit(ax, predictions[model].pit, colour)
            ax.set_title(f"{data}: {model}")
    recipe.save_figure(figure, out / "calibration.png")
    plt.close(figure)


def draw_bands(ax: plt.Axes, x: np.ndarray, y: np.ndarray, quantiles: np.ndarray) -> None:
    """Draws points over the central 90 % and 50 % and the median."""
    ax.fill_between(x, quantiles[:, 0], quantiles[:, 4], color=recipe.RED, alpha=0.18, linewidth=0, label="90 %")
    ax.fill_between(x, quantiles[:, 1], quantiles[:, 3], color=recipe.RED, alpha=0.35, linewidth=0, label="50 %")
    ax.plot(x, quantiles[:, 2], color=recipe.RED, linewidth=1.2, label="median")
    shown = np.linspace(0, len(x) - 1, min(len(x), 700)).astype(int)
    ax.scatter(x[shown], y[shown], s=5, color=recipe.BLUE, linewidths=0, alpha=0.7)


def draw_pit(ax: plt.Axes, pit: np.ndarray, colour: str, num_bins: int = 15) -> None:
    """Draws the histogram of a probability-integral transform, and where 95 % of uniform ones would lie."""
    low, high = stats.binom.ppf([0.025, 0.975], len(pit), 1 / num_bins) * num_bins / len(pit)
    ax.axhspan(low, high, color="black", alpha=0.12, linewidth=0)
    ax.hist(pit, bins=num_bins, range=(0, 1), density=True, color=colour, alpha=0.75, edgecolor="white")
    ax.set(xlabel="probability-integral transform", xlim=(0, 1), ylim=(0, 2))


def run(small: bool, out: pathlib.Path) -> None:
    """Runs both parts."""
    classify(small, out)
    regress(small, out)


if __name__ == "__main__":
    recipe.main(run)
