"""TOML files -> frozen dataclasses that check themselves."""
