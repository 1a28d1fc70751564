"""A trained distribution as LiteRT graphs: samplers and scorers that run without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.distributions import transformed_distribution

from tfp_realnvp.binding import context_specs, given
from tfp_realnvp.distributions.autoregressive_categorical import AutoregressiveCategorical
from tfp_realnvp.distributions.flow import Flow
from tfp_realnvp.export_rewrites import prepared

__all__ = ["ExportError", "export_sampler", "export_scorer"]

Function = Callable[..., Any]
# What a converted graph is held to: so much, or so many roundings of what it is called with, in so many draws.
_TOLERANCE, _ROUNDINGS, _DRAWS = 1e-3, 4, 4
# And no subclasses: a TFP distribution that is one within, as a Gaussian is, makes its own noise.
_TRANSFORMED = (Flow, tfd.TransformedDistribution, transformed_distribution._TransformedDistribution)


class ExportError(ValueError):
    """A flow uses something that LiteRT's built-in float32 operators cannot do; the message names it."""


def export_sampler(
    distribution: tfd.TransformedDistribution | AutoregressiveCategorical, *, with_given: bool = False
) -> bytes:
    """Returns a LiteRT graph that makes events from random numbers, which whoever runs the graph draws.

    Inputs by name, float32 unless said otherwise:

    - of a flow: `noise`, `[n, *event_shape]`, from `distribution.distribution`, or the base of that if it is a `Flow`
      or `tfd.TransformedDistribution` itself; of a conditional one also `context`;
    - of an `AutoregressiveCategorical`: `uniforms` in [0, 1), `[n, C]`; with given classes also `classes` `[n, C]`,
      int32, and `is_given` `[C]`, which is 1 for the columns that stay as they are in `classes` and else 0.

    Args:
        distribution: Of batch shape [].
        with_given: Of an `AutoregressiveCategorical`: whether some classes can be given; the graph is then that of
            `sample_and_log_prob_given`, with two outputs.

    Raises:
        ExportError: If a bijector does not convert.
    """
    if isinstance(distribution, AutoregressiveCategorical):
        columns = len(distribution.num_classes)
        specs = [_spec("uniforms", columns)]
        if not with_given:
            return _convert(distribution, distribution.sample_from, specs)
        specs += [_spec("classes", columns, tf.int32), tf.TensorSpec([columns], name="is_given")]
        return _convert(distribution, distribution.sample_and_log_prob_given, specs)
    return _convert_flow(distribution, "noise", lambda flow, noise: flow.bijector.forward(noise))


def export_scorer(
    distribution: tfd.TransformedDistribution | AutoregressiveCategorical, *, with_noise: bool = False
) -> bytes:
    """Returns a LiteRT graph from events to their log-density `[n]` in nats.

    Inputs by name: of a flow `x`, float32 `[n, *event_shape]`, and of a conditional one also `context`; of an
    `AutoregressiveCategorical` `classes`, int32 `[n, C]`.

    Args:
        distribution: Of batch shape [].
        with_noise: Of a flow: whether the graph has a second output, the noise `[n, *event_shape]` that the sampler
            would make the event from. One graph for both is converted in half the time of two.

    Raises:
        ExportError: If a bijector or the base's density does not convert.
    """
    if isinstance(distribution, AutoregressiveCategorical):
        spec = _spec("classes", len(distribution.num_classes), tf.int32)
        return _convert(distribution, distribution.log_prob, [spec])
    if with_noise:
        return _convert_flow(distribution, "x", lambda flow, x: (flow.log_prob(x), flow.bijector.inverse(x)))
    return _convert_flow(distribution, "x", lambda flow, x: flow.log_prob(x))


def _spec(name: str, columns: int, dtype: tf.DType = tf.float32) -> tf.TensorSpec:
    return tf.TensorSpec([None, columns], dtype, name=name)


def _convert_flow(flow: tfd.TransformedDistribution, name: str, method: Callable[[Any, tf.Tensor], Any]) -> bytes:
    if not isinstance(flow, transformed_distribution._TransformedDistribution):
        raise TypeError(f"{flow!r} is no transformed distribution, which is noise and a bijector.")
    while type(base := flow.distribution) in _TRANSFORMED:
        flow = Flow(base.distribution, tfb.Chain([flow.bijector, base.bijector]), name=flow.name)
    if flow.batch_shape.rank != 0:
        raise ExportError(f"{flow.name!r} has batch shape {flow.batch_shape}; only batch shape [] can be exported.")
    if flow.dtype != tf.float32:
        raise ExportError(f"{flow.name!r} is a {flow.dtype.name} flow; LiteRT graphs are float32.")
    specs = [tf.TensorSpec([None, *flow.event_shape], name=name), *context_specs(flow)]

    def function(x: tf.Tensor, *context: tf.Tensor) -> Any:
        return method(given(flow, context[0]) if context else flow, x)

    try:
        return _convert(flow, function, specs)
    except ExportError:
        for bijector in _leaves(flow.bijector):
            _try_alone(bijector, flow, name, specs)
        raise


def _try_alone(bijector: tfb.Bijector, flow: tfd.TransformedDistribution, name: str, specs: Sequence[Any]) -> None:
    """Raises an `ExportError` that names the bijector if it is the one that does not convert."""
    rank = len(flow.event_shape)

    def bound(context: tuple[tf.Tensor, ...]) -> tfb.Bijector:
        return given(bijector, context[0]) if context else bijector

    parts: list[Function] = [lambda x, *context: bound(context).forward(x)]
    if name != "noise":
        parts = [
            lambda x, *context: bound(context).inverse(x),
            lambda x, *context: bound(context).inverse_log_det_jacobian(x, event_ndims=rank),
        ]
    takes = [specs[0], *specs[1:][: len(context_specs(bijector))]]
    try:
        for part in parts:
            _to_litert(part, takes)
    except ExportError as cause:
        raise ExportError(f"bijector {bijector.name!r} cannot be exported: {cause}") from cause


