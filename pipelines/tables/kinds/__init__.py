"""The rules by which a column is found to be of a kind, a file for each group of kinds."""
