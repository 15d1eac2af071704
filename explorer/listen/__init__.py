"""What the tab Listen shows: values for components. No gradio."""
