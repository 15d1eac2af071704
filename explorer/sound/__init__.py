"""Decides what may be played, and serves it.

Excerpts of listening sessions are cut in `explorer/listening_sessions/excerpts.py`, after asking `sound.permission`.
"""
