"""The only place where an id becomes audio for a listener."""
