"""The tabs Listen and All clips: a view in, values for components out. No gradio."""
