"""How a context becomes numbers that a conditioner can read: standardised features and embedded classes."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.classes import check_classes
from tfp_realnvp.embedding import embed
from tfp_realnvp.orders import checked_orders, initial_embeddings

__all__ = ["ClassContext", "Context", "FeatureContext"]


class Context(tf.Module, abc.ABC):
    """Encodes contexts, `[n, *shape]`, as vectors, `[n, size]`, for a conditioner to read with the kept entries.

    One object may serve all the conditioners of a flow; its variables are trained with theirs.
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tf.TensorShape:
        """Shape of one context."""

    @property
    @abc.abstractmethod
    def dtype(self) -> tf.DType:
        """Dtype of contexts."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Length of an encoded context."""

    @abc.abstractmethod
    def __call__(self, context: tf.Tensor) -> tf.Tensor:
        """Encodes contexts `[n, *shape]` as `[n, size]`."""

    @property
    @abc.abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, but for what only sets the start: with the variables, all there is to save."""

    def for_flow(self, dtype: Any) -> Context:
        """Returns the context for a flow of floating dtype `dtype`: itself, unless its dtype goes by the flow's."""
        return self

    @abc.abstractmethod
    def check(self, context: np.ndarray) -> None:
        """Raises `ValueError` if values, `[..., *shape]`, are not contexts."""


class FeatureContext(Context):
    """Features, `[..., num_features]`, standardised: `(context - mean) / scale`.

    Networks diverge on features of large values; `FeatureContext.of(features)` takes mean and scale from
    the training data. Without them, features pass as they are, as one-hot vectors should.

    Args:
        num_features: Number of features.
        mean: `[num_features]`, or None for zeros.
        scale: `[num_features]`, positive, or None for ones.
        dtype: Floating dtype of contexts. Default: float64 in float64 flows of `real_nvp` and `image_real_nvp`, else
            float32, in which large numbers, such as seconds since 1970, can be the same.
        name: Name of the module.

    Raises:
        ValueError: If there are no features, or mean or scale have another shape or a scale is not positive.
    """

    def __init__(
        self,
        num_features: int,
        *,
        mean: Any = None,
        scale: Any = None,
        dtype: Any = None,
        name: str = "feature_context",
    ) -> None:
        super().__init__(name=name)
        if num_features < 1:
            raise ValueError(f"num_features must be at least 1, got {num_features}.")
        self._has_own_dtype = dtype is not None
        self._dtype = tf.as_dtype(dtype or tf.float32)
        self.mean = np.zeros(num_features) if mean is None else np.array(mean, np.float64)
        self.scale = np.ones(num_features) if scale is None else np.array(scale, np.float64)
        if self.mean.shape != (num_features,) or self.scale.shape != (num_features,) or not (self.scale > 0).all():
            raise ValueError(
                f"mean and scale must have shape [{num_features}] and the scale must be positive, "
                f"got {mean} and {scale}."
            )

    @classmethod
    def of(cls, features: Any, *, dtype: Any = None, name: str = "feature_context") -> FeatureContext:
        """Takes mean and scale from `features`, `[n, num_features]`; constant features keep their scale."""
        rows = np.asarray(features, np.float64)
        if rows.ndim != 2 or not np.isfinite(rows).all():
            raise ValueError(f"features must be finite, of shape [n, num_features], got shape {rows.shape}.")
        scale = rows.std(axis=0)
        # Rounding leaves a constant column a deviation of 1e-17.
        mean, scale = rows.mean(axis=0), np.where(rows.max(axis=0) > rows.min(axis=0), scale, 1.0)
        return cls(rows.shape[1], mean=mean, scale=scale, dtype=dtype, name=name)

    @property
    def shape(self) -> tf.TensorShape:
        return tf.TensorShape(self.mean.shape)

    @property
    def dtype(self) -> tf.DType:
        return self._dtype

    @property
    def size(self) -> int:
        return len(self.mean)

    def __call__(self, context: tf.Tensor) -> tf.Tensor:
        return (context - tf.constant(self.mean, context.dtype)) / tf.constant(self.scale, context.dtype)

    def for_flow(self, dtype: Any) -> Context:
        if self._has_own_dtype or tf.as_dtype(dtype) != tf.float64:
            return self
        return FeatureContext(**self.arguments | {"dtype": dtype})

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "num_features": self.size,
            "mean": self.mean,
            "scale": self.scale,
            "dtype": self._dtype.name,
            "name": self.name,
        }

    def check(self, context: np.ndarray) -> None:
        if not np.isfinite(context).all():
            raise ValueError(f"{self.name}: a feature is NaN or infinite.")


