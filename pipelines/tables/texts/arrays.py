"""Arrow arrays from numpy and from texts, without pandas, which `pa.array` and `pa.scalar` import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["fixed_width", "from_numpy", "from_texts", "scalar"]


def from_numpy(values: np.ndarray, valid: np.ndarray | None = None, arrow_type: pa.DataType | None = None) -> pa.Array:
    """Returns numbers as an Arrow array.

    Args:
        values: `[n]`, integers, floats or bool.
        valid: `[n]`, bool, false where the array is null; None if nothing is.
        arrow_type: A type of the same width as the values', such as a timestamp for int64. Default: theirs.
    """
    rows = len(values)
    arrow_type = pa.from_numpy_dtype(values.dtype) if arrow_type is None else arrow_type
    data = np.packbits(values, bitorder="little") if values.dtype == bool else np.ascontiguousarray(values)
    return pa.Array.from_buffers(arrow_type, rows, [_bitmap(valid), pa.py_buffer(data)])


def from_texts(texts: Sequence[str | None]) -> pa.Array:
    """Returns texts as an Arrow array, null where there is None."""
    encoded = [b"" if text is None else text.encode() for text in texts]
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    valid = np.array([text is not None for text in texts], bool)
    buffers = [_bitmap(valid), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def fixed_width(characters: np.ndarray) -> pa.Array:
    """Returns texts of one width as an Arrow array.

    Args:
        characters: `[n, width]`, uint8, their bytes in UTF-8.
    """
    rows, width = characters.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    data = pa.py_buffer(np.ascontiguousarray(characters))
    return pa.Array.from_buffers(pa.string(), rows, [None, pa.py_buffer(offsets), data])


def scalar(value: Any) -> pa.Scalar:
    """Returns a text or a number as an Arrow scalar."""
    return from_texts([value])[0] if isinstance(value, str) else from_numpy(np.array([value]))[0]


def _bitmap(valid: np.ndarray | None) -> pa.Buffer | None:
    return None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
