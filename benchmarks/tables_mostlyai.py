"""Worker of the tables benchmark for mostlyai-engine's TabularARGN.

It has a time limit of its own, in minutes, which is used instead of a cap from outside; what it does before training
(reading, analysing and encoding) does not count for it, but is in the measured seconds. By default it protects rare
values: it replaces rare categories and leaves extremes out, which the scores see; "open" is without that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import tables_worker as worker

RECIPES: dict[str, dict[str, Any]] = {
    "mostlyai-engine 60 s": {"max_training_time": 1.0},
    "mostlyai-engine": {},
    "mostlyai-engine open": {"value_protection": False},
}
# The library stops by itself when more than so many validations were not the best, or after so many epochs.
_PATIENCE, _MAX_EPOCHS = 4, 100


def fit(job: worker.Job, rows: pd.DataFrame) -> worker.Fitted:
    """Fits with the library's defaults, in a workspace within the current folder."""
    from mostlyai.engine import TabularARGN

    options = {"max_training_time": job.max_fit_seconds / 60, "max_epochs": _MAX_EPOCHS} | job.recipe
    workspace = Path("workspace")
    model = TabularARGN(random_state=job.seed, device="cpu", workspace_dir=workspace, **options)
    model.fit(rows)
    progress = pd.read_csv(workspace / "ModelStore" / "model-data" / "progress-messages.csv")
    epochs = int(progress["epoch"].iloc[-1])
    losses = progress["val_loss"].dropna() if epochs else []  # before the first epoch ends there is no such column
    since_best = len(losses) - 1 - int(losses.argmin()) if len(losses) else 0
    return worker.Fitted(model.sample, since_best > _PATIENCE or epochs >= options["max_epochs"], epochs)


if __name__ == "__main__":
    worker.run(worker.read_job(), fit, "mostlyai-engine", "torch")
