"""Training of the embedded demo models (autoencoder, CLAP, diffusion transformer, CLEWS) and of exemplars."""
