"""What is said of a track wherever it is named: who holds it, that its work was trained on several times, how sure.

Pure functions; texts ready to read. Parties are (name, role), as `Catalogue.parties` gives them.
"""

from __future__ import annotations

from collections.abc import Sequence

from explorer.listen.table import badge, q_text
from explorer.store.ranking import Ranking
from explorer.store.records import TrackRecord

CHARS = 240


def people(parties: Sequence[tuple[str, str]]) -> str:
    """'Clara Schumann (composer) · Label (label)'."""
    return " · ".join(f"{name} ({role})" for name, role in parties)[:CHARS]


def further(track: TrackRecord, parties: Sequence[tuple[str, str]]) -> str:
    """All parties, where there are others than the composer and the rights holder that the track itself names."""
    own = {(track.composer, "composer"), (track.rights_holder, "rights holder")}
    return people(parties) if set(parties) - own else ""


def same_work(track: TrackRecord, renderings: int) -> str | None:
    """That a track is no lone rendering; `renderings`: training tracks of its work, itself included unless a decoy."""
    if track.is_decoy:
        return None
    return f"one of {renderings:,} renderings of its work" if renderings > 1 else None


def in_a_lane(track: TrackRecord, renderings: int) -> str | None:
    """What a listener should know of a track that plays: other renderings of its work, that it is a planted case."""
    told = (same_work(track, renderings), f"planted case: {track.planted}" if track.planted else None)
    return " · ".join(part for part in told if part) or None


def sureness(ranking: Ranking, track_id: int) -> str:
    """'not distinguishable from noise · q 0.55'; empty where the track was not scored."""
    row = ranking.index(track_id)
    if row is None:
        return ""
    return f"{badge(bool(ranking.is_decoy[row]), bool(ranking.above_noise[row]))} · q {q_text(ranking.q_value[row])}"
