"""Listening sessions: musicians rate pairs of clip and track, blind where the host wants it.

`file.py` keeps sessions and ratings in the one writable file (`database.py`, `queries.py`: its SQLite side). `plan.py`
chooses the pairs, `excerpts.py` and `excerpt_starts.py` what is heard of them. `host_routes.py` and
`listener_routes.py` answer browsers, `routes.py` puts both into the server. `results.py` compares ratings with scores;
`export.py` and `pictures.py` write them as files.
"""