def _convert(owner: tf.Module, function: Function, specs: Sequence[tf.TensorSpec]) -> bytes:
    """Converts a function and compares the graph with it on a few rows."""
    graph = _to_litert(function, specs)
    rng = np.random.default_rng(0)
    inputs = []
    for spec in specs:
        shape = [3 if size is None else size for size in spec.shape]
        if spec.dtype == tf.int32:
            inputs.append(np.zeros(shape, np.int32))
        else:
            inputs.append((rng.random(shape) if spec.name != "noise" else rng.normal(size=shape)).astype(np.float32))
    if specs[0].name == "x":  # a plausible event: a density may be far out in its tail elsewhere
        inputs[0] = _events(owner, [tf.constant(value) for value in inputs[1:]])
    _check(graph, function, specs, inputs)
    return graph


def _events(flow: tfd.TransformedDistribution, context: Sequence[tf.Tensor]) -> np.ndarray:
    events = given(flow, context[0]).sample(seed=(0, 0)) if context else flow.sample(3, seed=(0, 0))
    found: np.ndarray = events.numpy()
    return found


def _check(graph: bytes, function: Function, specs: Sequence[tf.TensorSpec], inputs: Sequence[np.ndarray]) -> None:
    """Raises `ExportError` if the graph does not run or says something else than `function`."""
    try:
        interpreter = Interpreter(model_content=graph)
        entries = {entry["name"]: entry["index"] for entry in interpreter.get_input_details()}
        for spec, value in zip(specs, inputs, strict=True):
            if spec.name in entries:  # what the result does not depend on is no input of the graph
                interpreter.resize_tensor_input(entries[spec.name], value.shape)
        interpreter.allocate_tensors()
        for spec, value in zip(specs, inputs, strict=True):
            if spec.name in entries:
                interpreter.set_tensor(entries[spec.name], value)
        interpreter.invoke()
        results = [interpreter.get_tensor(result["index"]) for result in interpreter.get_output_details()]
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"the converted graph does not run: {error}") from error
    expected = _values(function, inputs)
    if _agree(results, expected, [0.0] * len(expected)):
        return
    # Thin ridges, as of columns that are nearly the same, are undone by dividing small differences of large numbers by
    # smaller ones: there the graph and the flow are as far from each other as roundings take them.
    if not _agree(results, expected, _moves(function, inputs, expected)):
        raise ExportError("the converted graph gives other values than the distribution.")


def _values(function: Function, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [value.numpy() for value in tf.nest.flatten(function(*map(tf.constant, inputs)))]


def _agree(results: Sequence[np.ndarray], expected: Sequence[np.ndarray], slack: Sequence[np.ndarray | float]) -> bool:
    """Whether each of the expected values is among the results, to a tolerance and some slack."""
    return all(
        any(
            actual.shape == value.shape
            and np.allclose(actual, value, rtol=_TOLERANCE, atol=_TOLERANCE + more, equal_nan=True)
            for actual in results
        )
        for value, more in zip(expected, slack, strict=True)
    )


def _moves(function: Function, inputs: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> list[np.ndarray]:
    """By how much values change if what the function is called with does by a few roundings; where that is known."""
    rng, size = np.random.default_rng(0), np.float32(_ROUNDINGS * np.finfo(np.float32).eps)
    moves = [np.zeros_like(value) for value in expected]
    for _ in range(_DRAWS):
        signs = [rng.choice(np.array([-1, 1], x.dtype), x.shape) for x in inputs]
        moved = [x if x.dtype == np.int32 else x + size * x * sign for x, sign in zip(inputs, signs, strict=True)]
        found = _values(function, moved)
        moves = [
            np.fmax(move, np.where(np.isfinite(part - value), np.abs(part - value), 0.0))
            for move, part, value in zip(moves, found, expected, strict=True)
        ]
    return moves


def _to_litert(function: Function, specs: Sequence[tf.TensorSpec]) -> bytes:
    try:
        # A fresh lambda: a bound method would share its traces, and its name would leak into the graph.
        traced = tf.function(lambda *inputs: function(*inputs), autograph=False).get_concrete_function(*specs)
        if any(t.dtype == tf.float64 for op in traced.graph.get_operations() for t in op.outputs):
            raise ExportError("it computes in float64; LiteRT graphs are float32.")
        # Takes a graph as it is. TensorFlow 2's would freeze it once more: half as much time again.
        converter = tf.compat.v1.lite.TFLiteConverter(*prepared(traced))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.exclude_conversion_metadata = True  # which Python adds slowly
        graph: Any = converter.convert()
    except ExportError:
        raise
    except Exception as error:  # the converter raises its own type, TypeError, ValueError and RuntimeError
        raise ExportError((str(error).strip() or type(error).__name__).splitlines()[0]) from error
    return bytes(graph)


def _leaves(bijector: tfb.Bijector) -> list[tfb.Bijector]:
    """The bijectors a composition is made of."""
    parts = getattr(bijector, "bijectors", None)
    if parts is None:
        inner = getattr(bijector, "bijector", None)
        return [bijector] if inner is None else _leaves(inner)
    return [leaf for part in parts for leaf in _leaves(part)]
