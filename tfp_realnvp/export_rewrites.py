"""What is done to a TensorFlow graph before the LiteRT converter sees it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

__all__ = ["prepared"]

# A product with a matrix of so many entries still costs less than the selection it stands for.
_MAX_PRODUCT_SIZE = 1 << 16


def prepared(traced: Any) -> tuple[Any, list[tf.Tensor], list[tf.Tensor]]:
    """Does before the converter what it does badly.

    Args:
        traced: A concrete function.

    Returns:
        The function as a `GraphDef` with its variables as constants, and its inputs and results in there.
    """
    frozen = _frozen(traced)
    graph = frozen.graph.as_graph_def()
    _count_axes_from_the_front(frozen.graph, graph)
    _compute_constants(frozen, graph)
    _multiply_instead_of_selecting(frozen.graph, graph)
    return graph, frozen.inputs, frozen.outputs


@dataclasses.dataclass(frozen=True)
class _Frozen:
    """A function whose graph has constants in the place of variables."""

    graph: tf.Graph
    inputs: list[tf.Tensor]
    outputs: list[tf.Tensor]


def _frozen(traced: Any) -> Any:
    """Does what `convert_variables_to_constants_v2` does, which takes ten times as long for a flow of seven couplings.

    That one is called where a graph calls functions or does more with its variables than read them.
    """
    graph = traced.graph.as_graph_def()
    captured = {placeholder.op.name: (placeholder, value) for value, placeholder in traced.graph.captures}
    uses = {use.type for entry, _ in captured.values() if entry.dtype == tf.resource for use in entry.consumers()}
    if graph.library.function or not uses <= {"ReadVariableOp"}:
        return convert_variables_to_constants_v2(traced)
    for node in graph.node:
        if node.op == "ReadVariableOp":
            _, variable = captured[node.input[0]]
            dtype = tf.as_dtype(node.attr["dtype"].type)
            _make_constant(node, tf.raw_ops.ReadVariableOp(resource=variable, dtype=dtype).numpy())
        elif node.name in captured and captured[node.name][0].dtype != tf.resource:
            _make_constant(node, captured[node.name][1].numpy())
    with tf.Graph().as_default() as frozen:
        tf.import_graph_def(graph, name="")
    inputs = [entry for entry in traced.inputs if entry.op.name not in captured]
    parts = ([frozen.get_tensor_by_name(entry.name) for entry in part] for part in (inputs, traced.outputs))
    return _Frozen(frozen, *parts)


def _count_axes_from_the_front(frozen: tf.Graph, graph: Any) -> None:
    """The converter folds a sum of constants over a negative axis to zero."""
    constants = {node.name: node for node in graph.node if node.op == "Const"}
    for operation in frozen.get_operations():
        if operation.type == "Sum" and operation.inputs[0].shape.rank is not None:
            node = constants.get(operation.inputs[1].op.name)
            if node is not None:
                axes = tf.make_ndarray(node.attr["value"].tensor)
                axes = np.where(axes < 0, axes + operation.inputs[0].shape.rank, axes).astype(axes.dtype)
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(axes))


def _compute_constants(frozen: Any, graph: Any) -> None:
    """Computes what does not depend on the inputs: the converter solves no linear equations, for one."""
    depends: dict[str, tf.Operation] = {}
    pending = [entry.op for entry in frozen.inputs]
    while pending:
        operation = pending.pop()
        if operation.name not in depends:
            depends[operation.name] = operation
            # What runs after an input cannot be computed without it, either: bodies of functions do.
            pending += operation._control_outputs
            pending += [use for result in operation.outputs for use in result.consumers()]
    found = {
        entry.name.removesuffix(":0"): entry  # so a GraphDef calls it
        for operation in depends.values()
        for entry in operation.inputs
        if entry.op.name not in depends and entry.op.type != "Const"
    }
    if not found:
        return
    with tf.compat.v1.Session(graph=frozen.graph) as session:
        values = session.run(found)
    for node in graph.node:
        for index, source in enumerate(node.input):
            if source in values:
                node.input[index] = f"{source.replace(':', '_')}/computed"
    for source, value in values.items():
        _make_constant(graph.node.add(name=f"{source.replace(':', '_')}/computed"), value)


def _multiply_instead_of_selecting(frozen: tf.Graph, graph: Any) -> None:
    """Permutations, masks and the columns of parameters become products with matrices of zeros and ones.

    They are exact for finite numbers, and XNNPACK, LiteRT's fast path, knows no gather: with one product after another
    it takes the whole of an affine flow, where it was handed pieces of two operators before and everything in between
    went through memory. Eight couplings of 64 units made 1.4 million rows a second with gathers, 1.8 with products.
    """
    nodes = {node.name: node for node in graph.node}
    for operation in frozen.get_operations():
        found = _selection(operation)
        if found is None:
            continue
        source, positions = found
        if source.shape[-1] * len(positions) > _MAX_PRODUCT_SIZE:
            continue
        matrix = graph.node.add(name=f"{operation.name}/selection")
        _make_constant(matrix, np.eye(source.shape[-1], dtype=np.float32)[:, positions])
        node = nodes[operation.name]
        node.Clear()
        node.name, node.op = operation.name, "MatMul"
        node.input.extend([source.name, matrix.name])
        node.attr["T"].type = tf.float32.as_datatype_enum


def _selection(operation: tf.Operation) -> tuple[tf.Tensor, np.ndarray] | None:
    """The tensor `[n, D]`, float32, and which of its entries an operation takes of every row, if it does just that."""
    if operation.type == "GatherV2":
        source, positions, axis = operation.inputs[0], *map(tf.get_static_value, operation.inputs[1:])
        is_along_rows = source.shape.rank == 2 and axis is not None and int(axis) in (-1, 1)
        if not is_along_rows or positions is None or np.ndim(positions) != 1:
            return None
    elif operation.type == "StridedSlice" and operation.inputs[0].op.type == "Reshape":
        # parameters[..., k] of a network's result, [n, moved * parameters] as [n, moved, parameters].
        shaped, (source, _) = operation.inputs[0], operation.inputs[0].op.inputs
        if source.shape.rank != 2 or shaped.shape.rank != 3 or shaped.shape[1:].num_elements() != source.shape[1]:
            return None
        masks = {name: operation.get_attr(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis")}
        is_last = operation.get_attr("shrink_axis_mask") == 2 and masks["ellipsis"] == 1 and masks["new_axis"] == 0
        begin = tf.get_static_value(operation.inputs[1])
        if not is_last or begin is None or len(begin) != 2 or masks["begin"] & 2:
            return None
        positions = np.arange(source.shape[1]).reshape(shaped.shape[1:])[:, begin[1]]
    else:
        return None
    if source.dtype != tf.float32 or source.shape[-1] is None:
        return None
    return source, positions


def _make_constant(node: Any, value: np.ndarray) -> None:
    name = node.name
    node.Clear()
    node.name, node.op = name, "Const"
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
