"""A flow put together from a JSON recipe and named tensors, which may be anybody's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp import conditioners
from tfp_realnvp.distributions.autoregressive_categorical import AutoregressiveCategorical
from tfp_realnvp.masks import Mask
from tfp_realnvp.parents import checked_parents
from tfp_realnvp.saved_parts import (
    ACTIVATIONS,
    CONDITIONERS,
    CONTEXTS,
    OWN_PREFIX,
    TRANSFORMS,
    LoadError,
    find,
    find_class,
    is_too_deep,
)

__all__ = ["from_config"]

# Those of our bijectors that make variables of a size that is only a number, if they are not given them.
_VARIABLES = {
    "ActNorm": ("shift", "log_scale"),
    "LULinear": ("triangles", "log_diagonal"),
    "MarginalSpline": ("spline_parameters",),
}
_ARRAY_DTYPES = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def from_config(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Any:
    """Builds what `to_config` took apart.

    Raises:
        LoadError: If the configuration names what this version does not know, or tensors do not fit it.
    """
    if is_too_deep(config):
        raise LoadError("its configuration is nested too deeply.")
    try:
        return _Reader(tensors).decode(config)
    except LoadError:
        raise
    except Exception as error:  # of what TFP's constructors are given anything may come
        raise LoadError(f"it is damaged or incomplete: {type(error).__name__}: {error}") from error


class _Reader:
    """JSON values to objects. Only the classes and functions in `saved_parts.py` are ever called.

    Nothing is built that is larger than the tensors that are there for it: a size is only a number.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self._tensors = tensors
        self._seen: dict[str, Any] = {}

    def decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "same_as" in value:
            return self._seen[value["same_as"]]
        result = self._decode_dict(value)
        if "path" in value:
            self._seen[value["path"]] = result
        return result

    def _decode_dict(self, value: dict[str, Any]) -> Any:
        match value:
            case {"mask": kept}:
                return Mask(np.array(kept))
            case {"array": items, "dtype": dtype}:
                return np.array(items, find("dtype", dtype, dict.fromkeys(_ARRAY_DTYPES, dtype)))
            case {"tensor": path}:
                return tf.constant(self._tensors[path])
            case {"variable": path, "trainable": trainable, "name": name}:
                return tf.Variable(self._tensors[path], trainable=trainable, name=name)
            case {"transform": name, "arguments": arguments}:
                return find("transform", name, TRANSFORMS)(**arguments)
            case {"conditioner": recipe, "context": context, "path": path}:
                return self._conditioner(dict(recipe), self.decode(context), path)
            case {"encoder": name, "arguments": arguments, "path": path}:
                arguments = {k: self.decode(v) for k, v in arguments.items()}
                function = find("context", name, CONTEXTS)
                if name == "ClassContext":
                    self._expect(path, np.sum(arguments["num_classes"]) * arguments["embedding_size"])
                elif arguments["num_features"] != len(arguments["mean"]) or arguments["scale"] is None:
                    raise LoadError("a context has other features than it says.")
                encoder = function(**arguments)
                self._assign(encoder.variables, path)
                return encoder
            case {"deferred": value_, "by": transform_fn}:
                return tfp.util.DeferredTensor(self.decode(value_), self.decode(transform_fn))
            case {"class": name, "arguments": arguments}:
                cls = find_class(name)
                if cls is None:
                    raise LoadError(f"unknown class {name!r}: the file was written by another version.")
                arguments = {key: self.decode(argument) for key, argument in arguments.items()}
                if any(arguments.get(key) is None for key in _VARIABLES.get(name.removeprefix(OWN_PREFIX), ())):
                    raise LoadError(f"a {name} has no variables.")
                if cls is AutoregressiveCategorical:
                    self._expect(value["path"], _num_weights_of_classes(**arguments))
                built = cls(**arguments)
                if isinstance(built, AutoregressiveCategorical):
                    self._assign(built.network.weights, value["path"])
                return built
            case {"dtype": dtype}:
                return tf.as_dtype(dtype)
            case {"tuple": items}:
                return tuple(self.decode(item) for item in items)
            case {"dict": items}:
                return {str(key): self.decode(item) for key, item in items}
        raise LoadError(f"unknown entry with the keys {sorted(value)}.")

    def _conditioner(self, recipe: dict[str, Any], context: Any, path: str) -> conditioners.Conditioner:
        function = find("conditioner", recipe.pop("function"), CONDITIONERS)
        _check_recipe(recipe)
        if "mask" in recipe:
            recipe["mask"] = Mask(np.array(recipe["mask"]))
        self._expect(path, _num_weights(recipe, 0 if context is None else context.size))
        conditioner: conditioners.Conditioner = function(**recipe, context=context)
        self._assign(conditioner.network.weights, path)
        return conditioner

    def _expect(self, path: str, wanted: Any) -> None:
        """Refuses to build a network for which there are fewer weights than it would have."""
        there, number = 0, 0
        while (tensor := self._tensors.get(f"{path}.{number}")) is not None:
            there, number = there + tensor.size, number + 1
        if not 0 <= wanted <= there:
            raise LoadError(f"{path} would have {wanted} weights, and {there} are there.")

    def _assign(self, variables: Sequence[tf.Variable], path: str) -> None:
        for index, variable in enumerate(variables):
            tensor = self._tensors[f"{path}.{index}"]
            if tensor.shape != tuple(variable.shape):
                raise LoadError(f"tensor {path}.{index} has shape {tensor.shape}, expected {tuple(variable.shape)}.")
            variable.assign(tensor)


