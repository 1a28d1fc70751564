"""Columns of numbers as Gaussian scores and classes, and back."""
