"""Do the rows help: models trained on them, on real rows, and on both, judged on real rows they have not seen."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np

from pipelines.errors import UsageError
from pipelines.evaluation.alike import LEAST_ROWS, Alike, Rows
from pipelines.evaluation.boosting import classifier, regressor, trainable
from pipelines.evaluation.measures import Figure, macro_roc_auc, root_mean_squared_error, standard_error

__all__ = ["Utility", "check_target", "measure_utility"]

_REPEATS = 3
_MAX_ROWS = 30_000  # of each table that is trained on
_NEIGHBOURS = 5
_TO_STOP_BY = 0.1  # of the rows, scikit-learn's default
_FEW_ITERATIONS = 20  # where none are left to stop by: each grows a tree a class


@dataclasses.dataclass(frozen=True)
class Utility:
    """What a target is predicted by, after training on several tables.

    Attributes:
        metric: "roc_auc", the higher the better (over more than two classes the mean of each against the rest), or
            "rmse", the lower the better, in the units of the target.
        trained_on: Figures by what was trained on: `trtr` real rows, `tstr` synthetic ones, `augmented` both, `smote`
            real rows and as many new ones by SMOTE, `bootstrap` real rows and as many of them once more. The floor is
            the value of `trtr`. Without `smote` where it does not apply.
        gains: By how much `augmented`, `smote` and `bootstrap` are better than `trtr`; above 0 is better.
        why_no_smote: Why `smote` is not there, or None.
    """

    metric: str
    trained_on: dict[str, Figure]
    gains: dict[str, Figure]
    why_no_smote: str | None


def check_target(tables: Alike, target: str) -> None:
    """Raises `UsageError` if `target` is not among the columns that are compared."""
    if target in tables.left_out:
        raise UsageError(f"--target {target}: the column is not compared ({tables.left_out[target]}).")
    if target not in tables.columns:
        raise UsageError(f"--target {target}: there is no such column; there are {', '.join(tables.columns)}.")


def measure_utility(tables: Alike, target: str, seed: int) -> Utility:
    """Trains gradient-boosted trees on real rows, synthetic rows and both, and predicts the held-out rows.

    Each training is repeated with other rows to stop early by. The errors count the number of held-out rows and the
    spread of the repeats; those of the gains are paired: the same held-out rows judge both.

    Args:
        tables: The tables, with held-out rows.
        target: The column to predict, one of those that are compared.
        seed: Of what is drawn at random.

    Raises:
        UsageError: If there is nothing to predict it from, or too few rows have a value of it.
    """
    if len(tables.columns) < 2:
        raise UsageError(f"--target {target}: there is no other column to predict it from.")
    rng = np.random.default_rng(seed)
    task = _Task(tables, target)
    for rows, name in ((tables.real, tables.names[0]), (tables.synthetic, tables.names[1])):
        if len(task.split(rows)[1]) < LEAST_ROWS:
            raise UsageError(f"--target {target}: {name} has fewer than {LEAST_ROWS} rows with a value of it.")
    real, synthetic = (part.sample(rng, _MAX_ROWS) for part in (tables.real, tables.synthetic))
    tables_to_try = {
        "trtr": real,
        "tstr": synthetic,
        "augmented": real.joined(synthetic),
        "bootstrap": real.joined(real.take(rng.integers(len(real), size=len(synthetic)))),
    }
    smote, why_no_smote = _smote(real, task, len(synthetic), seed)
    if smote is not None:
        tables_to_try["smote"] = real.joined(smote)
    values, influences, errors = {}, {}, {}
    for name, rows in tables_to_try.items():
        found = [task.judge(rows, repeat) for repeat in range(_REPEATS)]
        repeats = np.array([value for value, _ in found])
        values[name] = repeats
        influences[name] = np.mean([influence for _, influence in found], axis=0)
        errors[name] = float(np.hypot(standard_error(influences[name]), repeats.std(ddof=1) / np.sqrt(_REPEATS)))
    floor = float(values["trtr"].mean())
    sign = 1 if task.metric == "roc_auc" else -1
    gains = {}
    for name in ("augmented", "smote", "bootstrap"):
        if name in values:
            paired = standard_error(influences[name] - influences["trtr"])
            spread = np.hypot(values[name].std(ddof=1), values["trtr"].std(ddof=1)) / np.sqrt(_REPEATS)
            gains[name] = Figure(sign * float(values[name].mean() - floor), 0.0, float(np.hypot(paired, spread)))
    figures = {name: Figure(float(values[name].mean()), floor, errors[name]) for name in values}
    return Utility(task.metric, figures, gains, why_no_smote)


class _Task:
    """Predicting one column from the others."""

    def __init__(self, tables: Alike, target: str) -> None:
        assert tables.held_out is not None
        self._tables = tables
        self.is_class = target in tables.categorical
        self.column = (tables.categorical if self.is_class else tables.numeric).index(target)
        self.metric = "roc_auc" if self.is_class else "rmse"
        self._name = target
        self._features, self._target = self.split(tables.held_out)
        if not len(self._target) or (self.is_class and len(np.unique(self._target)) < 2):
            raise UsageError(f"--target {target}: the held-out rows hold no two different values of it.")

    def split(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Features `[m, F]` and the target `[m]` of the rows that have one that the real table has, too."""
        target = (rows.classes if self.is_class else rows.numbers)[:, self.column]
        if self.is_class:
            has_target = (target > 0) & (target <= len(self._tables.levels[self.column]))
        else:
            has_target = ~np.isnan(target)
        return self._tables.features(rows, without=self._name)[has_target], target[has_target].astype(np.float64)

    def judge(self, rows: Rows, seed: int) -> tuple[float, np.ndarray]:
        """The measure of a model of these rows on the held-out ones, and its influence function."""
        features, target = self.split(rows)
        if not self.is_class:
            predicted = regressor(seed).fit(trainable(features), target).predict(self._features)
            return root_mean_squared_error(self._target, predicted)
        seen = np.unique(target)
        probabilities = np.zeros((len(self._target), int(max(self._target.max(), target.max())) + 1))
        if len(seen) > 1:
            counts = np.unique(target, return_counts=True)[1]
            model = classifier(seed)
            if counts.min() < 2 or len(counts) > _TO_STOP_BY * len(target):  # rows to stop early by would lack some
                model.set_params(early_stopping=False, max_iter=_FEW_ITERATIONS)
            probabilities[:, seen.astype(int)] = model.fit(trainable(features), target).predict_proba(self._features)
        return macro_roc_auc(self._target.astype(int), probabilities)


