"""Columns that follow from others: found in a table, and made to hold in new rows."""
