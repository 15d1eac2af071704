"""Labels and notes of a track, wherever it is named: its rights holders, renderings of its work, how sure its score is.

Pure functions; texts ready to read. Parties are (name, role), as `HolderReader.read_parties` gives them.
"""

from __future__ import annotations

from collections.abc import Sequence

from explorer.store import Store
from explorer.store.ranking import Ranking
from explorer.store.records import TrackRecord
from explorer.text.numbers import format_q

CHARS = 240
ABOVE_TEXT, NOISE_TEXT, DECOY_TEXT = "above noise", "not distinguishable from noise", "decoy, never heard"


def label_certainty(is_decoy: bool, above_noise: bool) -> str:
    """'above noise', 'not distinguishable from noise', or that it is a decoy."""
    if is_decoy:
        return DECOY_TEXT
    return ABOVE_TEXT if above_noise else NOISE_TEXT


def list_people(parties: Sequence[tuple[str, str]]) -> str:
    """'Clara Schumann (composer) · Label (label)'."""
    return " · ".join(f"{name} ({role})" for name, role in parties)[:CHARS]


def list_further_people(track: TrackRecord, parties: Sequence[tuple[str, str]]) -> str:
    """All parties, where there are others than the composer and the rights holder that the track itself names."""
    own = {(track.composer, "composer"), (track.rights_holder, "rights holder")}
    return list_people(parties) if set(parties) - own else ""


def word_renderings(track: TrackRecord, renderings: int) -> str | None:
    """That a track is no lone rendering; `renderings`: training tracks of its work, itself included unless a decoy."""
    if track.is_decoy:
        return None
    return f"one of {renderings:,} renderings of its work" if renderings > 1 else None


def note_track(track: TrackRecord, renderings: int) -> str | None:
    """Note on a track that plays: other renderings of its work, that it is a planted case."""
    notes = (word_renderings(track, renderings), f"planted case: {track.planted}" if track.planted else None)
    return " · ".join(part for part in notes if part) or None


def word_certainty(ranking: Ranking, track_id: int) -> str:
    """'not distinguishable from noise · q 0.55'; empty where the track was not scored."""
    row = ranking.index(track_id)
    if row is None:
        return ""
    label = label_certainty(bool(ranking.is_decoy[row]), bool(ranking.above_noise[row]))
    return f"{label} · q {format_q(ranking.q_value[row])}"


def list_remarks(store: Store, ranking: Ranking, track_ids: Sequence[int]) -> dict[int, list[str]]:
    """By track: how sure its score is, who holds it, other renderings of its work; what is not known is left out."""
    parties, works = store.holders.read_parties(track_ids), store.tracks.count_renderings(track_ids)
    remarks = {
        i: (word_certainty(ranking, i), list_people(parties[i]), word_renderings(track, works.get(i, 0)))
        for i, track in store.tracks.read_many(track_ids).items()
    }
    return {i: [text for text in texts if text] for i, texts in remarks.items()}
