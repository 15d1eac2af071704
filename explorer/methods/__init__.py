"""The tabs Compare and Where is it wrong: a view in, values for components out. No gradio."""
