"""Opens a store read-only, checks its version, and holds every query."""
