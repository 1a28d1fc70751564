"""Tables: reading and writing them, what their columns are, and the numbers a flow sees."""
