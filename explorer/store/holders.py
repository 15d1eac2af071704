"""Queries about groups of tracks: who holds them, where they come up, how many may be heard.

A grouping is 'collection', a role of the table `holders` ('composer', 'label', ...) or ANY_ROLE. Clips are generated
ones and users' of run 1, never controls; tracks are its training tracks, never decoys. What a whole method or grouping
needs is read once: about 8 MB a method and 10 MB a grouping at 115,000 tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from explorer.store.catalogue import suffices
from explorer.store.database import Database
from explorer.store.lift import NAME_CHARS, PLACES, Groups, form_groups
from explorer.store.records import AuditionCounts

COLLECTION, ANY_ROLE = "collection", "any role"
# Who holds what. A store whose table of holders is empty still has the summaries in `tracks`.
PARTIES = f"""
parties AS (
    SELECT track_id, left(holder, {NAME_CHARS}) AS name, role FROM holders WHERE role <> '{COLLECTION}'
    UNION ALL SELECT track_id, left(composer, {NAME_CHARS}), 'composer' FROM tracks WHERE NOT EXISTS (FROM holders)
    UNION ALL SELECT track_id, left(rights_holder, {NAME_CHARS}), 'rights holder' FROM tracks
        WHERE NOT EXISTS (FROM holders)
    UNION ALL SELECT track_id, left(collection, {NAME_CHARS}), '{COLLECTION}' FROM tracks
)
"""
CLIPS = "SELECT clip_id FROM clips WHERE kind <> 'track' AND run_id = 1"
GENERATED = f"{CLIPS} AND kind = 'generated'"
# Tracks of a group; its arguments are name, grouping, grouping.
MEMBERS = (
    "SELECT DISTINCT p.track_id FROM parties p JOIN tracks t USING (track_id) WHERE NOT t.is_decoy"
    " AND name = ? AND (role = ? OR (? = 'any role' AND role <> 'collection'))"
)
_UP = {**{count: f"s.train_rank <= {places}" for count, places in PLACES.items()}, "above": "s.above_noise"}


class _Members(NamedTuple):
    """The members of the groups of a grouping: M entries, a track once for each group that it is in."""

    names: np.ndarray  # str [G], of the groups
    group: np.ndarray  # int [M], index into names
    track: np.ndarray  # int [M], index into the training tracks by id


class CatalogueScores(NamedTuple):
    """What `catalogue.judge_catalogue` compares: raw scores of a group and of decoys."""

    clip_id: np.ndarray  # int [Q]: generated clips of run 1, ascending
    score: np.ndarray  # float [Q, g]; [Q, 0] where not every clip has all of them, or they were not read
    collections: list[str]  # [g]
    decoy_score: np.ndarray  # float [Q, D]
    decoy_collections: list[str]  # [D]


class _RawScores(NamedTuple):
    clip_id: np.ndarray  # int [Q]
    track_id: np.ndarray  # int [n]
    score: np.ndarray  # float [Q, n]


class HolderReader:
    """Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.read_groupings = lru_cache(1)(self._read_groupings)
        self.read_groups = lru_cache(24)(self._read_groups)
        self._training = lru_cache(1)(self._read_training)
        self._coming_up = lru_cache(8)(self._read_coming_up)
        self._members = lru_cache(8)(self._read_members)
        self._decoys = lru_cache(2)(self._read_decoys)  # 5 MB each for 10,000 decoys and 64 clips

    def _read_groupings(self) -> dict[str, tuple[int, float]]:
        """Grouping -> (how many groups, the largest one's part of the training tracks); roles by name first."""
        rows = self._database.fetch_rows(
            f"WITH {PARTIES}, sized AS (SELECT role, name, count(*) AS size FROM parties JOIN tracks USING (track_id)"
            " WHERE NOT is_decoy GROUP BY role, name)"
            " SELECT role, count(*), max(size) / (SELECT count(*) FROM tracks WHERE NOT is_decoy) FROM sized"
            f" GROUP BY role ORDER BY role = '{COLLECTION}', role"
        )
        groupings = {role: (count, float(part)) for role, count, part in rows}
        roles = [role for role in groupings if role != COLLECTION]
        if len(roles) > 1:
            groupings[ANY_ROLE] = (len(self._members(ANY_ROLE).names), max(groupings[role][1] for role in roles))
        return groupings

    def _read_training(self) -> dict[str, np.ndarray]:
        """Training tracks by id: track_id, work (a code from 0)."""
        return self._database.fetch_columns(
            "SELECT track_id, (dense_rank() OVER (ORDER BY work_id) - 1)::INTEGER AS work FROM tracks"
            " WHERE NOT is_decoy ORDER BY track_id"
        )

    def _read_members(self, grouping: str) -> _Members:
        where = f"role <> '{COLLECTION}'" if grouping == ANY_ROLE else "role = ?"
        frame = self._database.fetch_frame(
            f"WITH {PARTIES} SELECT DISTINCT name, track_id FROM parties JOIN tracks USING (track_id)"
            f" WHERE NOT is_decoy AND {where}",
            *([] if grouping == ANY_ROLE else [grouping]),
        )
        group, names = pd.factorize(frame["name"])
        track = np.searchsorted(self._training()["track_id"], frame["track_id"].to_numpy())
        return _Members(np.asarray(names, dtype=object), group, track)

    def _read_coming_up(self, method_id: int) -> dict[str, np.ndarray]:
        """[N] over the training tracks: for how many clips each is among the first 10, 100, above noise; best place."""
        counts = ", ".join(f'count(*) FILTER ({up}) AS "{count}"' for count, up in _UP.items())
        columns = self._database.fetch_columns(
            f"SELECT s.track_id, min(s.train_rank) AS best, {counts} FROM scores s WHERE s.method_id = ?"
            f" AND s.train_rank IS NOT NULL AND s.clip_id IN ({CLIPS}) GROUP BY s.track_id",
            method_id,
        )
        ids = self._training()["track_id"]
        at = np.searchsorted(ids, columns.pop("track_id"))
        result = {name: np.zeros(len(ids), int) for name in columns}
        for name, values in columns.items():
            result[name][at] = values
        return result

    def _read_groups(self, method_id: int, grouping: str, count: str) -> Groups:
        """All groups of a grouping under one method; `count`, one of lift.COUNTS, says what coming up means."""
        members, up = self._members(grouping), self._coming_up(method_id)
        return form_groups(*members, self._training()["work"], up[count], up["above"], up["best"])

    def list_members(self, grouping: str, name: str) -> list[int]:
        """Ids of a group's training tracks, ascending."""
        sql = f"WITH {PARTIES} {MEMBERS} ORDER BY track_id"
        return [row[0] for row in self._database.fetch_rows(sql, name, grouping, grouping)]

    def list_pairs(
        self, method_id: int, grouping: str, name: str, count: str | None, limit: int, offset: int = 0, text: str = ""
    ) -> list[tuple[int, int]]:
        """(clip, track) in which a group's track comes up: above noise, then by place. `count` None: any.

        `text`: words that title, composer and collection of the track and the clip's prompt must hold together.
        """
        up = "true" if count is None else _UP[count]
        return self._select_pairs(up, method_id, grouping, name, limit, offset, text)

    def count_pairs(self, method_id: int, grouping: str, name: str, count: str, text: str) -> int:
        """Count the pairs of which `list_pairs` gives a page."""
        where, args = self._match_pairs(_UP[count], method_id, grouping, name, text)
        return self._database.fetch_rows(f"WITH {PARTIES} SELECT count(*) {where}", *args)[0][0]

    def list_report_pairs(self, method_id: int, grouping: str, name: str, limit: int) -> list[tuple[int, int]]:
        """(clip, track) in which a track is among the first 100 or above noise; where none is, the best."""
        wide = f"({_UP['100']} OR {_UP['above']})"
        pairs = self._select_pairs(wide, method_id, grouping, name, limit, 0)
        return pairs or self._select_pairs("true", method_id, grouping, name, min(limit, 25), 0)

    def _select_pairs(
        self, up: str, method_id: int, grouping: str, name: str, limit: int, offset: int, text: str = ""
    ) -> list[tuple[int, int]]:
        where, args = self._match_pairs(up, method_id, grouping, name, text)
        return self._database.fetch_rows(
            f"WITH {PARTIES} SELECT s.clip_id, s.track_id {where}"
            " ORDER BY s.above_noise DESC, s.train_rank, s.clip_id, s.track_id LIMIT ? OFFSET ?",
            *(*args, limit, offset),
        )

    def _match_pairs(
        self, up: str, method_id: int, grouping: str, name: str, text: str
    ) -> tuple[str, tuple[object, ...]]:
        """FROM and WHERE of the pairs of a group, and their arguments."""
        words = text.split()
        joined = " JOIN tracks h USING (track_id) JOIN clips c USING (clip_id)" if words else ""
        where = (
            f"FROM scores s{joined} WHERE s.method_id = ? AND {up} AND s.train_rank IS NOT NULL"
            f" AND s.clip_id IN ({CLIPS}) AND s.track_id IN ({MEMBERS})"
        )
        held = "strip_accents(lower(concat_ws(' ', h.title, h.composer, h.collection, c.prompt, c.title)))"
        where += f" AND contains({held}, strip_accents(lower(?)))" * len(words)
        return where, (method_id, name, grouping, grouping, *words)

    def read_catalogue(self, method_id: int, grouping: str, name: str) -> CatalogueScores:
        """Raw scores of a group's tracks for every generated clip of run 1, beside all decoys'; planted cases apart.

        The group's own are not read where it has too many tracks for `catalogue.suffices`.
        """
        rows = self._database.fetch_rows(
            f"WITH {PARTIES} SELECT track_id, collection FROM tracks WHERE track_id IN ({MEMBERS}) ORDER BY track_id",
            *(name, grouping, grouping),
        )
        decoys = self._decoys(method_id)
        ids = [row[0] for row in rows] if suffices(len(rows), len(decoys.track_id)) else []
        own = self._read_raw(method_id, "list_contains(?::INTEGER[], track_id)", ids)
        if not ids or not np.array_equal(own.clip_id, decoys.clip_id) or len(own.track_id) < len(ids):
            own = _RawScores(decoys.clip_id, np.array(ids), np.zeros((len(decoys.clip_id), 0)))
        held = dict(self._database.fetch_rows("SELECT track_id, collection FROM tracks WHERE is_decoy"))
        of_decoys = [held.get(track_id, "") for track_id in decoys.track_id.tolist()]
        return CatalogueScores(decoys.clip_id, own.score, [row[1] for row in rows], decoys.score, of_decoys)

    def _read_decoys(self, method_id: int) -> _RawScores:
        planted = "SELECT track_id FROM tracks WHERE planted IS NOT NULL"
        return self._read_raw(method_id, f"train_rank IS NULL AND track_id NOT IN ({planted})")

    def _read_raw(self, method_id: int, where: str, *args: object) -> _RawScores:
        """Raw scores of the tracks that meet a condition and that every generated clip of run 1 has."""
        columns = self._database.fetch_columns(
            "SELECT clip_id, track_id, score::DOUBLE AS score FROM scores"
            f" WHERE method_id = ? AND clip_id IN ({GENERATED}) AND {where}",
            *(method_id, *args),
        )
        clips, at_clip = np.unique(columns["clip_id"], return_inverse=True)
        ids, at_track = np.unique(columns["track_id"], return_inverse=True)
        score = np.full((len(clips), len(ids)), np.nan)
        score[at_clip, at_track] = columns["score"]
        complete = ~np.isnan(score).any(0)
        return _RawScores(clips, ids[complete], score[:, complete])

    def read_parties(self, track_ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
        """By track: everybody who holds rights in it or made it, as (name, role)."""
        parties: dict[int, list[tuple[str, str]]] = {i: [] for i in track_ids}
        for track_id, name, role in self._database.fetch_rows(
            f"WITH {PARTIES} SELECT track_id, name, role FROM parties WHERE role <> '{COLLECTION}'"
            " AND track_id IN (SELECT unnest(?::INTEGER[])) ORDER BY track_id, role, name",
            list(track_ids),
        ):
            parties[track_id].append((name, role))
        return parties

    def count_audible(self, grouping: str | None, name: str | None) -> AuditionCounts:
        """Count the tracks that may be heard, of a group or (`name` None) of all training tracks."""
        where = f"NOT is_decoy AND track_id IN ({MEMBERS})" if name is not None else "NOT is_decoy"
        row = self._database.fetch_rows(
            f"WITH {PARTIES} SELECT count(*) FILTER (audition = 'full'), count(*) FILTER (audition = 'excerpt'),"
            " count(*) FILTER (audition = 'none'), count(*) FILTER (audition <> 'none' AND audio_path IS NULL)"
            f" FROM tracks WHERE {where}",
            *((name, grouping, grouping) if name is not None else ()),
        )[0]
        return AuditionCounts(*row)
