"""Listening sessions: musicians rate pairs of clip and track, blind where the host wants it.

`file.py` is the one writable file, `plan.py` chooses the pairs, `excerpts.py` renders them, `listeners.py` and
`host.py` answer browsers, `results.py` holds ratings against scores, `export.py` and `pictures.py` hand them out.
"""
