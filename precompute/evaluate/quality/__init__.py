"""Quality of the generated clips, measured beside decoys."""
