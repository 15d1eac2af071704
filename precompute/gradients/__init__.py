"""Gradients of clips and tracks, curvature, directions, taps, the pass over the tracks."""
