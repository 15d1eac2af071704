"""Computes the values that the tabs Compare and Where is it wrong show for a view; components draw them. No gradio."""
