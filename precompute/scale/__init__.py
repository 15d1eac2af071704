"""One pass over the tracks by many processes: an engine-free core, and launchers over it."""
