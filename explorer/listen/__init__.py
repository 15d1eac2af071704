"""Computes the values that the tabs Listen and All clips show for a view; components draw them. No gradio."""
