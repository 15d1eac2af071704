"""Notes of a track, wherever it is named: its rights holders, renderings of its work, how sure its score is.

Pure functions; texts ready to read. Parties are (name, role), as `HolderReader.read_parties` gives them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from explorer.store import Store
from explorer.store.ranking import Ranking
from explorer.store.records import TrackClaim, TrackRecord
from explorer.text.claims import label_row, word_hub, word_pair, word_track
from explorer.text.numbers import format_error_rate, format_places

CHARS = 240


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
    label = label_row(ranking, row)[1]
    q_value = float(ranking.q_value[row])
    return label if math.isnan(q_value) else f"{label} · q {format_error_rate(q_value)}"


def word_place(ranking: Ranking, row: int) -> str:
    """'1–3': the places that a row of a ranking may hold; of a decoy, those that a track of its score would."""
    return format_places(int(ranking.intervals.best[row]), int(ranking.intervals.worst[row]))


def list_remarks(
    store: Store, ranking: Ranking, track_ids: Sequence[int], claims: Mapping[int, TrackClaim], tuned: bool
) -> dict[int, list[str]]:
    """By track: both claims, whether it is a hub, who holds it, other renderings of its work; as far as known.

    `claims`: *shaped the model*, by track; `tuned`: the clip is of a model tuned from the one that these are about.
    """
    parties, works = store.holders.read_parties(track_ids), store.tracks.count_renderings(track_ids)
    remarks = {}
    for i, track in store.tracks.read_many(track_ids).items():
        row, claim = ranking.index(i), claims.get(i)
        pair = "" if row is None else word_pair(ranking, row)
        others = list_people(parties[i]), word_renderings(track, works.get(i, 0))
        remarks[i] = [text for text in (pair, word_track(claim, tuned), word_hub(claim), *others) if text]
    return remarks
