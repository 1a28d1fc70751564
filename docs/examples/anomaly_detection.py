"""Anomaly scores by likelihood: a flow that has seen only benign tumours is asked about malignant ones.

The score of a row is its negative log-density. Thirty correlated features and 250 rows are little for a
flow, so it is kept small: four couplings, one residual block each, dropout, and a short schedule. These settings
were chosen on other splits than those reported.
"""

import functools
import pathlib

import matplotlib.pyplot as plt
import numpy as np
import recipe
from sklearn.covariance import EmpiricalCovariance
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.preprocessing import StandardScaler

import tfp_realnvp as tfr

NUM_TRAIN = 250  # of 357 benign rows; the others, and all 212 malignant ones, are for the test


def flow_scores(train: np.ndarray, test: np.ndarray, seed: int, small: bool) -> np.ndarray:
    """Negative log-density under a RealNVP of the training rows, in nats."""
    flow = tfr.real_nvp(
        train.shape[1],
        num_couplings=2 if small else 4,
        conditioner=functools.partial(tfr.residual_mlp, width=32, num_blocks=1, dropout=0.3),
        use_lu=True,
        seed=seed,
    )
    tfr.fit(
        flow,
        train,
        epochs=2 if small else 40,
        batch_size=64,
        validation_split=0,
        seed=seed,
        jit_compile=False,  # compiling would take longer than the few steps
        verbose=0,
    )
    return -flow.log_prob(test.astype(np.float32)).numpy()


def gaussian_scores(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Negative log-density under a Gaussian of full covariance, up to a constant: the squared Mahalanobis distance."""
    return EmpiricalCovariance().fit(train).mahalanobis(test)


def forest_scores(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """How quickly random cuts isolate a row."""
    return -IsolationForest(n_estimators=300, random_state=seed).fit(train).score_samples(test)


def run(small: bool, out: pathlib.Path) -> None:
    """Scores the test rows of several splits in three ways and compares the areas under the ROC curves."""
    features, is_benign = load_breast_cancer(return_X_y=True)
    benign, malignant = features[is_benign == 1], features[is_benign == 0]
    num_splits = 2 if small else 10

    scores: dict[str, list[np.ndarray]] = {}
    for seed in range(num_splits):
        order = np.random.default_rng(seed).permutation(len(benign))
        scaler = StandardScaler().fit(benign[order[:NUM_TRAIN]])
        train = scaler.transform(benign[order[:NUM_TRAIN]])
        test = scaler.transform(np.concatenate([benign[order[NUM_TRAIN:]], malignant]))
        scores.setdefault("RealNVP", []).append(flow_scores(train, test, seed, small))
        scores.setdefault("Gaussian, full covariance", []).append(gaussian_scores(train, test))
        scores.setdefault("IsolationForest, 300 trees", []).append(forest_scores(train, test, seed))
    is_anomaly = np.repeat([False, True], [len(benign) - NUM_TRAIN, len(malignant)])
    areas = {name: np.array([roc_auc_score(is_anomaly, s) for s in split]) for name, split in scores.items()}
    found = {name: np.array([recall_at(is_anomaly, s, 0.05) for s in split]) for name, split in scores.items()}

    rows = []
    for name, area in areas.items():
        gain = areas["RealNVP"] - area
        wins = "" if name == "RealNVP" else f"{gain.mean():+.4f} ± {gain.std(ddof=1):.4f}"
        recall = 100 * found[name]
        rows.append(
            [
                name,
                f"{area.mean():.4f} ± {area.std(ddof=1):.4f}",
                wins,
                f"{recall.mean():.1f} ± {recall.std(ddof=1):.1f}",
            ]
        )
    recipe.write_table(
        out / "anomaly_detection.md",
        ["score", "ROC AUC", "the flow's lead", "found at 5 % false alarms (%)"],
        rows,
        caption=f"Breast-cancer data, {features.shape[1]} features: trained on {NUM_TRAIN} benign rows, tested on "
        f"{len(benign) - NUM_TRAIN} benign and {len(malignant)} malignant ones. Mean ± standard deviation over "
        f"{num_splits} random splits, which share the malignant rows; leads are paired by split.",
    )
    draw(is_anomaly, scores, areas, out / "anomaly_detection.png")


def recall_at(is_anomaly: np.ndarray, scores: np.ndarray, false_alarms: float) -> float:
    """The share of anomalies above the threshold that gives this share of false alarms."""
    return float((scores[is_anomaly] > np.quantile(scores[~is_anomaly], 1 - false_alarms)).mean())


def draw(
    is_anomaly: np.ndarray, scores: dict[str, list[np.ndarray]], areas: dict[str, np.ndarray], path: pathlib.Path
) -> None:
    """Draws the flow's scores in the first split and the mean ROC curves."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), width_ratios=[1.3, 1])
    first = scores["RealNVP"][0] - scores["RealNVP"][0].min() + 1  # for the logarithmic axis
    bins = np.geomspace(1, first.max(), 45)
    axes[0].hist(first[~is_anomaly], bins, color=recipe.BLUE, alpha=0.6, label="benign, held out")
    axes[0].hist(first[is_anomaly], bins, color=recipe.RED, alpha=0.6, label="malignant")
    axes[0].set(xscale="log", xlabel="negative log-density, nats above the least", ylabel="rows")
    axes[0].set_title("the flow's scores, first split")
    axes[0].legend(loc="upper right")

    false_alarms = np.linspace(0, 1, 400)
    for (name, split), colour in zip(scores.items(), [recipe.RED, recipe.BLUE, recipe.GREY], strict=True):
        curves = [np.interp(false_alarms, *roc_curve(is_anomaly, s)[:2]) for s in split]
        label = f"{name}: {areas[name].mean():.3f}"
        axes[1].plot(false_alarms, np.mean(curves, axis=0), color=colour, linewidth=1.8, label=label)
    axes[1].set(
        xlabel="share of benign rows flagged", ylabel="share of malignant rows found", xlim=(0, 0.4), ylim=(0.4, 1)
    )
    axes[1].set_title(f"mean ROC curves of {len(split)} splits, and areas")
    axes[1].legend(loc="lower right")
    recipe.save_figure(figure, path)
    plt.close(figure)


if __name__ == "__main__":
    recipe.main(run)
