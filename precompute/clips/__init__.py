"""The clips whose music is attributed: prompts and seeds, a user's own sounds, the cohort; their audio files."""
