"""A trained flow as LiteRT graphs: a sampler and a scorer that run without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

__all__ = ["ExportError", "export_sampler", "export_scorer"]


class ExportError(ValueError):
    """A flow uses something that LiteRT's built-in float32 operators cannot do; the message names it."""


def export_sampler(flow: tfd.TransformedDistribution) -> bytes:
    """Returns a LiteRT graph from noise `[n, D]` of `flow.distribution` to data `[n, D]`, both float32.

    Args:
        flow: A transformed distribution over vectors; its base is drawn by whoever runs the graph.

    Raises:
        ExportError: If a bijector does not convert.
    """
    return _convert(flow, flow.bijector.forward)


def export_scorer(flow: tfd.TransformedDistribution) -> bytes:
    """Returns a LiteRT graph from data `[n, D]` to its log-density `[n]` in nats, both float32.

    Raises:
        ExportError: If a bijector or the base's density does not convert.
    """
    return _convert(flow, flow.log_prob)


def _convert(flow: tfd.TransformedDistribution, function: Callable[[tf.Tensor], tf.Tensor]) -> bytes:
    if flow.dtype != tf.float32:
        raise ExportError(f"{flow.name!r} is a {flow.dtype.name} flow; LiteRT graphs are float32.")
    try:
        return _to_litert(function, flow, flow.event_shape)
    except ExportError:
        for bijector in _leaves(flow.bijector):
            try:
                _to_litert(bijector.inverse, bijector, flow.event_shape)
                _to_litert(bijector.forward, bijector, flow.event_shape)
            except ExportError as cause:
                raise ExportError(f"bijector {bijector.name!r} cannot be exported: {cause}") from cause
        raise


def _to_litert(function: Callable[[tf.Tensor], tf.Tensor], owner: tf.Module, event_shape: tf.TensorShape) -> bytes:
    signature = tf.TensorSpec([None, *event_shape], tf.float32)
    try:
        # A fresh lambda: a bound method would share its traces, and its name would leak into the graph.
        traced = tf.function(lambda x: function(x), autograph=False).get_concrete_function(signature)
        if any(t.dtype == tf.float64 for op in traced.graph.get_operations() for t in op.outputs):
            raise ExportError("it computes in float64; LiteRT graphs are float32.")
        converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], owner)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        graph: Any = converter.convert()
    except ExportError:
        raise
    except Exception as error:  # the converter raises its own type, TypeError, ValueError and RuntimeError
        raise ExportError(str(error).strip().splitlines()[0]) from error
    return bytes(graph)


def _leaves(bijector: tfb.Bijector) -> list[tfb.Bijector]:
    """The bijectors a composition is made of."""
    parts = getattr(bijector, "bijectors", None)
    if parts is None:
        inner = getattr(bijector, "bijector", None)
        return [bijector] if inner is None else _leaves(inner)
    return [leaf for part in parts for leaf in _leaves(part)]
