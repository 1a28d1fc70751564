"""Rows in, rows out: datasets enlarged with RealNVP flows."""
