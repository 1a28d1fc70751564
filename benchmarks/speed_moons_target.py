"""What the sides of `speed_moons.py` share: the rows and the goal that the command line names."""

import sys

import numpy as np
from numpy.typing import NDArray


def read() -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Rows to train on, held-out rows, and the mean of minus the log-density of these that is good enough, nats."""
    train, held_out = (np.load(path).astype(np.float32) for path in sys.argv[1:3])
    return train, held_out, float(sys.argv[3])


def check(reached: float, goal: float) -> None:
    """Ends with status 1 if the goal was not reached."""
    if reached > goal:
        sys.exit(f"reached {reached:.4f} nats, not {goal:.4f}")
