"""What the command can do, one verb a file, each callable from Python without click."""
