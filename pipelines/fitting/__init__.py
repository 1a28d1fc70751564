"""How a model is fitted: which suits the table, on which rows, on which devices, and what outlives a kill."""
