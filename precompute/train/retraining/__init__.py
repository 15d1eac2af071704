"""The bench of retraining: small models trained without some of the works, the only ground truth of attribution."""
