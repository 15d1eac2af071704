"""A store and its readers, one for each subject.

Conventions: ids in; frozen records, arrays or DataFrames out. Scores: higher = stronger influence. Ranks: 1 =
strongest. Durations in seconds, loudness in LUFS, peaks in dBFS. An unknown id raises UnknownIdError.
"""

from __future__ import annotations

from pathlib import Path

from explorer.store.claims import ClaimReader
from explorer.store.clips import ClipReader
from explorer.store.database import Database
from explorer.store.holders import HolderReader
from explorer.store.records import StoreInfo
from explorer.store.resemblance import ResemblanceReader
from explorer.store.runs import RunReader
from explorer.store.scores import ScoreReader
from explorer.store.tracks import TrackReader


class Store:
    """A read-only store. Safe to share between threads.

    In a script: `store = Store(Path("assets/demo/store.duckdb"))`, then `store.runs.list_methods()`,
    `store.scores.read_frame(1, clip_id)` and so on; `explorer/examples/error_analysis.py` shows it.
    """

    info: StoreInfo
    tracks: TrackReader
    clips: ClipReader
    scores: ScoreReader
    claims: ClaimReader  # what may be believed of scores
    runs: RunReader  # runs, methods, and what runs found about themselves
    resemblance: ResemblanceReader  # how alike clips and tracks sound; copied passages
    holders: HolderReader  # groups of tracks: who holds them, where they come up

    def __init__(self, path: Path, threads: int = 2, memory_limit: str = "1GB") -> None:
        """Raises the StoreError family."""
        self.path = path.resolve()
        self._threads, self._memory_limit = threads, memory_limit
        self._attach(Database.open(self.path, threads, memory_limit))

    def _attach(self, database: Database) -> None:
        """Answer from `database` from now on. Readers keep results at hand: new ones begin with none."""
        self.database = database
        sql = "SELECT version, track_root, clip_root, default_method, note FROM store_info"
        self.info = StoreInfo(*database.fetch_rows(sql)[0])
        self.tracks = TrackReader(database)
        self.clips = ClipReader(database, self.tracks)
        self.scores = ScoreReader(database)
        self.claims = ClaimReader(database)
        self.runs = RunReader(database)
        self.resemblance = ResemblanceReader(database)
        self.holders = HolderReader(database)

    def close(self) -> None:
        """Close the file; no query works after it."""
        self.database.close()

    def reopen(self) -> None:
        """Read the version of the store that lies at the same path now; queries under way end with the old one.

        Raises the StoreError family, or OSError where the folder takes no link; then all is as before. The old
        connection closes with the last query that uses it: who keeps a reader keeps the old version.
        """
        self._attach(Database.open_replaced(self.path, self._threads, self._memory_limit))
