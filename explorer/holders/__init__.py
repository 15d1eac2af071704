"""Computes the values that the tab Holders shows for a view; components draw them. No gradio."""
