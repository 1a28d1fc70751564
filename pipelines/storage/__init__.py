"""The .augment file: what is in it, how it is read and written."""
