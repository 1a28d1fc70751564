"""What goes into each graph of a model file and what comes out of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

__all__ = ["Entry", "Signature", "signature_of"]

ROWS = -1  # in a shape: as many as there are rows


@dataclasses.dataclass(frozen=True)
class Entry:
    """An input or output: "float32" or "int32", and its shape, in which -1 is the number of rows."""

    dtype: str
    shape: tuple[int, ...]

    def shape_for(self, rows: int) -> tuple[int, ...]:
        """Returns the shape for so many rows."""
        return tuple(rows if size == ROWS else size for size in self.shape)


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a graph takes by name, though it may do without some of it, and what it gives, lowest rank first."""

    inputs: Mapping[str, Entry]
    outputs: tuple[Entry, ...]


def signature_of(member: str, classes: int, numbers: int) -> Signature:
    """Returns the signature of a member of a model file.

    Args:
        member: Its name, such as `sampler.tflite`.
        classes: The number of discrete columns.
        numbers: The number of continuous columns.
    """
    log_prob = Entry("float32", (ROWS,))
    row_of_classes, row_of_numbers = Entry("int32", (ROWS, classes)), Entry("float32", (ROWS, numbers))
    uniforms = Entry("float32", (ROWS, classes))
    given = {"uniforms": uniforms, "classes": row_of_classes, "is_given": Entry("float32", (classes,))}
    return {
        "sampler.tflite": Signature({"noise": row_of_numbers, "context": row_of_classes}, (row_of_numbers,)),
        "scorer.tflite": Signature({"x": row_of_numbers, "context": row_of_classes}, (log_prob, row_of_numbers)),
        "discrete_sampler.tflite": Signature({"uniforms": uniforms}, (row_of_classes,)),
        "discrete_sampler_given.tflite": Signature(given, (log_prob, row_of_classes)),
        "discrete_scorer.tflite": Signature({"classes": row_of_classes}, (log_prob,)),
    }[member]
