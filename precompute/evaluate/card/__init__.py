"""The model card's tables."""
