"""The LiteRT interpreter of one graph, by the names of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["Runtime"]


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
        self._places = {entry["name"]: entry["index"] for entry in self._interpreter.get_input_details()}
        self._outputs = [entry["index"] for entry in self._interpreter.get_output_details()]
        self._shapes: dict[str, tuple[int, ...]] = {}

    @property
    def inputs(self) -> list[str]:
        """What it takes; what its result does not depend on is no input."""
        return list(self._places)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Returns its outputs, those of the lowest rank first; raises `RuntimeError` or `ValueError` if it fails."""
        shapes = {name: value.shape for name, value in inputs.items()}
        if shapes != self._shapes:
            for name, shape in shapes.items():
                self._interpreter.resize_tensor_input(self._places[name], shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for name, value in inputs.items():
            self._interpreter.set_tensor(self._places[name], np.ascontiguousarray(value))
        self._interpreter.invoke()
        return sorted((self._interpreter.get_tensor(index) for index in self._outputs), key=np.ndim)
