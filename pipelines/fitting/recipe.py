"""Which model suits which table: its sizes, and how it is trained."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

__all__ = ["Recipe"]

# To learn from: of fewer the affine couplings learn each row by heart (docs/design.md, decision 25).
_MIN_ROWS_IN_THE_PLANE = 3_000
_MIN_ROWS_OF_MORE_BINS, _MAX_NUMBERS_OF_MORE_BINS = 16_001, 64  # docs/design.md, decision 28


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Sizes of a model and how it is trained.

    Attributes:
        transform: "spline", over scores that each column's empirical distribution makes Gaussian, or "affine", over
            standardised numbers.
        couplings: Coupling layers of the flow.
        bins: Bins of each spline.
        width: Hidden units of each coupling's network.
        dropout: Share of them that are dropped in training.
        embedding_size: Length of the vector that stands for a class, in the couplings.
        discrete_width: Hidden units of each discrete column's network.
        discrete_dropout: Share of them that are dropped in training.
        batch_size: Rows in a step.
        learning_rate: The peak of the schedule.
        ema_momentum: Of the moving average of the weights, or None.
        weight_decay: Of the kernels of the couplings' networks, or None.
        discrete_weight_decay: Of those of the discrete columns' networks, or None.
        passes: Passes over the rows, unless a number of steps or epochs is asked for.
        min_steps: At least so many steps are made then.
        num_ordered: Of each discrete column, how many of its first classes lie in an order.
        copies: How often the rows to train on are encoded: those of a small table several times.
        parents: Of each discrete column, others that tell much of it; empty where they were not looked for.
    """

    transform: str
    couplings: int
    bins: int
    width: int
    dropout: float
    embedding_size: int
    discrete_width: int
    discrete_dropout: float
    batch_size: int
    learning_rate: float
    ema_momentum: float | None
    weight_decay: float | None
    discrete_weight_decay: float | None
    passes: int
    min_steps: int
    num_ordered: tuple[int, ...]
    copies: int = 1
    parents: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def for_table(
        cls, rows: int, num_classes: list[int], continuous: int, num_ordered: list[int] | None = None
    ) -> Recipe:
        """Chooses by the number of rows, discrete columns and continuous ones; no class is ordered by default."""
        columns = max(1, len(num_classes))
        is_large = rows > 5_000  # fewer are learnt by heart by a large model (docs/design.md, decision 28)
        is_small = rows <= 3_000  # docs/design.md, decision 39, as the following
        decay = min(1.0, 30_000 / rows)
        held_back = min(5_000 / rows, 5.0) if is_small else decay if is_large else min(400 * continuous / rows, 4.0)
        recipe = cls(
            transform="spline",
            couplings=2 if continuous == 1 else 7 if is_large else 5,
            bins=16 if rows >= _MIN_ROWS_OF_MORE_BINS and continuous <= _MAX_NUMBERS_OF_MORE_BINS else 8,
            width=48 if rows <= 2_000 else 64 if is_small else 96,
            dropout=0.2 if is_large else 0.3,
            embedding_size=2 if columns > 32 else 8 if is_large else 4,
            discrete_width=int(np.clip(1024 // columns, 16, 64)),
            discrete_dropout=0.5,
            batch_size=512 if rows >= 2048 else 256,
            learning_rate=6e-3,
            ema_momentum=0.98,
            weight_decay=max(decay, held_back),
            # They learn few rows of many columns by heart (docs/design.md, decision 43).
            discrete_weight_decay=float(np.clip(1_200 * len(num_classes) / rows, decay, 16.0)),
            # Networks of classes learn the rows by heart sooner than flows do.
            passes=20 if len(num_classes) > continuous else 100,
            min_steps=1_000,
            num_ordered=tuple(num_ordered or [0] * len(num_classes)),
        )
        if num_classes or continuous != 2 or rows < _MIN_ROWS_IN_THE_PLANE:
            return recipe
        # Shapes in the plane: smoother by many affine couplings (docs/design.md, decision 25).
        return dataclasses.replace(
            recipe,
            transform="affine",
            couplings=8,
            width=64,
            dropout=0.0,
            batch_size=256,
            learning_rate=2e-3,
            ema_momentum=None,
            weight_decay=None,
            discrete_weight_decay=None,
            min_steps=4_000,
        )

    @property
    def decays(self) -> dict[str, float] | None:
        """What `tfp_realnvp.fit` is told of both decays."""
        if self.weight_decay is None or self.discrete_weight_decay is None:
            return None
        return {"classes/": self.discrete_weight_decay, "": self.weight_decay}

    @property
    def sizes(self) -> dict[str, Any]:
        """What a model file tells of it: all but what the encoding and the flow say there."""
        told = dataclasses.asdict(self)
        return {key: told[key] for key in told if key not in ("num_ordered", "copies", "parents")}
