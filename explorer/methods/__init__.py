"""What the tabs Compare and hard cases show: values for components. No gradio."""
