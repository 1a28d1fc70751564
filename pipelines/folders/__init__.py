"""Tables in folders of files: written in numbered parts, and read as one."""
