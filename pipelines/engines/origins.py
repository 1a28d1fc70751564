"""The classes that given ones follow from: of a given region, its cities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.errors import ShortfallError, listed
from pipelines.tables.encoding import Encoding

__all__ = ["origins", "unlikely"]


def origins(encoding: Encoding, given: Mapping[int, int]) -> dict[int, np.ndarray]:
    """Returns the classes of the columns that given ones are looked up by, by place, with which these are as given.

    Args:
        encoding: How the columns are seen, and which follow from others.
        given: The class of some discrete columns, by the column's place among them.

    Raises:
        ShortfallError: If there are none.
    """
    places = {column.name: place for place, column in enumerate(encoding.discrete)}
    lookups = {relation.column: relation for relation in encoding.relations if relation.kind == "lookup"}
    found: dict[int, np.ndarray] = {}
    for place, value in given.items():
        name, classes = encoding.discrete[place].name, np.array([value])
        while name in lookups:
            image = np.array(lookups[name].classes)
            classes = np.flatnonzero(np.isin(image, classes) | (image < 0))  # of those that are not known, any may be
            name = lookups[name].inputs[0]
        if places[name] != place:
            found[places[name]] = np.intersect1d(classes, found.get(places[name], classes))
    for place, classes in found.items():
        found[place] = np.intersect1d(classes, given.get(place, classes))
        if not len(found[place]):
            raise unlikely([encoding.discrete[place].name for place in given])
    return found


def unlikely(names: Sequence[str]) -> ShortfallError:
    """Returns the error that hardly a row has what is asked of some columns."""
    return ShortfallError(
        f"hardly a row has what is asked of {listed(names)}, given what follows from what in every row of the table. "
        "Ask for less; or fit with --no-relations."
    )