def _smote(real: Rows, task: _Task, rows: int, seed: int) -> tuple[Rows | None, str | None]:
    """New rows of each class by SMOTE, as frequent as in the real ones; or None, and why.

    A number that is missing is the column's median.
    """
    if not task.is_class:
        return None, "the target is a number"
    classes = real.classes[:, task.column]
    values, counts = np.unique(classes[classes > 0], return_counts=True)
    if counts.min() < 2:
        return None, "a class of the target has one row only"
    if len(values) < 2:
        return None, "the target has one class only"
    from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC

    others = np.delete(real.classes, task.column, axis=1)
    median = np.nan_to_num(np.nanmedian(real.numbers, axis=0)) if real.numbers.shape[1] else np.zeros(0)
    numbers = np.where(np.isnan(real.numbers), median, real.numbers)
    has_target = classes > 0
    features = np.hstack([numbers, others])[has_target]
    wanted = np.floor(counts * rows / counts.sum()).astype(int)
    options: dict[str, Any] = {
        "sampling_strategy": dict(zip(values, counts + wanted, strict=True)),
        "k_neighbors": min(_NEIGHBOURS, int(counts.min()) - 1),
        "random_state": int(np.random.default_rng(seed).integers(2**31)),
    }
    first = numbers.shape[1]
    if not others.shape[1]:
        method = SMOTE(**options)
    elif not first:
        method = SMOTEN(**options)
    else:
        method = SMOTENC(categorical_features=list(range(first, features.shape[1])), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made, target = method.fit_resample(features, classes[has_target])
    made, target = made[len(features) :], target[len(features) :]
    new = np.insert(made[:, first:].astype(np.int32), task.column, target, axis=1)
    return Rows(made[:, :first].astype(float), new), None
