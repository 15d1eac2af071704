"""How a clip and a track sound alike, and whether a passage is copied. Resemblance is not influence."""
