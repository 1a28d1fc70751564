"""Draws real rows beside generated ones: draw_moons.py REAL.csv GENERATED.csv PICTURE.png."""

import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

matplotlib.use("Agg")
real, generated = (np.loadtxt(path, delimiter=",", skiprows=1) for path in sys.argv[1:3])
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharex=True, sharey=True, layout="constrained")
for axis, rows, name, colour in [(axes[0], real, "real", "#33658a"), (axes[1], generated, "generated", "#c8553d")]:
    shown = rows[: len(real)]  # as many on either side, so that the eye compares like with like
    axis.scatter(*shown.T, s=3, alpha=0.5, linewidths=0, color=colour)
    axis.set_title(f"{name}: {len(shown):,} rows", fontsize=13)
    axis.set_aspect("equal")
    axis.set_xlabel("x")
axes[0].set_ylabel("y")
figure.savefig(sys.argv[3], dpi=120)
