"""Models: diffusion transformer, CLAP, CLEWS; weights, hub, precision."""
