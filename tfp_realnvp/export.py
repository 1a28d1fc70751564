"""A trained flow as LiteRT graphs: a sampler and a scorer that run without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

__all__ = ["ExportError", "export_sampler", "export_scorer"]


class ExportError(ValueError):
    """A flow uses something that LiteRT's built-in float32 operators cannot do; the message names it."""


def export_sampler(flow: tfd.TransformedDistribution) -> bytes:
    """Returns a LiteRT graph from noise `[n, D]` of `flow.distribution` to data `[n, D]`, both float32.

    Args:
        flow: A transformed distribution of batch shape []; its base is drawn by whoever runs the graph.

    Raises:
        ExportError: If a bijector does not convert.
    """
    return _convert(flow, flow.bijector.forward, lambda bijector: [bijector.forward])


def export_scorer(flow: tfd.TransformedDistribution) -> bytes:
    """Returns a LiteRT graph from data `[n, D]` to its log-density `[n]` in nats, both float32.

    Raises:
        ExportError: If a bijector or the base's density does not convert.
    """
    return _convert(
        flow,
        flow.log_prob,
        lambda bijector: [
            bijector.inverse,
            lambda y: bijector.inverse_log_det_jacobian(y, event_ndims=len(flow.event_shape)),
        ],
    )


def _convert(flow: tfd.TransformedDistribution, function: Callable[[tf.Tensor], tf.Tensor], parts: Any) -> bytes:
    if flow.batch_shape.rank != 0:
        raise ExportError(f"{flow.name!r} has batch shape {flow.batch_shape}; bind one context, of batch shape [].")
    if flow.dtype != tf.float32:
        raise ExportError(f"{flow.name!r} is a {flow.dtype.name} flow; LiteRT graphs are float32.")
    try:
        graph = _to_litert(function, flow, flow.event_shape)
    except ExportError:
        for bijector in _leaves(flow.bijector):
            try:
                for part in parts(bijector):
                    _to_litert(part, bijector, flow.event_shape)
            except ExportError as cause:
                raise ExportError(f"bijector {bijector.name!r} cannot be exported: {cause}") from cause
        raise
    _check(graph, function, flow.sample(3, seed=(0, 0)).numpy())
    return graph


def _check(graph: bytes, function: Any, x: np.ndarray) -> None:
    """Raises `ExportError` if the graph does not run or says something else than `function`."""
    try:
        interpreter = Interpreter(model_content=graph)
        (entry,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(entry["index"], x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entry["index"], x)
        interpreter.invoke()
        actual = interpreter.get_tensor(result["index"])
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"the converted graph does not run: {error}") from error
    expected = function(tf.constant(x)).numpy()
    if not np.allclose(actual, expected, rtol=1e-3, atol=1e-3, equal_nan=True):
        raise ExportError("the converted graph gives other values than the flow.")


def _to_litert(function: Callable[[tf.Tensor], tf.Tensor], owner: tf.Module, event_shape: tf.TensorShape) -> bytes:
    signature = tf.TensorSpec([None, *event_shape], tf.float32)
    try:
        # A fresh lambda: a bound method would share its traces, and its name would leak into the graph.
        traced = tf.function(lambda x: function(x), autograph=False).get_concrete_function(signature)
        if any(t.dtype == tf.float64 for op in traced.graph.get_operations() for t in op.outputs):
            raise ExportError("it computes in float64; LiteRT graphs are float32.")
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [_count_axes_from_the_front(traced, signature)], owner
        )
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


def _count_axes_from_the_front(traced: Any, signature: tf.TensorSpec) -> Any:
    """The converter folds a sum of constants over a negative axis to zero."""
    frozen = convert_variables_to_constants_v2(traced)
    graph = frozen.graph.as_graph_def()
    constants = {node.name: node for node in graph.node if node.op == "Const"}
    for operation in frozen.graph.get_operations():
        if operation.type == "Sum" and operation.inputs[0].shape.rank is not None:
            node = constants.get(operation.inputs[1].op.name)
            if node is not None:
                axes = tf.make_ndarray(node.attr["value"].tensor)
                axes = np.where(axes < 0, axes + operation.inputs[0].shape.rank, axes).astype(axes.dtype)
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(axes))
    entry, result = frozen.inputs[0].name, frozen.outputs[0].name
    return tf.compat.v1.wrap_function(
        lambda x: tf.import_graph_def(graph, {entry: x}, [result], name="")[0], [signature]
    )
