"""The tab Holders: a view in, values for components out. No gradio."""
