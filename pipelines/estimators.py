"""Faces for scikit-learn: a density estimator, and an over-sampler for imbalanced-learn."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from imblearn.over_sampling.base import BaseOverSampler
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from pipelines.errors import AugmentError
from pipelines.matching import read_for
from pipelines.scoring import log_probs
from pipelines.storage.model_file import read_model
from pipelines.tables.files.pandas_types import as_dtype
from pipelines.verbs import fit as fitting
from pipelines.verbs import generate as generating

__all__ = ["RealNVPDensity", "RealNVPSampler"]


class RealNVPDensity(DensityMixin, BaseEstimator):
    """The density of a table, by a RealNVP flow.

    Arrays hold numbers. DataFrames may hold columns of any kind; what a column is, is found out unless `kinds` says so.
    A missing cell is a value of its own.

    Args:
        max_time: Seconds for training, or None.
        epochs: Passes over the rows. Default: as `pipelines.fit` has it, by the kinds of columns and the rows.
        steps: Optimizer steps, instead of `epochs`.
        random_state: Seed, `RandomState` or None for a fresh seed. An integer repeats a fit with `steps`.
        kinds: The kinds of some columns by name (see `pipelines.fit`). Columns of arrays are called x0, x1, ...

    Attributes:
        model_: The model file, bytes.
        log_likelihood_: Mean log-density of held-out rows, nats in the units of the data.
        n_features_in_: Number of columns.
        feature_names_in_: Names of the columns, if there are any.

    Examples:
        >>> from sklearn.datasets import make_moons
        >>> X, _ = make_moons(2000, noise=0.05, random_state=0)
        >>> density = RealNVPDensity(max_time=30, random_state=0).fit(X)  # doctest: +SKIP
        >>> density.sample(3).shape  # doctest: +SKIP
        (3, 2)
    """

    def __init__(
        self,
        *,
        max_time: float | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        random_state: Any = None,
        kinds: Mapping[str, Any] | None = None,
    ) -> None:
        self.max_time = max_time
        self.epochs = epochs
        self.steps = steps
        self.random_state = random_state
        self.kinds = kinds

    def fit(self, X: Any, y: None = None) -> RealNVPDensity:  # noqa: N803
        """Fits the density to rows.

        Fewer than 50 rows are repeated until they are 50, with a warning: the held-out rows are then no test.

        Args:
            X: Array of numbers `[n, D]`, or a DataFrame.
            y: Ignored.

        Raises:
            ValueError: If the rows cannot be modelled; the message says why.
        """
        frame = self._rows(X, reset=True)
        kinds = _kinds(frame, self.kinds, is_array=not isinstance(X, pd.DataFrame))
        options = {"max_time": self.max_time, "epochs": self.epochs, "steps": self.steps}
        self.model_, result = _fitted(frame, kinds, _seed(self.random_state), options)
        self.log_likelihood_ = result.log_likelihood
        self._dtypes_ = X.dtypes if isinstance(X, pd.DataFrame) else None
        return self

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns the log-density of each row, `[n]`, nats in the units of the data.

        Minus infinity where a row has a value of a discrete column that the model does not know, or lacks a number in a
        column where none was missing. A column of few distinct numbers is discrete, whatever their type.
        """
        check_is_fitted(self)
        frame = self._rows(X, reset=False)
        with _model(self.model_) as path, _as_value_error():
            model = read_model(path)
            found: np.ndarray = log_probs(model, read_for(model, frame))
        return found

    def score(self, X: Any, y: None = None) -> float:  # noqa: N803
        """Returns the mean log-density of the rows, nats."""
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draws rows, independent of each other.

        Args:
            n_samples: How many.
            random_state: Seed, `RandomState` or None for a fresh seed.

        Returns:
            Array `[n, D]`, float64, or a DataFrame if the model was fitted to one. Free text is missing in it.
        """
        check_is_fitted(self)
        with _model(self.model_) as path, _as_value_error():
            frame = generating.generate(path, n_samples, seed=_seed(random_state), independent=True)
        assert isinstance(frame, pd.DataFrame)
        if self._dtypes_ is None:
            return frame.to_numpy(np.float64)
        with _as_value_error():
            return _typed(frame, self._dtypes_)

    def _rows(self, X: Any, *, reset: bool) -> pd.DataFrame:  # noqa: N803
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=reset, skip_check_array=True)
            if not X.shape[1] or not len(X):
                raise ValueError(
                    f"Found array with {len(X)} sample(s) and {X.shape[1]} feature(s) (shape={X.shape}) while a "
                    "minimum of 1 is required."
                )
            return X.set_axis([str(name) for name in X.columns], axis=1).reset_index(drop=True)
        values = validate_data(
            self, X, reset=reset, dtype="numeric", ensure_all_finite="allow-nan", ensure_min_samples=2 if reset else 1
        )
        return pd.DataFrame(values, columns=[f"x{column}" for column in range(values.shape[1])])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.non_deterministic = self.steps is None and self.max_time is not None
        return tags


class RealNVPSampler(BaseOverSampler):
    """Over-samples classes with rows drawn from a RealNVP model of the table, given the class.

    The classes are a categorical column of the model. The result has the rows it was given first, then new ones.

    Args:
        sampling_strategy: As for every over-sampler of imbalanced-learn: "auto" (all classes but the largest),
            "minority", "not minority", "not majority", "all", a ratio for two classes, a dictionary of the numbers of
            rows by class, or a function of `y` that returns one.
        random_state: Seed, `RandomState` or None for a fresh seed.
        max_time: Seconds for training, or None.
        epochs: Passes over the rows. Default: as `pipelines.fit` has it, by the kinds of columns and the rows.
        steps: Optimizer steps, instead of `epochs`.
        kinds: The kinds of some columns by name (see `pipelines.fit`). Columns of arrays are called x0, x1, ...

    Attributes:
        sampling_strategy_: How many new rows each class gets.
        model_: The model file, bytes.
        n_features_in_: Number of columns, without the class.
    """

    _parameter_constraints = {  # noqa: RUF012
        **BaseOverSampler._parameter_constraints,
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "epochs": [Interval(Integral, 1, None, closed="left"), None],
        "steps": [Interval(Integral, 1, None, closed="left"), None],
        "kinds": [Mapping, None],
    }

    def __init__(
        self,
        *,
        sampling_strategy: Any = "auto",
        random_state: Any = None,
        max_time: float | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        kinds: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.random_state = random_state
        self.max_time = max_time
        self.epochs = epochs
        self.steps = steps
        self.kinds = kinds

    def _check_X_y(self, X: Any, y: Any, accept_sparse: Any = None) -> Any:  # noqa: N802, N803
        if isinstance(X, pd.DataFrame):
            from imblearn.utils import check_target_type

            y, binarize_y = check_target_type(y, indicate_one_vs_all=True)
            validate_data(self, X=X, y=y, reset=True, skip_check_array=True)
            return X, y, binarize_y
        return super()._check_X_y(X, y, accept_sparse=False)

    def _fit_resample(self, X: Any, y: Any) -> Any:  # noqa: N803
        is_array = not isinstance(X, pd.DataFrame)
        if is_array:
            frame = pd.DataFrame(X, columns=[f"x{column}" for column in range(X.shape[1])])
        else:
            frame = X.set_axis([str(name) for name in X.columns], axis=1).reset_index(drop=True)
        wanted = {key: count for key, count in self.sampling_strategy_.items() if count}
        if not wanted:
            return X, y
        target = "class"
        while target in frame.columns:
            target += "_"
        labels, codes = np.unique(np.asarray(y), return_inverse=True)
        kinds = {**_kinds(frame, self.kinds, is_array=is_array), target: "categorical"}
        rows = frame.assign(**{target: [f"class {code}" for code in codes]})
        options = {"target": target, "max_time": self.max_time, "epochs": self.epochs, "steps": self.steps}
        random = check_random_state(self.random_state)
        self.model_, _ = _fitted(rows, kinds, _seed(random), options)
        parts, new_labels = [], []
        with _model(self.model_) as path, _as_value_error():
            for key, count in wanted.items():
                where = [f"{target}=class {int(np.flatnonzero(labels == key)[0])}"]
                part = generating.generate(path, int(count), seed=_seed(random), where=where)
                assert isinstance(part, pd.DataFrame)
                parts.append(part.drop(columns=target))
                new_labels += [key] * int(count)
        new = pd.concat(parts, ignore_index=True)
        labels_too = np.concatenate([np.asarray(y), np.array(new_labels, dtype=np.asarray(y).dtype)])
        if is_array:
            values = new[list(frame.columns)].to_numpy()
            if np.issubdtype(X.dtype, np.integer):  # models compute in float64, which rounds those above 2^53
                values = np.clip(values, X.min(axis=0), X.max(axis=0))
            return np.concatenate([X, values.astype(X.dtype)]), labels_too
        with _as_value_error():
            return pd.concat([X, _typed(new, X.dtypes)], ignore_index=True), labels_too

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


def _kinds(frame: pd.DataFrame, given: Mapping[str, Any] | None, *, is_array: bool) -> dict[str, Any]:
    """The kinds of columns: those of an array are numbers even where they look like identifiers."""
    found = {}
    if is_array:
        for name, dtype in frame.dtypes.items():
            found[str(name)] = "integer" if pd.api.types.is_integer_dtype(dtype) else "float"
    return {**found, **{str(name): kind for name, kind in (given or {}).items()}}


def _fitted(
    frame: pd.DataFrame, kinds: Mapping[str, Any], seed: int, options: Mapping[str, Any]
) -> tuple[bytes, fitting.FitResult]:
    """A model file and what `fit` says of it."""
    if len(frame) < fitting.MIN_ROWS:
        warnings.warn(
            f"{len(frame)} rows are repeated until there are {fitting.MIN_ROWS}; their density is a guess.",
            UserWarning,
            stacklevel=3,
        )
        times = -(-fitting.MIN_ROWS // len(frame))
        frame = pd.concat([frame] * times, ignore_index=True)
    with tempfile.TemporaryDirectory(prefix="augment-") as folder, _as_value_error():
        path = pathlib.Path(folder) / "model.augment"
        result = fitting.fit(frame, model=path, kinds=kinds, seed=seed, **options)
        return path.read_bytes(), result


@contextlib.contextmanager
def _model(content: bytes) -> Iterator[pathlib.Path]:
    """A passing file of a model."""
    with tempfile.TemporaryDirectory(prefix="augment-") as folder:
        path = pathlib.Path(folder) / "model.augment"
        path.write_bytes(content)
        yield path


@contextlib.contextmanager
def _as_value_error() -> Iterator[None]:
    """What scikit-learn expects where arguments cannot be used."""
    try:
        yield
    except AugmentError as error:
        raise ValueError(str(error)) from error


def _seed(random_state: Any) -> int:
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def _typed(frame: pd.DataFrame, dtypes: pd.Series[Any]) -> pd.DataFrame:
    """Rows with the columns and types of another frame; what is not there is missing."""
    frame = frame.reindex(columns=[str(name) for name in dtypes.index])
    frame.columns = dtypes.index
    for name, dtype in dtypes.items():
        with contextlib.suppress(TypeError, ValueError):  # a missing cell among whole numbers
            frame[name] = as_dtype(frame[name], dtype)
    return frame
