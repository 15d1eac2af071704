"""Negative controls."""