def _check_recipe(recipe: Mapping[str, Any]) -> None:
    """Refuses what is no plain value: of other JSON, Keras would make layers."""
    for name, value in recipe.items():
        items = value if name == "hidden_units" else [value]
        if name != "mask" and not all(item is None or isinstance(item, str | int | float) for item in items):
            raise LoadError(f"a conditioner has the {name} {value!r}.")
    if recipe.get("activation") not in ACTIVATIONS:
        raise LoadError(f"a conditioner has the unknown activation {recipe.get('activation')!r}.")


def _num_weights(recipe: Mapping[str, Any], context_size: int) -> Any:
    """How many weights the network of a conditioner has at least, scales and counters left out."""
    if "hidden_units" in recipe:
        outputs = recipe["num_moved"] * recipe["num_parameters"]
        sizes = [recipe["num_kept"] + context_size, *recipe["hidden_units"], outputs]
        return sum((before + 1) * after for before, after in itertools.pairwise(sizes))
    if "mask" in recipe:
        filters, (*_, channels) = recipe["filters"], recipe["mask"].event_shape
        block = (9 * filters + 1) * filters + (filters + 1) * filters
        ends = (9 * (channels + context_size) + 1) * filters + (9 * filters + 1) * channels * recipe["num_parameters"]
        return ends + recipe["num_blocks"] * block
    width, outputs = recipe["width"], recipe["num_moved"] * recipe["num_parameters"]
    ends = (recipe["num_kept"] + context_size + 1) * width + (width + 1) * outputs
    return ends + 2 * recipe["num_blocks"] * (width + 1) * width


def _num_weights_of_classes(
    num_classes: Sequence[int],
    width: int = 64,
    embedding_size: int = 8,
    parents: Sequence[Sequence[int]] | None = None,
    **_: Any,
) -> int:
    """How many weights an `AutoregressiveCategorical` has at least; it has less than four times as many."""
    columns, classes = len(num_classes), sum(num_classes)
    if min(num_classes) < 1:
        return -1
    within = columns * width * (embedding_size * columns + 2 * width)
    tables = sum(
        num_classes[parent] * count
        for count, some in zip(num_classes, checked_parents(parents, num_classes), strict=True)
        for parent in some
    )
    return classes * (embedding_size + width) + within + tables
