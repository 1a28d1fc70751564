"""Who makes the blocks of new rows."""
