"""A table in which one column nearly determines another."""

import numpy as np
import pandas as pd


def stock_frame(rows=1500, seed=4):
    """One of 30 products, of six kinds but for one row in fifty, and an amount that says nothing."""
    rng = np.random.default_rng(seed)
    product = rng.integers(0, 30, rows)
    kind = np.where(rng.random(rows) < 0.02, rng.integers(0, 6, rows), product // 5)
    amount = np.round(rng.gamma(4.0, 2_000.0, rows), 2)
    product_names = np.array([f"{letter}{digit}" for letter in "abcdef" for digit in "12345"])
    return pd.DataFrame({"product": product_names[product], "kind": np.array(list("ABCDEF"))[kind], "amount": amount})
