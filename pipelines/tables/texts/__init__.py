"""Cells as texts: what values they are, and how new values are spelled like them."""
