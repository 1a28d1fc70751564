"""A LiteRT graph that anybody may have made: checked against what our exports hold, and written anew.

The runtime trusts much of a graph: some of those that were changed at random end the process. So each is read here,
in Python, within bounds, and only what is known goes into the graph that the runtime sees: one subgraph of built-in
operators that `export` gives, each with the types and constants it takes, in an order in which nothing is used before
it is made. What is not looked at here is not in it: metadata, signatures, quantization, custom operators, control flow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipelines.engines.signatures import ROWS, Entry, Signature

__all__ = ["GraphError", "checked"]

_MAX_TENSORS, _MAX_CODES, _MAX_RANK = 400_000, 100, 5
# Numbers of a tensor with so many rows as are asked of a graph at a time.
_MAX_ROWS, _MAX_SIZE = 1 << 17, 1 << 33
_DTYPES: dict[int, tuple[str, np.dtype[Any]]] = {
    schema.TensorType.FLOAT32: ("f", np.dtype("<f4")),
    schema.TensorType.INT32: ("i", np.dtype("<i4")),
    schema.TensorType.INT64: ("l", np.dtype("<i8")),
    schema.TensorType.BOOL: ("b", np.dtype("bool")),
}
_LETTERS = {"float32": "f", "int32": "i"}
# Of each operator, the types of its inputs and its output: f float32, i int32, l int64, b bool; a capital is a
# constant, - nothing, + one or more of the type before.
_UNARY = ("f:f",)
_BINARY = ("ff:f", "ii:i")
_COMPARISON = ("ff:b", "ii:b")
_TYPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("ABS", "EXP", "LOG", "NEG", "RELU", "SOFTMAX", "SQRT", "TANH", "ZEROS_LIKE"), _UNARY),
    **dict.fromkeys(("ADD", "MAXIMUM", "MINIMUM", "MUL", "SUB"), _BINARY),
    **dict.fromkeys(("BATCH_MATMUL", "DIV", "SQUARED_DIFFERENCE"), ("ff:f",)),
    **dict.fromkeys(("EQUAL", "GREATER", "GREATER_EQUAL", "LESS_EQUAL"), _COMPARISON),
    "BROADCAST_ARGS": ("ii:i",),
    "BROADCAST_TO": ("fi:f", "fl:f", "ii:i"),
    "CAST": ("b:f", "b:i", "i:f"),
    "CONCATENATION": ("f+:f", "i+:i"),
    "CUMSUM": ("fI:f",),
    "FILL": ("if:f", "lf:f"),
    "FULLY_CONNECTED": ("fFF:f", "fF-:f"),
    "GATHER": ("fi:f", "fl:f", "ii:i"),
    "ONE_HOT": ("iIFF:f",),
    "PACK": ("i+:i",),
    "REDUCE_MAX": ("fI:f",),
    "RESHAPE": ("fi:f", "ii:i"),
    "SELECT_V2": ("bff:f", "bii:i"),
    "SHAPE": ("f:i", "f:l", "i:i"),
    "SLICE": ("fII:f", "iII:i"),
    "STRIDED_SLICE": ("fIII:f", "iIII:i"),
    "SUM": ("fI:f", "iI:i"),
    "TRANSPOSE": ("fI:f", "iI:i"),
}
_ENTRYWISE = frozenset(
    name
    for name, forms in _TYPES.items()
    if forms in (_UNARY, _BINARY, _COMPARISON) or name in ("CAST", "CUMSUM", "DIV", "SELECT_V2", "SQUARED_DIFFERENCE")
)
_VERSIONS = {"BROADCAST_TO": 2}  # others have 1
_FLAG: Callable[[Any], bool] = lambda value: value in (False, True)  # noqa: E731
_NEVER: Callable[[Any], bool] = lambda value: not value  # noqa: E731
_FUSED = {"fusedActivationFunction": lambda value: value in (0, 1)}  # nothing or ReLU
_AXIS = {"axis": lambda value: -_MAX_RANK <= value < _MAX_RANK}
_MASK: Callable[[Any], bool] = lambda value: 0 <= value < 1 << _MAX_RANK  # noqa: E731
# Of each operator that has options, their type, and which values they take.
_OPTIONS: dict[str, tuple[str, dict[str, Callable[[Any], bool]]]] = {
    "ADD": ("AddOptions", _FUSED | {"potScaleInt16": _FLAG}),
    "SUB": ("SubOptions", _FUSED | {"potScaleInt16": _FLAG}),
    "MUL": ("MulOptions", _FUSED),
    "DIV": ("DivOptions", _FUSED),
    "BATCH_MATMUL": ("BatchMatMulOptions", {"adjX": _FLAG, "adjY": _FLAG, "asymmetricQuantizeInputs": _NEVER}),
    "CONCATENATION": ("ConcatenationOptions", _FUSED | _AXIS),
    "CUMSUM": ("CumsumOptions", {"exclusive": _FLAG, "reverse": _FLAG}),
    "FULLY_CONNECTED": (
        "FullyConnectedOptions",
        _FUSED | {"weightsFormat": _NEVER, "keepNumDims": _FLAG, "asymmetricQuantizeInputs": _NEVER},
    ),
    "GATHER": ("GatherOptions", _AXIS | {"batchDims": _NEVER}),
    "ONE_HOT": ("OneHotOptions", _AXIS),
    "PACK": ("PackOptions", _AXIS | {"valuesCount": lambda value: value > 0}),
    "REDUCE_MAX": ("ReducerOptions", {"keepDims": _FLAG}),
    "SUM": ("ReducerOptions", {"keepDims": _FLAG}),
    "SHAPE": ("ShapeOptions", {"outType": lambda value: value in (schema.TensorType.INT32, schema.TensorType.INT64)}),
    "SOFTMAX": ("SoftmaxOptions", {"beta": lambda value: 0 < value < math.inf}),
    "STRIDED_SLICE": (
        "StridedSliceOptions",
        dict.fromkeys(("beginMask", "endMask", "shrinkAxisMask"), _MASK)
        | dict.fromkeys(("ellipsisMask", "newAxisMask", "offset"), _NEVER),
    ),
}
_NAMES = {getattr(schema.BuiltinOperator, name): name for name in _TYPES}


class GraphError(Exception):
    """The graph is not one that our exports give; the message says what is wrong."""


class _Buffer(schema.BufferT):  # type: ignore[misc]
    """Constants at addresses that are multiples of 16, which the schema asks for and its Python code leaves out."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802
        vector = None
        if self.data is not None:
            data = self.data.tobytes()
            builder.StartVector(1, len(data), 16)
            builder.head = builder.Head() - len(data)
            builder.Bytes[builder.Head() : builder.Head() + len(data)] = data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        buffer: int = schema.BufferEnd(builder)
        return buffer


