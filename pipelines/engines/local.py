"""Blocks of new rows on this machine: noise by block number, through the LiteRT graph, back to data units."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from pipelines.errors import AugmentError
from pipelines.model_file import ModelFile
from pipelines.native_logs import quiet_native_logs

__all__ = ["BLOCK_ROWS", "Graph", "blocks", "noise"]

BLOCK_ROWS = 16_384


class Graph:
    """A LiteRT graph of a model file with one input of rows.

    Args:
        model: The model file.
        name: The member, `sampler.tflite` or `scorer.tflite`.
    """

    def __init__(self, model: ModelFile, name: str) -> None:
        content = model.member(name)
        with quiet_native_logs():
            from ai_edge_litert.interpreter import Interpreter

            self._interpreter = Interpreter(model_content=content, num_threads=len(os.sched_getaffinity(0)))
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._shape: tuple[int, ...] | None = None

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Runs the graph on float32 rows, `[n, D]`."""
        if rows.shape != self._shape:
            with quiet_native_logs():
                self._interpreter.resize_tensor_input(self._input, rows.shape)
                self._interpreter.allocate_tensors()
            self._shape = rows.shape
        self._interpreter.set_tensor(self._input, np.ascontiguousarray(rows, np.float32))
        self._interpreter.invoke()
        result: np.ndarray = self._interpreter.get_tensor(self._output)
        return result


def noise(seed: int, block: int, size: int) -> np.ndarray:
    """Returns the standard Gaussian noise of a block, float32, `[BLOCK_ROWS, size]`.

    The block's number is the highest word of Philox's counter, so that no two blocks of a seed share a
    draw (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3").
    """
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, block]))
    return rng.standard_normal((BLOCK_ROWS, size), dtype=np.float32)


def blocks(model: ModelFile, num_rows: int, seed: int) -> Iterator[np.ndarray]:
    """Yields new rows in data units, float64 `[m, D]`, `num_rows` in all; only the last block is shorter."""
    sampler = Graph(model, "sampler.tflite")
    size = len(model.schema.modelled)
    # What a column's lattice can hold in 64 bits; NaN and infinity are beyond any limit.
    limits = np.array([2.0**62 * column.step or np.finfo(np.float64).max for column in model.schema.modelled])
    for block, start in enumerate(range(0, num_rows, BLOCK_ROWS)):
        rows = model.encoding.decode(sampler(noise(seed, block, size)))
        if not (np.abs(rows) <= limits).all():
            raise AugmentError(f"{model.path} gives values out of all range; its training went wrong. Fit it again.")
        yield rows[: num_rows - start]
