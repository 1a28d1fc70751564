"""Columns of dates as numbers and classes: what comes again, and what begins before it ends."""
