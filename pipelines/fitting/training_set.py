"""What a model is trained on, of what size it is, and for how long."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.fitting.recipe import Recipe
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.source import Source
from pipelines.tables.repeated_rows import groups_of_copies
from pipelines.tables.rows import Rows
from pipelines.tables.schema import Schema

__all__ = ["TrainingSet"]

_HELD_OUT = 0.1
_MAX_HELD_OUT = 50_000
_MAX_STEPS = 4_000  # without a number of epochs
# A small table is encoded several times, so that its numbers stand elsewhere within their cells and ties fall
# otherwise; an epoch goes over all of them, and is about so many steps long.
_STEPS_PER_EPOCH = 40
_MAX_COPIES = 10


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """A table's rows as a model is trained on them.

    Attributes:
        encoding: How the rows are seen.
        recipe: Sizes of the model.
        rows: Rows to train on; those of a small table several times, encoded otherwise each time.
        held_out: Rows that judge the weights.
        classes: int32 `[n, C]`, of all rows of the table, in its order.
        steps: Optimizer steps planned.
        epochs: The whole epochs that these are, or None if a number of steps or epochs was asked for.
    """

    encoding: Encoding
    recipe: Recipe
    rows: Rows
    held_out: Rows
    classes: np.ndarray
    steps: int
    epochs: int | None

    @classmethod
    def of(
        cls,
        source: Source,
        schema: Schema,
        encoding: Encoding,
        rng: np.random.Generator,
        *,
        sizes: Mapping[str, Any],
        steps: int | None = None,
        epochs: int | None = None,
    ) -> TrainingSet:
        """Encodes a table's rows and holds some out.

        Args:
            source: The table.
            schema: Its columns.
            encoding: What was learnt of them.
            rng: Of which rows are held out, and of what is random in encoding them.
            sizes: The model's by name, as `Recipe` has them; None is the recipe's own.
            steps: Optimizer steps, which override `epochs`.
            epochs: Passes over the rows. Default: as the recipe says.
        """
        num_rows = source.table.num_rows
        num_held_out = min(_MAX_HELD_OUT, max(1, round(_HELD_OUT * num_rows)))
        groups = groups_of_copies(source, schema, encoding)
        held, kept = _split(rng.permutation(num_rows), num_held_out, groups)
        recipe = Recipe.for_table(
            len(kept), encoding.num_classes, len(encoding.continuous), encoding.num_ordered(schema)
        )
        recipe = dataclasses.replace(recipe, **{key: value for key, value in sizes.items() if value is not None})
        if recipe.transform == "affine":
            encoding = encoding.standardised(source, schema)
        steps_per_pass = math.ceil(len(kept) / recipe.batch_size)
        copies = _copies(encoding, steps_per_pass)
        encoded = [encoding.encode(source, schema, rng) for _ in range(copies)]
        whole = None
        if steps is None and epochs is not None:
            steps = epochs * steps_per_pass
        elif steps is None:
            # The default ends with a whole epoch, which all rows have been in equally often.
            limit = int(np.clip(recipe.passes * steps_per_pass, recipe.min_steps, _MAX_STEPS))
            steps_per_epoch = math.ceil(copies * len(kept) / recipe.batch_size)
            whole = math.ceil(limit / steps_per_epoch)
            steps = whole * steps_per_epoch
        return cls(
            encoding=encoding.learn_own(encoded),
            recipe=dataclasses.replace(recipe, copies=copies),
            rows=_joined([part.take(kept) for part in encoded]),
            held_out=encoded[0].take(held),
            classes=encoded[0].classes,
            steps=steps,
            epochs=whole,
        )

    def independent_log_likelihood(self) -> float:
        """Mean log-density of held-out rows, nats, data units, if each column were independent of the others.

        What is learnt beside another column is as it is beside that: only the rest is independent.
        """
        total = float(self.held_out.log_det.mean())
        scores = self.held_out.scores.astype(np.float64)
        log_prob = np.where(self.held_out.is_present, 0.5 * (np.log(2 * np.pi) + scores**2), 0.0)
        total -= float(log_prob.sum(axis=1).mean())
        for column, count in enumerate(self.encoding.num_classes):
            shares = np.bincount(self.rows.classes[:, column], minlength=count) + 0.5
            total += float(np.log(shares / shares.sum())[self.held_out.classes[:, column]].mean())
        return total


def _split(order: np.ndarray, num_held_out: int, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The rows to hold out and those to train on: rows of a group are on one side, so that none judges its copies.

    Each group stands where the first of its rows in the table does in the order, so that copied rows are as frequent on
    both sides.
    """
    if groups is not None:
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        order = order[np.argsort(place[first][group][order], kind="stable")]
        while num_held_out < len(order) - 1 and groups[order[num_held_out]] == groups[order[num_held_out - 1]]:
            num_held_out += 1
    return order[:num_held_out], order[num_held_out:]


def _copies(encoding: Encoding, steps_per_pass: int) -> int:
    """How often rows are encoded: once where that comes out the same each time."""
    is_spread = encoding.num_classes or any(one.is_on_lattice for one in encoding.columns)
    if not is_spread or not encoding.continuous:
        return 1
    return int(np.clip(_STEPS_PER_EPOCH // steps_per_pass, 1, _MAX_COPIES))


def _joined(parts: list[Rows]) -> Rows:
    fields = [field.name for field in dataclasses.fields(Rows)]
    return Rows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in fields})
