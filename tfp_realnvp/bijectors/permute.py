"""TFP's permutation, whose indices are checked when a checkpoint is restored."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.bijectors.last_axis import check_last_axis

__all__ = ["Permute"]


class _Indices(tf.train.experimental.PythonState):
    """The indices as part of a checkpoint; restoring others raises."""

    def __init__(self, indices: np.ndarray, name: str) -> None:
        super().__init__()
        self._indices, self._name = indices, name

    def serialize(self) -> str:
        return json.dumps(self._indices.tolist())

    def deserialize(self, string_value: bytes | str) -> None:
        saved = json.loads(string_value)
        if saved != self._indices.tolist():
            raise ValueError(
                f"{self._name}: the checkpoint holds another permutation, {_shorten(saved)} instead of "
                f"{_shorten(self._indices.tolist())}. Build the flow with the seed or the indices it was saved with, "
                "or use tfp_realnvp.save and load, which keep them."
            )


class Permute(tfb.Permute):
    """`tfb.Permute` over the last axis, with fixed indices that a checkpoint keeps and checks.

    `tfb.Permute` leaves them out of `tf.train.Checkpoint`, so a flow that was rebuilt with another seed
    restores without a word and is another flow; here restoring raises `ValueError`.

    Args:
        permutation: Integer array-like, `[D]`, with each of `0, …, D - 1` once.
        validate_args: As in `tfb.Bijector`.
        name: As in `tfb.Bijector`.

    Raises:
        ValueError: If `permutation` is not a permutation.
    """

    def __init__(self, permutation: Any, *, validate_args: bool = False, name: str = "permute") -> None:
        indices = np.asarray(permutation)
        if indices.ndim != 1 or sorted(indices.tolist()) != list(range(indices.size)):
            raise ValueError(f"permutation must have each of 0, …, D - 1 once, got {_shorten(indices.tolist())}.")
        indices = indices.astype(np.int32)
        self._there, self._back = indices, np.argsort(indices).astype(np.int32)
        self._indices = _Indices(indices, name)
        super().__init__(indices, validate_args=validate_args, name=name)
        # TFP's constructor has noted its own arguments, one of which this class does not have.
        parameters = {"permutation": indices, "validate_args": validate_args, "name": name}
        self._parameters = self._no_dependency(parameters)

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {}  # the indices have no batch shape, so slicing a batch of flows leaves them alone

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        children: dict[str, Any] = super()._trackable_children(save_type, **kwargs)
        if save_type == "savedmodel":  # whose graphs have the indices: TensorFlow would warn that it leaves these out
            children.pop("_indices", None)
        return children

    @property
    def _composite_tensor_shape_params(self) -> tuple[str, ...]:
        return ("permutation",)  # as an argument of a tf.function it is taken apart: into numbers, not a tensor

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        check_last_axis(self, x, len(self._there))
        return _gather(x, self._there, self._back)

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        check_last_axis(self, y, len(self._there))
        return _gather(y, self._back, self._there)


def _gather(x: tf.Tensor, there: np.ndarray, back: np.ndarray) -> tf.Tensor:
    """Gathers along the last axis; the gradient is a gather too, where `tf.gather`'s is a scatter."""

    @tf.custom_gradient
    def gather(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return tf.gather(x, there, axis=-1), lambda gradient: _gather(gradient, back, there)

    return gather(x)


def _shorten(items: Any) -> str:
    text = str(items)
    return text if len(text) <= 60 else text[:57] + "..."
