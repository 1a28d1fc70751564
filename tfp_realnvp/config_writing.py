"""A flow taken apart: a JSON recipe and named tensors."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import conditioners, contexts, transforms
from tfp_realnvp.distributions.autoregressive_categorical import AutoregressiveCategorical
from tfp_realnvp.masks import Mask
from tfp_realnvp.saved_parts import (
    ACTIVATIONS,
    CONTEXTS,
    MAX_DEPTH,
    OWN_CLASSES,
    OWN_PREFIX,
    TRANSFORMS,
    find_class,
    is_too_deep,
)

__all__ = ["to_config"]


def to_config(obj: tfd.Distribution | tfb.Bijector) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns `obj` as a JSON value and a dict of named arrays.

    Raises:
        TypeError: If a part cannot be written as data.
    """
    writer = _Writer()
    config = writer.encode(obj, "flow")
    if is_too_deep(config):
        raise TypeError(f"flow is more than {MAX_DEPTH} objects deep; a chain of all layers at once is not.")
    for path, tensor in writer.tensors.items():
        if tensor.dtype.kind not in "biufc":  # bfloat16, which safetensors writes and NumPy cannot read
            raise TypeError(f"{path} is of {tensor.dtype.name}, which cannot be saved as data.")
    return config, writer.tensors


class _Writer:
    """Objects to JSON values. An object becomes its class and its constructor's arguments."""

    def __init__(self) -> None:
        self.tensors: dict[str, np.ndarray] = {}
        self._seen: dict[int, str] = {}

    def encode(self, value: Any, path: str) -> Any:
        match value:
            case np.generic():  # before float(), which np.float64 is too: its dtype is part of it
                return self._array(np.asarray(value), path)
            case None | bool() | int() | float() | str():
                return value
            case tf.DType() | np.dtype():
                return {"dtype": value.name}
            case type() if issubclass(value, np.generic):
                return {"dtype": np.dtype(value).name}
            case tf.TensorShape():
                return value.as_list()
            case Mask():
                return {"mask": value.kept.tolist()}
            case tuple() if any(isinstance(item, tfd.Distribution | tfb.Bijector) for item in value):
                # The model of a joint distribution or a JointMap, whose events are like it; else a list is as good.
                if type(value) is not tuple:
                    raise TypeError(f"{path} is a {type(value).__name__}, which cannot be saved as data; a tuple can.")
                return {"tuple": [self.encode(item, f"{path}.{index}") for index, item in enumerate(value)]}
            case list() | tuple():
                return [self.encode(item, f"{path}.{index}") for index, item in enumerate(value)]
            case dict() if all(isinstance(key, str) for key in value):
                return {"dict": [[key, self.encode(item, f"{path}.{key}")] for key, item in value.items()]}
            case np.ndarray():
                return self._array(value, path)
            case tf.Variable():
                return self._shared(value, path, lambda: self._variable(value, path))
            case tf.Tensor():
                return self._array(value.numpy(), path)
            case transforms.Transform():
                return self._transform(value, path)
            case conditioners.Conditioner():
                return self._shared(value, path, lambda: self._conditioner(value, path))
            case contexts.Context():
                return self._shared(value, path, lambda: self._context(value, path))
            case tfp.util.DeferredTensor():
                return self._shared(value, path, lambda: self._deferred(value, path))
            case tfb.Bijector() | tfd.Distribution():
                return self._shared(value, path, lambda: self._object(value, path))
        raise TypeError(
            f"{path} is a {type(value).__module__}.{type(value).__qualname__}, which cannot be saved as data: only "
            "TFP's distributions and bijectors, tfp_realnvp's classes, tensors, variables and plain values can."
        )

    def _shared(self, value: Any, path: str, encode: Any) -> Any:
        if id(value) in self._seen:
            return {"same_as": self._seen[id(value)]}
        self._seen[id(value)] = path
        return {**encode(), "path": path}

    def _array(self, value: np.ndarray, path: str) -> dict[str, Any]:
        if value.dtype.kind in "biu":  # masks and permutations: readable in the JSON
            return {"array": value.tolist(), "dtype": value.dtype.name}
        self.tensors[path] = np.array(value, order="C")
        return {"tensor": path}

    def _variable(self, value: tf.Variable, path: str) -> dict[str, Any]:
        self.tensors[path] = np.asarray(value)
        return {"variable": path, "trainable": value.trainable, "name": value.name.split(":")[0]}

    def _transform(self, value: transforms.Transform, path: str) -> dict[str, Any]:
        name = type(value).__name__
        if type(value) is not TRANSFORMS.get(name):
            raise TypeError(f"{path} is a {name}, which is not a transform of tfp_realnvp: it cannot be saved as data.")
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(TRANSFORMS[name])}
        return {"transform": name, "arguments": _plain(fields)}

    def _conditioner(self, value: conditioners.Conditioner, path: str) -> dict[str, Any]:
        if (activation := value.recipe.get("activation")) not in ACTIVATIONS:
            raise TypeError(
                f"{path} has the activation {activation!r}, which cannot be saved as data: only the names "
                f"{', '.join(sorted(ACTIVATIONS))} can."
            )
        self._weights(value.network.weights, path)
        return {"conditioner": _plain(value.recipe), "context": self.encode(value.context, f"{path}.context")}

    def _context(self, value: contexts.Context, path: str) -> dict[str, Any]:
        name = type(value).__name__
        if type(value) is not CONTEXTS.get(name):
            raise TypeError(f"{path} is a {name}, which is not a context of tfp_realnvp: it cannot be saved as data.")
        self._weights(value.variables, path)
        arguments = {key: self.encode(item, f"{path}.{key}") for key, item in value.arguments.items()}
        return {"encoder": name, "arguments": arguments}

    def _deferred(self, value: tfp.util.DeferredTensor, path: str) -> dict[str, Any]:
        return {
            "deferred": self.encode(value.pretransformed_input, f"{path}.input"),
            # A TransformedVariable holds the bijector's method.
            "by": self.encode(getattr(value.transform_fn, "__self__", value.transform_fn), f"{path}.by"),
        }

    def _weights(self, variables: Sequence[tf.Variable], path: str) -> None:
        for index, variable in enumerate(variables):
            self.tensors[f"{path}.{index}"] = np.asarray(variable)

    def _object(self, value: Any, path: str) -> dict[str, Any]:
        name = type(value).__name__.lstrip("_")  # TFP's plain twins of CompositeTensor classes: _Chain, ...
        is_own = type(value) is OWN_CLASSES.get(name)
        cls = find_class(OWN_PREFIX + name if is_own else name)
        is_plain_twin = cls is not None and type(value).__name__ == f"_{name}" and issubclass(cls, type(value))
        if cls is None or not (type(value) is cls or is_plain_twin):
            raise TypeError(
                f"{path} is a {type(value).__module__}.{type(value).__qualname__}, which is neither "
                "tfp_realnvp's nor one of TFP's that only keep their arguments: it cannot be saved as data."
            )
        if isinstance(value, AutoregressiveCategorical):
            self._weights(value.network.weights, path)
        signature = inspect.signature(cls.__init__).parameters
        arguments = {
            key: self.encode(argument, f"{path}.{key}")
            for key, argument in (_plain(value.parameters) if is_own else value.parameters).items()
            if key in signature and argument is not signature[key].default
        }
        return {"class": OWN_PREFIX + name if is_own else name, "arguments": arguments}


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same with Python's numbers for numpy's."""
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in arguments.items()}
