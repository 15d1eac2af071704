"""Scripts that show how a store is read in Python."""
