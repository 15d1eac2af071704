"""Taking tracks out of a published store."""
