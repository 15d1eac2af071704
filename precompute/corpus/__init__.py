"""A folder or manifest of music -> tracks and their latents."""
