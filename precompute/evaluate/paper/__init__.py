"""Experiments of the reference paper (arXiv 2506.18312) on the embedded model."""
