"""A distribution as a TensorFlow SavedModel with signatures, to serve or to use without this library."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp.binding import context_specs, given

__all__ = ["export_saved_model"]


def export_saved_model(flow: tfd.TransformedDistribution, path: str | os.PathLike[str]) -> None:
    """Writes a SavedModel whose signatures are the methods of a flow; `tf.saved_model.load` reads it.

    Signatures, with one dictionary of tensors each for arguments and results:

        log_prob(x [n, *event_shape])        -> {"log_prob": [n]}, nats
        sample(n int32, seed int32 [2])      -> {"x": [n, *event_shape]}
        forward(z [n, *event_shape])         -> {"x": [n, *event_shape]}, from noise to data
        inverse(x [n, *event_shape])         -> {"z": [n, *event_shape]}

    Those of a conditional flow take a `context`, `[n, *context_shape]`, as well, and `sample` draws one event for each
    context, without `n`.

    Args:
        flow: A transformed distribution of batch shape `[]`.
        path: The folder to write.

    Raises:
        ValueError: If `flow` has another batch shape.
    """
    if flow.batch_shape.rank != 0:
        raise ValueError(
            f"{flow.name!r} has batch shape {flow.batch_shape}; a SavedModel holds one distribution, of []. Export a "
            "conditional flow unbound: its signatures take the context."
        )
    module = tf.Module()
    module.flow = flow
    contexts = context_specs(flow)
    data = tf.TensorSpec([None, *flow.event_shape], flow.dtype, name="x")
    noise = tf.TensorSpec([None, *flow.distribution.event_shape], flow.distribution.dtype, name="z")
    seed = tf.TensorSpec([2], tf.int32, name="seed")

    def function(body: Any, *specs: tf.TensorSpec) -> Any:
        return tf.function(body, input_signature=[*specs, *contexts], autograph=False)

    def bound(context: tuple[tf.Tensor, ...]) -> Any:
        return given(flow, context[0]) if context else flow

    def log_prob(x: tf.Tensor, *context: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"log_prob": bound(context).log_prob(x)}

    def forward(z: tf.Tensor, *context: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": bound(context).bijector.forward(z)}

    def inverse(x: tf.Tensor, *context: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"z": bound(context).bijector.inverse(x)}

    def sample(n: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": flow.sample(n, seed=seed)}

    def sample_given(seed: tf.Tensor, *context: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": bound(context).sample(seed=seed)}

    module.log_prob = function(log_prob, data)
    module.forward = function(forward, noise)
    module.inverse = function(inverse, data)
    module.sample = (
        function(sample_given, seed) if contexts else function(sample, tf.TensorSpec([], tf.int32, name="n"), seed)
    )
    names = ("log_prob", "sample", "forward", "inverse")
    tf.saved_model.save(module, os.fspath(path), signatures={name: getattr(module, name) for name in names})
