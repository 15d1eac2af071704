"""Whence explorer: hear whose music is in a generated clip. Reads one DuckDB store; needs no torch."""

__version__ = "0.2.0"
