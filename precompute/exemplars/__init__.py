"""Exemplars: decoys that the model is tuned on with one low-rank update, and the pass that attributes its clips."""
