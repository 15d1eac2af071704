"""Taking tracks out of what a run published: its store, its index of sketches, sound files and a manifest."""
