"""Scores -> what may be believed of them: errors, normalisation, q-values, verdicts, diagnostics. NumPy only."""
