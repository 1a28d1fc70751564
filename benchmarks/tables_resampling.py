"""Worker of the tables benchmark for imbalanced-learn's SMOTE and SMOTENC, and for drawing rows with replacement.

SMOTE balances classes; as a generator it is used so: every class is resampled to twice its size, and the new rows are
kept, which are then as many as there were, in the old proportions. Each lies between a row and one of its nearest
neighbours of the same class (five, or as many as the smallest class has). A table of numbers is given to SMOTE, one
with categories to SMOTENC, which takes the commonest category among the neighbours; a missing category is a category.
Not applicable: a target that is a number, or numbers that are missing.

The bootstrap draws rows of the table with replacement: nothing is new in it, and `memorised` and `copies` show that.
"""

from __future__ import annotations

import pandas as pd
import tables_worker as worker

RECIPES = {"SMOTENC": {"k_neighbors": 5}, "bootstrap": {}}


def fit_bootstrap(job: worker.Job, rows: pd.DataFrame) -> worker.Fitted:
    """Nothing to learn."""
    return worker.Fitted(lambda n: rows.sample(n, replace=True, random_state=job.seed))


def fit_smote(job: worker.Job, rows: pd.DataFrame) -> worker.Fitted:
    """Checks that the method applies; all its work is in the sampling."""
    from imblearn.over_sampling import SMOTE, SMOTENC

    features = rows.drop(columns=job.target)
    categorical = [name for name in job.categorical if name != job.target]
    numeric = [name for name in job.numeric if name != job.target]
    if job.task == "regression":
        raise worker.NotApplicableError("the target is a number")
    if not numeric:
        raise worker.NotApplicableError("no column is numeric")
    if features[numeric].isna().any(axis=None):
        raise worker.NotApplicableError("numbers are missing")
    features[categorical] = features[categorical].astype(object).where(features[categorical].notna(), "").astype(str)
    counts = rows[job.target].value_counts()
    neighbours = min(job.recipe["k_neighbors"], int(counts.min()) - 1)
    if neighbours < 1:
        raise worker.NotApplicableError("a class has one row only")
    options = {
        "sampling_strategy": {name: 2 * count for name, count in counts.items()},
        "k_neighbors": neighbours,
        "random_state": job.seed,
    }
    method = SMOTENC(categorical_features=categorical, **options) if categorical else SMOTE(**options)

    def sample(n: int) -> pd.DataFrame:
        more, target = method.fit_resample(features, rows[job.target])
        made: pd.DataFrame = more.assign(**{job.target: target}).iloc[n:]
        return made[list(rows.columns)]

    return worker.Fitted(sample)


if __name__ == "__main__":
    job = worker.read_job()
    if job.method == "bootstrap":
        worker.run(job, fit_bootstrap, "pandas")
    else:
        worker.run(job, fit_smote, "imbalanced-learn", "scikit-learn")
