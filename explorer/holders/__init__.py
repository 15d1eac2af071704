"""What the tab Holders shows: values for components. No gradio."""
