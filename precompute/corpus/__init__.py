"""A folder or manifest of music -> tracks and their latents; what is unreadable is set aside with a reason."""
