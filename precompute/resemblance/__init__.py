"""Resemblance in sound between clips and tracks, by musical aspect and by shared passages; it is not influence."""
