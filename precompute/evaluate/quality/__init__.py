"""How the generated clips sound, beside decoys."""
