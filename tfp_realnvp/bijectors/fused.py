"""A base for bijectors whose value and log-determinant come out of one pass."""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf
from tensorflow_probability.python.internal import cache_util

from tfp_realnvp.bijectors.unique import UniqueBijector

__all__ = ["FusedBijector"]


class _FreshLogDetCache(cache_util.BijectorCacheWithGreedyAttrs):
    """TFP's cache of value and log-determinant pairs, forgetting a log-determinant whose value is gone.

    TFP keeps a log-determinant for as long as the *input* lives, also when the output has been
    collected, and would hand out the one from before an optimizer step.
    """

    def _attributes(self, value: Any, fn_name: str, **kwargs: Any) -> dict[str, Any]:
        edge = self._get_or_create_edge(value, fn_name, kwargs)
        if not edge.output_ref:
            edge.attributes.clear()
        attributes: dict[str, Any] = edge.attributes
        return attributes


class FusedBijector(UniqueBijector):
    """A `tfb.Bijector` that is written as two functions, each returning a value and its log-determinant.

    A subclass defines `_forward_and_log_det(x) -> (y, fldj)` and `_inverse_and_log_det(y) -> (x, ildj)`,
    with log-determinants summed over `forward_min_event_ndims` dimensions. `log_prob`, `sample` and
    `experimental_sample_and_log_prob` then call one of them once.
    """

    _cache = _FreshLogDetCache(forward_name="_augmented_forward", inverse_name="_augmented_inverse")

    @abc.abstractmethod
    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `forward(x)` and the forward log-determinant."""

    @abc.abstractmethod
    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `inverse(y)` and the inverse log-determinant."""

    def _augmented_forward(self, x: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        y, fldj = self._forward_and_log_det(x)
        return y, {"ildj": -fldj, "fldj": fldj}

    def _augmented_inverse(self, y: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        x, ildj = self._inverse_and_log_det(y)
        return x, {"ildj": ildj, "fldj": -ildj}

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self._forward_and_log_det(x)[0]

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return self._inverse_and_log_det(y)[0]

    # TFP asks for these only when the cache holds no log-determinant.
    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return self._forward_and_log_det(x)[1]

    def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
        return self._inverse_and_log_det(y)[1]
