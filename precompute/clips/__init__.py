"""Prompts and seeds -> generated clips; clips of the user; the cohort."""
