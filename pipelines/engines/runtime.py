"""The LiteRT interpreter of one graph, by the names of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["Runtime"]

# Rows in one call of the interpreter: what stands between two operators then stays in the processor's cache. With 63
# columns a thread made a third more rows than with whole blocks.
_ROWS_PER_CALL = 1_024


class Runtime:
    """Runs a graph in this process.

    Args:
        content: A LiteRT flatbuffer. The runtime trusts it.
        threads: How many it uses.

    Raises:
        RuntimeError, ValueError: If it is none that can be run.
    """

    def __init__(self, content: bytes, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()  # prints; later calls, perhaps in threads, do not
        details = self._interpreter.get_input_details()
        self._places = {entry["name"]: entry["index"] for entry in details}
        self._by_row = {entry["name"] for entry in details if entry["shape_signature"][0] < 0}
        self._outputs = [entry["index"] for entry in self._interpreter.get_output_details()]
        self._shapes: dict[str, tuple[int, ...]] = {}

    @property
    def inputs(self) -> list[str]:
        """What it takes; what its result does not depend on is no input."""
        return list(self._places)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Returns its outputs, those of the lowest rank first; raises `RuntimeError` or `ValueError` if it fails."""
        num_rows = max((len(inputs[name]) for name in self._by_row), default=1)
        parts = []
        for start in range(0, max(1, num_rows), _ROWS_PER_CALL):
            rows = slice(start, start + _ROWS_PER_CALL)
            parts.append(self._call({name: v[rows] if name in self._by_row else v for name, v in inputs.items()}))
        return sorted((np.concatenate(part) for part in zip(*parts, strict=True)), key=np.ndim)

    def _call(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        shapes = {name: value.shape for name, value in inputs.items()}
        if shapes != self._shapes:
            for name, shape in shapes.items():
                self._interpreter.resize_tensor_input(self._places[name], shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for name, value in inputs.items():
            self._interpreter.set_tensor(self._places[name], np.ascontiguousarray(value))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]
