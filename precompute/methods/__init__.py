"""Ways of scoring: each turns clips and tracks into scores, higher = stronger influence."""