class ClassContext(Context):
    """Classes, as integers from 0, embedded as vectors that are learnt.

    A class that does not exist is refused where its value is known. Within a `tf.function` or a SavedModel values
    are not known when the graph is built, and what such a class gives is undefined: check labels before.

    Args:
        num_classes: Number of classes; a context is then one integer, and contexts have the shape `[...]`. A
            sequence for several classifications at once: contexts are then `[..., len(num_classes)]`.
        embedding_size: Length of an embedding.
        num_ordered: How many of the first classes lie in an order, as those of a rating do; one number for each
            classification if there are several. The embeddings of these start alike, the more so the nearer they are.
            Default: none do.
        seed: Integer seed of the initial embeddings, or None for fresh ones.
        dtype: Floating dtype of the embeddings.
        name: Name of the module.

    Raises:
        ValueError: If a number is less than 1, or there are fewer classes than ordered ones.
    """

    def __init__(
        self,
        num_classes: int | Sequence[int],
        *,
        embedding_size: int = 8,
        num_ordered: int | Sequence[int] | None = None,
        seed: int | None = None,
        dtype: Any = tf.float32,
        name: str = "class_context",
    ) -> None:
        super().__init__(name=name)
        counts = [int(count) for count in np.atleast_1d(num_classes)]
        if min(counts, default=0) < 1 or embedding_size < 1:
            raise ValueError(f"num_classes and embedding_size must be at least 1, got {num_classes}, {embedding_size}.")
        self._is_single = np.ndim(num_classes) == 0
        self._offsets = np.cumsum([0, *counts[:-1]]).astype(np.int32)
        self._counts = np.array(counts)
        orders = checked_orders(None if num_ordered is None else np.atleast_1d(num_ordered).tolist(), counts)
        values = initial_embeddings(counts, embedding_size, orders, np.random.default_rng(seed))
        self.embeddings = tf.Variable(values, dtype=tf.as_dtype(dtype), name=f"{name}_embeddings")

    @property
    def num_classes(self) -> int | list[int]:
        """Number of classes, of each classification if there are several."""
        counts: list[int] = self._counts.tolist()
        return counts[0] if self._is_single else counts

    @property
    def shape(self) -> tf.TensorShape:
        return tf.TensorShape([] if self._is_single else [len(self._counts)])

    @property
    def dtype(self) -> tf.DType:
        return tf.int32

    @property
    def size(self) -> int:
        return len(self._counts) * int(self.embeddings.shape[1])

    def __call__(self, context: tf.Tensor) -> tf.Tensor:
        classes = context[..., tf.newaxis] if self._is_single else context
        # One look-up for all classifications: a product with one-hot vectors for each of them takes longer to compile.
        encoded = embed(self.embeddings, classes + self._offsets)
        return tf.reshape(encoded, [-1, self.size])

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "num_classes": self.num_classes,
            "embedding_size": int(self.embeddings.shape[1]),
            "dtype": self.embeddings.dtype.name,
            "name": self.name,
        }

    def check(self, context: np.ndarray) -> None:
        check_classes(self.name, context[..., np.newaxis] if self._is_single else context, self._counts)
