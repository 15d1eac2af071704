"""The experiments of arXiv 2506.18312 on the embedded model."""
