"""How a column is seen, learnt from its cells alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipelines.tables.cells import OTHER
from pipelines.tables.column_encoding import ColumnEncoding, step_of
from pipelines.tables.dates.rhythm import DAYS, Rhythm
from pipelines.tables.files.source import Source
from pipelines.tables.numbers.endings import Endings
from pipelines.tables.numbers.margins import Margin
from pipelines.tables.numbers.spikes import has_few_values, is_spike
from pipelines.tables.numbers.unseen import unseen_shares
from pipelines.tables.schema import Column
from pipelines.tables.texts import parsing
from pipelines.tables.texts.spelling import spell

__all__ = ["FIRST_CATEGORIES", "learn_column"]

# Categories of fewer rows are one class, and but for the first ones those of a smaller share of the rows.
_MIN_CATEGORY_ROWS = 2
FIRST_CATEGORIES, _LEAST_SHARE = 200, 1 / 20_000


def learn_column(
    column: Column,
    cells: Any,
    source: Source,
    rng: np.random.Generator,
    *,
    max_categories: int = FIRST_CATEGORIES,
    keep_rare: bool = False,
    may_have_endings: bool = True,
) -> ColumnEncoding:
    """Returns how a column is seen, learnt from its cells alone.

    Args:
        column: What it is.
        cells: Its cells.
        source: The table it is of.
        rng: Where the places within the cells of a lattice come from.
        max_categories: Those beyond so many, the most frequent first, are one class.
        keep_rare: Whether categories of a single row are kept.
        may_have_endings: Whether last digits that come again are told apart.
    """
    missing = parsing.missing_codes(cells, column, source.dialect)
    spelled = list(column.missing) or [""]
    lost = [code for code in range(len(spelled)) if (missing == code).any()]
    gone = [spelled[code] for code in lost]
    if column.is_categorical:
        return _categories(column, cells, source, gone, max_categories, 1 if keep_rare else _MIN_CATEGORY_ROWS)
    numbers = parsing.numbers(cells, column, source.dialect, source.name, source.row_numbers)
    present = numbers[~np.isnan(numbers)]
    distinct, counts = np.unique(present, return_counts=True)
    if has_few_values(counts):
        levels = [*spell(column, distinct, source.dialect.decimal).to_pylist(), *gone]
        return ColumnEncoding(
            column.name,
            tuple(levels),
            (*distinct.tolist(), *[np.nan] * len(gone)),
            (*[False] * len(distinct), *[True] * len(gone)),
            None,
            unseen=tuple(unseen_shares(distinct, counts, step_of(column)).tolist()),
        )
    spikes = distinct[is_spike(counts)]
    rest = present[~np.isin(present, spikes)]
    margin, rhythm, endings = Margin.learn(rest, step_of(column), rng), None, None
    if column.kind in DAYS:
        rhythm = Rhythm.learn(rest, DAYS[column.kind], margin.support)
    if rhythm is not None:
        margin = Margin.learn(rhythm.fold(rest)[0], step_of(column), rng)
    elif column.kind in ("float", "integer") and column.digits is None and may_have_endings:
        keep = len(margin.support) > 0
        endings = Endings.learn(rest, margin.step, margin.per_unit, taken=spikes, keep=keep)
    if endings is not None:
        places = Margin.learn(endings.spread(rest, rng), 0.0, rng)
        margin = dataclasses.replace(places, low=margin.low, high=margin.high)
    if not len(spikes) and not gone:
        return ColumnEncoding(column.name, (), (), (), margin, rhythm=rhythm, endings=endings)
    levels = [None, *_spelled(column, spikes, cells, source), *gone]
    return ColumnEncoding(
        column.name,
        tuple(levels),
        (np.nan, *spikes.tolist(), *[np.nan] * len(gone)),
        (False, *[False] * len(spikes), *[True] * len(gone)),
        margin,
        rhythm=rhythm,
        endings=endings,
    )


def _spelled(column: Column, spikes: np.ndarray, cells: Any, source: Source) -> list[str]:
    """Frequent numbers as the column's others are spelled, or without decimals where most of their cells have none."""
    texts: list[str] = spell(column, spikes, source.dialect.decimal).to_pylist()
    if source.is_typed or column.kind != "float" or column.format or not column.min_decimals:
        return texts
    found = parsing.bare_text(parsing.plain(cells))
    for place in np.flatnonzero(spikes == np.rint(spikes)):
        whole = f"{spikes[place] + 0.0:.0f}"
        if pc.sum(pc.equal(found, whole)).as_py() > pc.sum(pc.equal(found, texts[place])).as_py():
            texts[place] = whole
    return texts


def _categories(
    column: Column, cells: Any, source: Source, gone: Sequence[str], most: int, min_rows: int
) -> ColumnEncoding:
    """The categories of a column; those beyond so many, and of fewer rows than `min_rows`, are one."""
    texts = parsing.texts(cells, column, source.dialect)
    counted = texts.value_counts()
    names = counted.field("values").to_pylist()
    counts = counted.field("counts").to_numpy(zero_copy_only=False)
    found = sorted(
        ((-int(count), name) for name, count in zip(names, counts, strict=True) if name is not None),
    )
    later = max(min_rows, _LEAST_SHARE * len(texts))
    kept = [
        name
        for place, (count, name) in enumerate(found[:most])
        if -count >= (min_rows if place < FIRST_CATEGORIES else later)
    ]
    if len(found) - len(kept) <= 1 and len(found) <= most:
        kept = [name for _, name in found]
    others = len(found) - len(kept)
    if column.levels:
        rank = {name: index for index, name in enumerate(column.levels)}
        kept.sort(key=lambda name: rank.get(name, len(rank)))
    levels = [*kept, *([OTHER] if others else []), *gone]
    flags = [*[False] * (len(levels) - len(gone)), *[True] * len(gone)]
    return ColumnEncoding(column.name, tuple(levels), (), tuple(flags), None, others)
