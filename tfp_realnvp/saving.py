"""A flow as data: a JSON recipe and named tensors, and one file of both. Nothing in it is executable."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import itertools
import json
import os
import pathlib
import secrets
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import bijectors, conditioners, contexts, transforms
from tfp_realnvp.distributions.autoregressive_categorical import AutoregressiveCategorical
from tfp_realnvp.distributions.flow import Flow
from tfp_realnvp.distributions.mixed import Mixed
from tfp_realnvp.distributions.noise import Noise
from tfp_realnvp.masks import Mask
from tfp_realnvp.parents import checked_parents
from tfp_realnvp.saved_classes import BIJECTORS, DISTRIBUTIONS

__all__ = ["FORMAT_VERSION", "LoadError", "from_config", "load", "save", "to_config"]


FORMAT_VERSION = 2
_OWN_CLASSES: dict[str, Any] = {
    "AutoregressiveCategorical": AutoregressiveCategorical,
    "Flow": Flow,
    "Mixed": Mixed,
    "Noise": Noise,
    **{name: getattr(bijectors, name) for name in bijectors.__all__ if inspect.isclass(getattr(bijectors, name))},
}
_OWN_PREFIX = "tfp_realnvp."  # tells our Permute from TFP's
_CONDITIONERS = {name: getattr(conditioners, name) for name in ("conv_resnet", "mlp", "residual_mlp")}
_CONTEXTS = {name: getattr(contexts, name) for name in ("ClassContext", "FeatureContext")}
_TRANSFORMS = {name: getattr(transforms, name) for name in ("Additive", "Affine", "RationalQuadraticSpline")}
# Those of our bijectors that make variables of a size that is only a number, if they are not given them.
_VARIABLES = {
    "ActNorm": ("shift", "log_scale"),
    "LULinear": ("triangles", "log_diagonal"),
    "MarginalSpline": ("spline_parameters",),
}
_ARRAY_DTYPES = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_ACTIVATIONS = frozenset(
    [
        "elu",
        "exponential",
        "gelu",
        "hard_sigmoid",
        "leaky_relu",
        "linear",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "softmax",
        "softplus",
        "softsign",
        "swish",
        "tanh",
    ]
)
_MEMBERS = {"flow.json": 1 << 27, "weights.safetensors": 1 << 32}  # and the bytes they may have
_MAX_DEPTH = 100  # of the configuration: an object within an object


class LoadError(ValueError):
    """The file is not a saved flow, is damaged, or was written in a format this version does not read."""


def save(flow: tfd.Distribution | tfb.Bijector, path: str | os.PathLike[str]) -> None:
    """Writes a distribution or bijector to one file: `flow.json` and `weights.safetensors` in a zip.

    It must consist of TFP's own classes and this library's; masks, permutations and other fixed
    arrays are kept with it, and an object that occurs twice is stored once. The file appears whole or
    not at all.

    Args:
        flow: What to save.
        path: The file to write; an existing one is replaced.

    Raises:
        TypeError: If a part, such as a function of your own, cannot be written as data. The message
            names it. `tf.train.Checkpoint` saves the variables of such a flow.
    """
    config, tensors = to_config(flow)
    weights = safetensors.numpy.save(tensors)
    head = {
        "format": FORMAT_VERSION,
        "versions": {name: metadata.version(name) for name in ("tfp-realnvp", "tensorflow", "tensorflow-probability")},
        "sha256": {"weights.safetensors": hashlib.sha256(weights).hexdigest()},
        "flow": config,
    }
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("flow.json", json.dumps(head, indent=1))
                archive.writestr("weights.safetensors", weights)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike[str]) -> Any:
    """Reads what `save` wrote; the result gives the same `log_prob`.

    Args:
        path: A file written by `save`.

    Raises:
        FileNotFoundError: If there is no such file.
        LoadError: If it is not a saved flow, is damaged, or has another format version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            head = json.loads(_read(archive, "flow.json"))
            weights = _read(archive, "weights.safetensors")
    except (FileNotFoundError, PermissionError):
        raise
    except (
        zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, ValueError, NotImplementedError, RuntimeError,
    ) as error:  # fmt: skip
        raise LoadError(f"{path} is not a saved flow or is damaged: {error}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT_VERSION:
        found = head.get("format") if isinstance(head, dict) else None
        raise LoadError(f"{path} has format version {found!r}; this version reads {FORMAT_VERSION}.")
    try:
        if hashlib.sha256(weights).hexdigest() != head["sha256"]["weights.safetensors"]:
            raise LoadError("it is damaged: the weights do not match their SHA-256.")
        return from_config(head["flow"], safetensors.numpy.load(weights))
    except LoadError as error:
        raise LoadError(f"{path}: {error}") from error
    except (KeyError, TypeError, safetensors.SafetensorError) as error:
        raise LoadError(f"{path} is damaged or incomplete: {type(error).__name__}: {error}") from error


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member that is there once, packed as `save` packs it, and no larger than it may be."""
    found = [info for info in archive.infolist() if info.filename == name]
    if len(found) != 1:
        raise zipfile.BadZipFile(f"{name} is there {len(found)} times")
    if found[0].compress_type != zipfile.ZIP_STORED:  # so that it is as large as the file holds bytes of it
        raise zipfile.BadZipFile(f"{name} is compressed")
    if found[0].file_size > _MEMBERS[name]:
        raise zipfile.BadZipFile(f"{name} is larger than {_MEMBERS[name]} bytes")
    return archive.read(found[0])


def to_config(obj: tfd.Distribution | tfb.Bijector) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns `obj` as a JSON value and a dict of named arrays.

    Raises:
        TypeError: If a part cannot be written as data.
    """
    writer = _Writer()
    config = writer.encode(obj, "flow")
    if _is_too_deep(config):
        raise TypeError(f"flow is more than {_MAX_DEPTH} objects deep; a chain of all layers at once is not.")
    return config, writer.tensors


def structure_hash(flow: tfd.Distribution | tfb.Bijector) -> str:
    """Returns the SHA-256 of what a flow is but for the values of its variables, what these began at, and names.

    Of a flow with parts of one's own it is that of the classes of its parts, and of permutations.
    """
    try:
        structure = _bare(*to_config(flow))
    except TypeError:
        structure = [
            [
                type(part).__qualname__,
                np.asarray(part.permutation).tolist() if isinstance(part, tfb.Permute) else None,
            ]
            for part in (flow, *flow.submodules)
        ]
    return hashlib.sha256(json.dumps(structure, sort_keys=True).encode()).hexdigest()


def _bare(config: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    """The same configuration without names, some of which Keras makes up, and seeds of what variables begin at.

    Constants are there as their values.
    """
    if isinstance(config, dict) and "tensor" in config:
        return tensors[config["tensor"]].tolist()
    if isinstance(config, dict):
        return {key: _bare(value, tensors) for key, value in config.items() if key not in ("name", "seed")}
    return [_bare(value, tensors) for value in config] if isinstance(config, list) else config


def from_config(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Any:
    """Builds what `to_config` took apart.

    Raises:
        LoadError: If the configuration names what this version does not know, or tensors do not fit it.
    """
    if _is_too_deep(config):
        raise LoadError("its configuration is nested too deeply.")
    try:
        return _Reader(tensors).decode(config)
    except LoadError:
        raise
    except Exception as error:  # of what TFP's constructors are given anything may come
        raise LoadError(f"it is damaged or incomplete: {type(error).__name__}: {error}") from error


def _is_too_deep(config: Any) -> bool:
    level = [config]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True


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
        if type(value) is not _TRANSFORMS.get(name):
            raise TypeError(f"{path} is a {name}, which is not a transform of tfp_realnvp: it cannot be saved as data.")
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(_TRANSFORMS[name])}
        return {"transform": name, "arguments": _plain(fields)}

    def _conditioner(self, value: conditioners.Conditioner, path: str) -> dict[str, Any]:
        if (activation := value.recipe.get("activation")) not in _ACTIVATIONS:
            raise TypeError(
                f"{path} has the activation {activation!r}, which cannot be saved as data: only the names "
                f"{', '.join(sorted(_ACTIVATIONS))} can."
            )
        self._weights(value.network.weights, path)
        return {"conditioner": _plain(value.recipe), "context": self.encode(value.context, f"{path}.context")}

    def _context(self, value: contexts.Context, path: str) -> dict[str, Any]:
        name = type(value).__name__
        if type(value) is not _CONTEXTS.get(name):
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
        is_own = type(value) is _OWN_CLASSES.get(name)
        cls = _find_class(_OWN_PREFIX + name if is_own else name)
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
            for key, argument in value.parameters.items()
            if key in signature and argument is not signature[key].default
        }
        return {"class": _OWN_PREFIX + name if is_own else name, "arguments": arguments}


class _Reader:
    """JSON values to objects. Only the classes and functions named above are ever called.

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
                return np.array(items, _find("dtype", dtype, dict.fromkeys(_ARRAY_DTYPES, dtype)))
            case {"tensor": path}:
                return tf.constant(self._tensors[path])
            case {"variable": path, "trainable": trainable, "name": name}:
                return tf.Variable(self._tensors[path], trainable=trainable, name=name)
            case {"transform": name, "arguments": arguments}:
                return _find("transform", name, _TRANSFORMS)(**arguments)
            case {"conditioner": recipe, "context": context, "path": path}:
                return self._conditioner(dict(recipe), self.decode(context), path)
            case {"encoder": name, "arguments": arguments, "path": path}:
                arguments = {k: self.decode(v) for k, v in arguments.items()}
                function = _find("context", name, _CONTEXTS)
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
                cls = _find_class(name)
                if cls is None:
                    raise LoadError(f"unknown class {name!r}: the file was written by another version.")
                arguments = {key: self.decode(argument) for key, argument in arguments.items()}
                if any(arguments.get(key) is None for key in _VARIABLES.get(name.removeprefix(_OWN_PREFIX), ())):
                    raise LoadError(f"a {name} has no variables.")
                if cls is AutoregressiveCategorical:
                    self._expect(value["path"], _num_weights_of_classes(**arguments))
                built = cls(**arguments)
                if isinstance(built, AutoregressiveCategorical):
                    self._assign(built.network.weights, value["path"])
                return built
            case {"dtype": dtype}:
                return tf.as_dtype(dtype)
            case {"dict": items}:
                return {str(key): self.decode(item) for key, item in items}
        raise LoadError(f"unknown entry with the keys {sorted(value)}.")

    def _conditioner(self, recipe: dict[str, Any], context: Any, path: str) -> conditioners.Conditioner:
        function = _find("conditioner", recipe.pop("function"), _CONDITIONERS)
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
    if recipe.get("activation") not in _ACTIVATIONS:
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


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same with Python's numbers for numpy's."""
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in arguments.items()}


def _find(what: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise LoadError(f"unknown {what} {name!r}: the file was written by another version.")
    return known[name]


def _find_class(name: str) -> Any:
    """The class of this library or of TFP with that public name, or None."""
    if name.startswith(_OWN_PREFIX):
        return _OWN_CLASSES.get(name.removeprefix(_OWN_PREFIX))
    for module, base, names in [(tfb, tfb.Bijector, BIJECTORS), (tfd, tfd.Distribution, DISTRIBUTIONS)]:
        cls = getattr(module, name, None) if name in names else None
        if inspect.isclass(cls) and issubclass(cls, base):
            return cls
    return None
