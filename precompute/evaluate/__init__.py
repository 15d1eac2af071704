"""Checks on attribution itself."""
