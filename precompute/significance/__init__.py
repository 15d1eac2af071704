"""Scores -> what may be believed of them. NumPy only."""
