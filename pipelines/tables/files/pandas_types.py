"""Types of pandas that Arrow has not: intervals, periods and sparse columns, as what is read, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.cells import OTHER

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_dtype", "is_span", "known_to_arrow"]


def known_to_arrow(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns a DataFrame with intervals and periods as text, and sparse columns as dense ones."""
    import pandas as pd

    frame = frame.copy(deep=False)
    for name in frame.columns:
        if is_span(frame[name].dtype):
            frame[name] = _as_text(frame[name])
        elif isinstance(frame[name].dtype, pd.SparseDtype):
            frame[name] = np.asarray(frame[name])
    return frame


def as_dtype(cells: pd.Series[Any], dtype: Any) -> pd.Series[Any]:
    """Returns cells of a model's rows with the type of a column that the model was fitted to or is used with.

    Rare categories, `(other)`, are none of a categorical type's, and missing there.

    Args:
        cells: The cells; intervals and periods are text, as they were read.
        dtype: The type of the column.

    Raises:
        AugmentError: If a cell is no value of the type, as a category that it lacks.
        TypeError, ValueError: If pandas cannot cast the cells.
    """
    import pandas as pd

    values = cells.astype(object)
    if isinstance(dtype, pd.CategoricalDtype) and is_span(dtype):
        values = values.map({str(category): category for category in dtype.categories})
        found = pd.Series(pd.Categorical(values, dtype=dtype), cells.index, name=cells.name)
    elif isinstance(dtype, pd.IntervalDtype):
        subtype: Any = dtype.subtype
        closed: Any = dtype.closed
        edges = values.str[1:-1].str.split(", ", expand=True).reindex(columns=[0, 1]).astype(subtype)
        intervals = pd.arrays.IntervalArray.from_arrays(edges[0], edges[1], closed=closed)
        found = pd.Series(intervals, cells.index, name=cells.name)
    else:
        found = cells.astype(dtype)
    lost = cells[(found.isna() & cells.notna() & (cells.astype(object) != OTHER)).to_numpy()]
    if len(lost):
        raise AugmentError(f"column {cells.name!r}: {lost.iloc[0]!r} is no value of its type, {dtype}.")
    return found


def is_span(dtype: Any) -> bool:
    """Whether cells are intervals or periods, or categories that are."""
    import pandas as pd

    dtype = dtype.categories.dtype if isinstance(dtype, pd.CategoricalDtype) else dtype
    return isinstance(dtype, pd.IntervalDtype | pd.PeriodDtype)


def _as_text(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Intervals and periods as text, in their order if they are ordered categories."""
    import pandas as pd

    if isinstance(cells.dtype, pd.CategoricalDtype):
        return cells.cat.rename_categories(list(map(str, cells.cat.categories)))
    return cells.astype(str).where(cells.notna())
