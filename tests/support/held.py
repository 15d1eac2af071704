"""The small store of make_store.py with what a rights holder looks for: labels, renderings of one work, passages.

Track 1 and track 17 are renderings of one work; both come up for clip 1. Tracks 1 to 8 have a label; track 4 may be
heard as an excerpt, track 5 not at all. One passage of track 1 is close to clip 1, one of track 2 is not; tracks 1 to
20 were compared with clip 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

LABEL, HOSTILE_LABEL = "Tiny Label", "<img src=x onerror=alert(6)> ${alert(7)} & =cmd|'/c calc'!A1"
PUBLISHER = "Quiet Press"  # of track 5 alone, which may not be heard
LABELLED = tuple(range(1, 9))
CLOSE_PASSAGE = (0.25, 1.0, 0.5, 1.25)  # clip from, to; track from, to


def make_held(made: Any, folder: Path) -> Path:
    """The path of the new store."""
    path = made.make_store(folder)
    with duckdb.connect(str(path)) as con:
        for track_id in LABELLED:
            con.execute("INSERT INTO holders VALUES (?, ?, 'label')", [track_id, LABEL])
        con.execute("INSERT INTO holders VALUES (1, ?, 'performer'), (3, ?, 'label')", [LABEL, HOSTILE_LABEL])
        con.execute("INSERT INTO holders VALUES (?, ?, 'publisher')", [made.FORBIDDEN, PUBLISHER])
        con.execute("DELETE FROM aspects")
        con.execute("DELETE FROM passages")
        con.execute("INSERT INTO aspects SELECT 1, range, 'melody', 50 FROM range(1, 21)")
        con.execute("INSERT INTO passages VALUES (1, 1, 1, ?, ?, ?, ?, 2, 0.7, 0.003)", list(CLOSE_PASSAGE))
        con.execute("INSERT INTO passages VALUES (1, 2, 1, 0, 1, 0, 1, 0, 0.2, 0.5)")
    return path