def checked(content: bytes, signature: Signature) -> bytes:
    """Returns a graph that does what `content` does, written anew from what was checked of it.

    Args:
        content: A LiteRT flatbuffer.
        signature: What it is to take and give.

    Raises:
        GraphError: If it is none, or holds anything that our exports don't.
    """
    try:
        model = _Reader(content).model(signature)
        builder = flatbuffers.Builder(len(content) + 1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
    except GraphError:
        raise
    except Exception as error:  # flatbuffers does not verify: an offset may lead anywhere, and to any exception
        raise GraphError(f"it is no graph ({type(error).__name__})") from error


class _Reader:
    """Takes a graph apart."""

    def __init__(self, content: bytes) -> None:
        if content[4:8] != b"TFL3":
            raise GraphError("it is no graph")
        self._size = len(content)
        self._model = schema.Model.GetRootAsModel(content, 0)
        self._tensors: list[Any] = []
        self._letters: list[str] = []
        self._constants: list[np.ndarray | None] = []
        self._sizes: dict[int, Any] = {}  # constants among what BROADCAST_ARGS is given, by its output

    def model(self, signature: Signature) -> Any:
        """Returns what of the graph is known, for `Pack`."""
        source = self._model
        _expect(source.Version() == 3 and source.SubgraphsLength() == 1, "it has several subgraphs")
        graph = source.Subgraphs(0)
        _expect(graph.TensorsLength() <= _MAX_TENSORS and graph.OperatorsLength() <= _MAX_TENSORS, "it is too large")
        buffers = self._read_buffers()
        self._read_tensors(graph, buffers)
        names = self._read_codes()
        inputs, outputs = self._interface(graph, signature)
        result = schema.ModelT()
        result.version, result.buffers = 3, buffers
        result.operatorCodes = [_code(name) for name in names]
        result.subgraphs = [schema.SubGraphT()]
        result.subgraphs[0].tensors = self._tensors
        result.subgraphs[0].inputs, result.subgraphs[0].outputs = inputs, outputs
        result.subgraphs[0].operators = self._read_operators(graph, names, inputs, outputs)
        return result

    def _read_buffers(self) -> list[Any]:
        count = self._model.BuffersLength()
        _expect(0 < count <= _MAX_TENSORS + 100, "it is too large")
        found, total = [], 0
        for index in range(count):
            source, buffer = self._model.Buffers(index), _Buffer()
            _expect(not source.Offset() and not source.Size(), "it has constants outside of itself")
            if source.DataLength():
                total += source.DataLength()
                _expect(total <= self._size, "it has constants that overlap")
                data = source.DataAsNumpy()
                _expect(len(data) == source.DataLength() and index > 0, "it has constants where none may be")
                buffer.data = data
            found.append(buffer)
        return found

    def _read_tensors(self, graph: Any, buffers: Sequence[Any]) -> None:
        for index in range(graph.TensorsLength()):
            source, tensor = graph.Tensors(index), schema.TensorT()
            rank, signature_rank = source.ShapeLength(), source.ShapeSignatureLength()
            _expect(rank <= _MAX_RANK and signature_rank in (0, rank), "a tensor has too many axes")
            _expect(source.Type() in _DTYPES, "a tensor has a type that is not known")
            _expect(not source.IsVariable() and source.Sparsity() is None, "a tensor is sparse or a variable")
            shape = source.ShapeAsNumpy().tolist() if rank else []
            signature = source.ShapeSignatureAsNumpy().tolist() if signature_rank else shape
            _expect(all(size >= 0 for size in shape) and all(size >= ROWS for size in signature), "a shape is negative")
            # More than one unknown size: what the converter did not find out, of which one is the number of rows.
            full = math.prod(size for size in signature if size != ROWS) * (_MAX_ROWS if ROWS in signature else 1)
            _expect(math.prod(shape) <= _MAX_SIZE and full <= _MAX_SIZE, "a tensor is too large")
            letter, dtype = _DTYPES[source.Type()]
            place = source.Buffer()
            _expect(place < len(buffers), "a tensor has no buffer")
            constant = buffers[place].data
            if constant is not None:
                _expect(
                    constant.nbytes == math.prod(shape) * dtype.itemsize, "a constant has another size than its shape"
                )
                _expect(ROWS not in signature, "a constant has as many rows as are asked for")
                constant = constant.view(dtype).reshape(shape) if letter in "il" else constant
            name = source.Name() or b""
            _expect(len(name) <= 1000, "a name is too long")
            tensor.name, tensor.type, tensor.buffer = name, source.Type(), place
            tensor.hasRank = source.HasRank()
            tensor.shape = np.array(shape, np.int32) if rank else None
            tensor.shapeSignature = np.array(signature, np.int32) if signature_rank else None
            self._tensors.append(tensor)
            self._letters.append(letter)
            self._constants.append(constant)

    def _read_codes(self) -> list[str]:
        _expect(self._model.OperatorCodesLength() <= _MAX_CODES, "it has too many operators")
        names = []
        for index in range(self._model.OperatorCodesLength()):
            source = self._model.OperatorCodes(index)
            code = max(source.BuiltinCode(), source.DeprecatedBuiltinCode())
            _expect(code in _NAMES and source.CustomCode() is None, f"it has the operator {code}")
            name = _NAMES[code]
            _expect(source.Version() == _VERSIONS.get(name, 1), f"{name} has the version {source.Version()}")
            names.append(name)
        return names

    def _interface(self, graph: Any, signature: Signature) -> tuple[np.ndarray, np.ndarray]:
        """The places of the inputs and outputs among the tensors."""
        _expect(graph.InputsLength() <= len(signature.inputs), "it has too many inputs")
        inputs = self._places(graph.InputsLength(), graph.InputsAsNumpy)
        names = [self._tensors[place].name.decode() for place in inputs]
        _expect(len(set(names)) == len(names), "two inputs have one name")
        for name, place in zip(names, inputs, strict=True):
            _expect(name in signature.inputs, "it has an input that is not known")
            self._expect_entry(place, signature.inputs[name], f"its input {name}")
            _expect(self._constants[place] is None, f"its input {name} is a constant")
        _expect(graph.OutputsLength() == len(signature.outputs), "it has other outputs")
        outputs = self._places(graph.OutputsLength(), graph.OutputsAsNumpy)
        for place, entry in zip(sorted(outputs, key=self._rank), signature.outputs, strict=True):
            self._expect_entry(place, entry, "an output")
        return np.array(inputs, np.int32), np.array(outputs, np.int32)

    def _expect_entry(self, place: int, entry: Entry, what: str) -> None:
        tensor = self._tensors[place]
        signature = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
        shape = () if signature is None else tuple(signature.tolist())
        _expect(
            self._letters[place] == _LETTERS[entry.dtype] and shape == entry.shape, f"{what} has another type or shape"
        )

    def _places(self, length: int, values: Callable[[], Any], *, may_lack: bool = False) -> list[int]:
        """Indices of tensors; -1 for none where there may be none."""
        _expect(length <= len(self._tensors), "it has an operator with too many inputs")
        places: list[int] = values().tolist() if length else []
        least = -1 if may_lack else 0
        _expect(all(least <= place < len(self._tensors) for place in places), "it speaks of a tensor that is not there")
        return places

    def _rank(self, place: int) -> int:
        return 0 if self._tensors[place].shape is None else len(self._tensors[place].shape)

    def _read_operators(self, graph: Any, names: Sequence[str], inputs: Any, outputs: Any) -> list[Any]:
        is_known = [constant is not None for constant in self._constants]
        for place in inputs:
            is_known[place] = True
        found = []
        for index in range(graph.OperatorsLength()):
            source = graph.Operators(index)
            _expect(source.OpcodeIndex() < len(names), "it has an operator without a name")
            name = names[source.OpcodeIndex()]
            takes = self._places(source.InputsLength(), source.InputsAsNumpy, may_lack=name == "FULLY_CONNECTED")
            gives = self._places(source.OutputsLength(), source.OutputsAsNumpy)
            _expect(all(place < 0 or is_known[place] for place in takes), f"{name} takes what is not made yet")
            _expect(len(gives) == 1 and not is_known[gives[0]], f"{name} gives what is there already")
            _expect(
                not source.CustomOptionsLength()
                and not source.IntermediatesLength()
                and not source.MutatingVariableInputsLength()
                and not source.BuiltinOptions2Type()
                and not source.LargeCustomOptionsSize(),
                f"{name} has options that are not known",
            )
            self._check_types(name, takes, gives[0])
            if name in _ENTRYWISE:
                self._check_shapes(name, takes, gives[0])
            operator = schema.OperatorT()
            operator.opcodeIndex = source.OpcodeIndex()
            operator.inputs, operator.outputs = np.array(takes, np.int32), np.array(gives, np.int32)
            options = _options(name, source)
            if options is not None:
                operator.builtinOptionsType = getattr(schema.BuiltinOptions, _OPTIONS[name][0])
                operator.builtinOptions = options
            self._check_constants(name, takes, gives[0], options)
            is_known[gives[0]] = True
            found.append(operator)
        _expect(all(is_known[place] for place in outputs), "an output is never made")
        return found

    def _check_types(self, name: str, takes: Sequence[int], gives: int) -> None:
        said = "".join("-" if place < 0 else self._letters[place] for place in takes)
        constant = [place >= 0 and self._constants[place] is not None for place in takes]
        for form in _TYPES[name]:
            wanted, result = form.split(":")
            if wanted.endswith("+"):
                wanted = wanted[0] * max(1, len(said))
            fits = wanted.lower() == said and all(
                is_constant or not letter.isupper() for letter, is_constant in zip(wanted, constant, strict=True)
            )
            if fits and self._letters[gives] == result:
                return
        raise GraphError(f"{name} takes or gives other types")

    def _check_shapes(self, name: str, takes: Sequence[int], gives: int) -> None:
        """That an operator which goes entry by entry says of its output what follows from what its inputs say."""
        shapes = [() if self._tensors[place].shape is None else self._tensors[place].shape for place in (*takes, gives)]
        try:
            fits = np.broadcast_shapes(*map(tuple, shapes[:-1])) == tuple(shapes[-1])
        except ValueError:
            fits = False
        _expect(fits, f"{name} takes tensors whose shapes do not fit")

    def _check_constants(self, name: str, takes: Sequence[int], gives: int, options: Any) -> None:
        """That axes, indices and sizes that are constants are those of the tensors they are for."""
        rank = self._rank(takes[0])
        numbers: list[Any] = [
            self._constants[place] if place >= 0 and self._letters[place] in "il" else None for place in takes
        ]
        match name:
            case "SUM" | "REDUCE_MAX" | "CUMSUM":
                axes = np.ravel(numbers[1])
                _expect(len(axes) <= rank and bool((np.abs(axes + 0.5) < rank).all()), f"{name} has an axis too many")
                _expect(name != "CUMSUM" or len(axes) == 1, f"{name} has several axes")
            case "TRANSPOSE":
                _expect(sorted(np.ravel(numbers[1]).tolist()) == list(range(rank)), f"{name} is no permutation")
            case "SLICE" | "STRIDED_SLICE":
                for bound in numbers[1:]:
                    _expect(np.shape(bound) == (rank,), f"{name} has bounds of other axes")
                _expect(name == "SLICE" or bool((numbers[3] == 1).all()), f"{name} leaves entries out")
            case "GATHER":
                axis = options.axis + rank if options.axis < 0 else options.axis
                _expect(0 <= axis < rank, f"{name} has an axis too many")
                if numbers[1] is not None:
                    size = int(self._tensors[takes[0]].shape[axis])
                    _expect(bool(((numbers[1] >= 0) & (numbers[1] < size)).all()), f"{name} reaches beyond its tensor")
            case "CONCATENATION" | "PACK":
                most = rank + (name == "PACK")
                _expect(-most <= options.axis < most, f"{name} has an axis too many")
                _expect(all(self._rank(place) == rank for place in takes), f"{name} joins tensors of different ranks")
                _expect(name != "PACK" or options.valuesCount == len(takes), f"{name} has another number of tensors")
            case "ONE_HOT":
                _expect(numbers[1].size == 1 and 0 < numbers[1].ravel()[0] <= 1 << 20, f"{name} has a depth too large")
                _expect(all(self._rank(place) == 0 for place in takes[2:]), f"{name} has several values")
            case "FULLY_CONNECTED" | "BATCH_MATMUL":
                _expect(rank >= 2 and self._rank(takes[1]) >= 2, f"{name} multiplies no matrices")
                if name == "FULLY_CONNECTED":
                    rows, _ = self._tensors[takes[1]].shape
                    bias = None if takes[2] < 0 else self._tensors[takes[2]].shape
                    _expect(bias is None or (len(bias) == 1 and bias[0] == rows), f"{name} has a bias of another size")
            case "BROADCAST_ARGS":
                self._sizes[gives] = next((sizes for sizes in numbers if sizes is not None), np.ones(0))
            case "BROADCAST_TO" if takes[1] in self._sizes:  # the runtime aborts where sizes do not fit
                tensor, sizes = self._tensors[gives], self._sizes[takes[1]]
                known = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
                _expect(known is not None and len(sizes) <= len(known), f"{name} has sizes of other axes")
                fits = (sizes == 1) | (sizes == known[len(known) - len(sizes) :])
                if (known == ROWS).sum() > 1:  # the converter did not find out which of them are the rows
                    fits |= (known[len(known) - len(sizes) :] == ROWS) & (sizes > 0)
                _expect(bool(fits.all()), f"{name} has sizes that do not fit")
            case "RESHAPE" | "BROADCAST_TO" | "FILL":
                sizes = numbers[0 if name == "FILL" else 1]
                if sizes is not None:
                    limits = np.ravel(sizes).astype(np.float64)
                    _expect(
                        len(limits) <= _MAX_RANK and bool((limits >= ROWS).all()), f"{name} has a shape that cannot be"
                    )
                    _expect(float(np.prod(np.abs(limits))) <= _MAX_SIZE, f"{name} makes a tensor that is too large")
            case "SHAPE":
                _expect(_DTYPES[options.outType][0] == self._letters[gives], f"{name} gives another type")


def _expect(holds: bool, problem: str) -> None:
    if not holds:
        raise GraphError(problem)


def _code(name: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    code.version = _VERSIONS.get(name, 1)
    return code


def _options(name: str, source: Any) -> Any:
    """The options of an operator, or None if it has none that matter."""
    if name not in _OPTIONS:
        return None
    kind, takes = _OPTIONS[name]
    _expect(source.BuiltinOptionsType() == getattr(schema.BuiltinOptions, kind), f"{name} has the options of another")
    table = source.BuiltinOptions()
    found, options = getattr(schema, kind)(), getattr(schema, f"{kind}T")()
    found.Init(table.Bytes, table.Pos)
    for option, holds in takes.items():
        value = getattr(found, option[0].upper() + option[1:])()
        _expect(holds(value), f"{name} has {option} {value}")
        setattr(options, option, value)
    return options
