"""What SDMetrics says of two tables, as JSON, in its own environment: sdmetrics_figures.py REAL.csv NEW.csv TYPES."""

import itertools
import json
import sys

import pandas as pd
from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
from sdmetrics.single_column import KSComplement, TVComplement

real, new = (pd.read_csv(path) for path in sys.argv[1:3])
types = json.loads(sys.argv[3])
columns = {}
for name, kind in types.items():
    metric = KSComplement if kind == "numerical" else TVComplement
    columns[name] = 100 * (1 - metric.compute(real[name], new[name]))
pairs = []
for names in itertools.combinations(types, 2):
    pair = list(names)
    numbers = [name for name in pair if types[name] == "numerical"]
    if len(numbers) == 2:
        score = CorrelationSimilarity.compute(real[pair], new[pair], coefficient="Pearson")
    else:
        score = ContingencySimilarity.compute(real[pair], new[pair], continuous_column_names=numbers or None)
    pairs.append([pair, 100 * (1 - score)])
print(json.dumps({"columns": columns, "pairs": pairs}))
