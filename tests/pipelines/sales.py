"""A table in which columns follow from others, as shops have them."""

import numpy as np
import pandas as pd

ROWS = 2_000
REGIONS = {"Bay": "north", "Dale": "south", "Ford": "north", "Hill": "east", "Mere": "south"}


def sales(rows=ROWS, seed=0):
    """A table as shops have them: codes and names, totals, rates, parts of a date."""
    rng = np.random.default_rng(seed)
    city = rng.choice(list(REGIONS), rows, p=[0.4, 0.25, 0.15, 0.12, 0.08])
    price = rng.gamma(9.0, 3.0, rows).round(2)
    pieces = rng.integers(1, 7, rows)
    shipping = rng.gamma(4.0, 1.5, rows).round(2)
    visitors = rng.integers(200, 90_000, rows)
    buyers = rng.binomial(visitors, 0.03)
    day = np.datetime64("2021-01-01") + rng.integers(0, 900, rows).astype("timedelta64[D]")
    amount = (price * pieces).round(2)
    return pd.DataFrame(
        {
            "city": city,
            "region": [REGIONS[name] for name in city],
            "price": price,
            "pieces": pieces,
            "amount": amount,
            "shipping": shipping,
            "total": (amount + shipping).round(2),
            "visitors": visitors,
            "buyers": buyers,
            "rate": (100 * buyers / visitors).round(4),
            "log_price": np.log(price),
            "day": day.astype(str),
            "month": pd.to_datetime(day).month,
            "noise": rng.normal(size=rows).round(3),
        }
    )


def problems(rows):
    """By column, how many rows break its relation."""
    made = {
        "region": rows["city"].map(REGIONS),
        "amount": (rows["price"] * rows["pieces"]).round(2),
        "total": (rows["amount"] + rows["shipping"]).round(2),
        "rate": (100 * rows["buyers"] / rows["visitors"]).round(4),
        "log_price": np.log(rows["price"]),
        "month": pd.to_datetime(rows["day"]).dt.month,
    }
    rounding = {"amount": 0.011, "total": 1e-9, "rate": 1.1e-4, "log_price": 1e-12}  # of halves, by other arithmetic
    return {
        name: int((~np.isclose(rows[name], value, rtol=0, atol=rounding[name])).sum() if name in rounding
                  else (rows[name] != value).sum())
        for name, value in made.items()
    }  # fmt: skip
