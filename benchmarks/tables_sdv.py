"""Worker of the tables benchmark for SDV's GaussianCopula, CTGAN and TVAE.

All with SDV's own metadata, found in the data frame as pandas reads it, and its default settings. When the cap on the
fit stops CTGAN or TVAE, the rows are drawn from the networks as they are then, and the run is marked as unfinished.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import tables_worker as worker

RECIPES: dict[str, dict[str, Any]] = {"GaussianCopula": {}, "CTGAN": {"epochs": 300}, "TVAE": {"epochs": 300}}


def fit(job: worker.Job, rows: pd.DataFrame) -> worker.Fitted:
    """Fits a synthesizer; its networks take their seed from the libraries' global generators."""
    import numpy as np
    import torch
    from sdv import single_table
    from sdv.metadata import Metadata

    np.random.seed(job.seed)  # noqa: NPY002
    torch.manual_seed(job.seed)
    is_network = job.method != "GaussianCopula"
    options = job.recipe | ({"enable_gpu": False} if is_network else {})
    with worker.cap(job):
        tables = {"table": rows}
        metadata = Metadata.detect_from_dataframes(tables)
        synthesizer = getattr(single_table, f"{job.method}Synthesizer")(metadata, **options)
        is_finished = True
        try:
            synthesizer.fit(tables)
        except worker.OutOfTime:
            trained = getattr(synthesizer, "_model", None) if is_network else None
            losses = getattr(trained, "loss_values", None)
            if losses is None or losses.empty:  # not even one epoch
                raise
            synthesizer._fitted = True  # what `fit` does last
            is_finished = False
    epochs = int(synthesizer.get_loss_values()["Epoch"].max()) + 1 if is_network else None
    return worker.Fitted(lambda n: synthesizer.sample(n)["table"], is_finished, epochs)


if __name__ == "__main__":
    worker.run(worker.read_job(), fit, "sdv", "ctgan", "copulas", "torch")
