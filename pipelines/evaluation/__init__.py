"""Whether new rows can be trusted: figures about a table, beside what chance alone would give."""
