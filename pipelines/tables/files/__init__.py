"""Files and data frames: what is in them becomes tables, and new ones appear whole."""
