"""Questions to the store about groups of tracks: who holds them, where they come up, what is copied, what may be heard.

A grouping is 'collection', a role of the table `holders` ('composer', 'label', ...) or ANY_ROLE. Clips are the
generated ones and users', never controls; tracks are training tracks, never decoys. What a whole method or grouping
needs is read once and kept: about 8 MB a method and 10 MB a grouping at 115,000 tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from explorer.store.lift import NAME_CHARS, PLACES, Groups, form_groups

COLLECTION, ANY_ROLE = "collection", "any role"
CLOSE = 0.05  # a passage counts as close where at most this part of the decoys comes as close
# Who holds what. A store whose table of holders is empty still has the summaries in `tracks`.
_PARTIES = f"""
parties AS (
    SELECT track_id, left(holder, {NAME_CHARS}) AS name, role FROM holders WHERE role <> '{COLLECTION}'
    UNION ALL SELECT track_id, left(composer, {NAME_CHARS}), 'composer' FROM tracks WHERE NOT EXISTS (FROM holders)
    UNION ALL SELECT track_id, left(rights_holder, {NAME_CHARS}), 'rights holder' FROM tracks
        WHERE NOT EXISTS (FROM holders)
    UNION ALL SELECT track_id, left(collection, {NAME_CHARS}), '{COLLECTION}' FROM tracks
)
"""
_OF = "name = ? AND (role = ? OR (? = 'any role' AND role <> 'collection'))"
_CLIPS = "SELECT clip_id FROM clips WHERE kind <> 'track'"
_MEMBERS = f"SELECT DISTINCT p.track_id FROM parties p JOIN tracks t USING (track_id) WHERE NOT t.is_decoy AND {_OF}"
_UP = {**{count: f"s.train_rank <= {places}" for count, places in PLACES.items()}, "above": "s.above_noise"}


@dataclass(frozen=True)
class CopiedPassage:
    """Where clip and track run alike; copying, not influence."""

    clip_id: int
    track_id: int
    clip: tuple[float, float]  # seconds, from and to
    track: tuple[float, float]
    semitones: int  # how far the track must be moved to fit the clip
    similarity: float  # higher = closer
    p_value: float  # how often a decoy comes as close


@dataclass(frozen=True)
class Copying:
    """What was looked for and found; `compared` is 0 where nobody looked."""

    compared: int  # pairs of clip and track
    close: int  # pairs whose closest passage is as close as at most CLOSE of the decoys
    passages: tuple[CopiedPassage, ...]  # of those, the closest first


@dataclass(frozen=True)
class Heard:
    """How many training tracks may be heard, and how."""

    full: int
    excerpt: int
    none: int
    silent: int  # may be heard, but their audio is not part of this copy


class Catalogue:
    """Safe to share between threads: every question takes a cursor of its own."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con
        self.groupings = lru_cache(1)(self._groupings)
        self.groups = lru_cache(24)(self._groups)
        self._track_columns = lru_cache(1)(self._read_tracks)
        self._up = lru_cache(8)(self._read_up)
        self._members = lru_cache(8)(self._read_members)

    def _rows(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        return self._con.cursor().execute(sql, args).fetchall()

    def _columns(self, sql: str, *args: object) -> dict[str, np.ndarray]:
        return self._con.cursor().execute(sql, args).fetchnumpy()

    def _groupings(self) -> dict[str, tuple[int, float]]:
        """Grouping -> (how many groups, the largest one's part of the training tracks); roles by name first."""
        rows = self._rows(
            f"WITH {_PARTIES}, sized AS (SELECT role, name, count(*) AS size FROM parties JOIN tracks USING (track_id)"
            " WHERE NOT is_decoy GROUP BY role, name)"
            " SELECT role, count(*), max(size) / (SELECT count(*) FROM tracks WHERE NOT is_decoy) FROM sized"
            f" GROUP BY role ORDER BY role = '{COLLECTION}', role"
        )
        found = {role: (count, float(part)) for role, count, part in rows}
        roles = [role for role in found if role != COLLECTION]
        if len(roles) > 1:
            found[ANY_ROLE] = (len(self._members(ANY_ROLE)[0]), max(found[role][1] for role in roles))
        return found

    def _read_tracks(self) -> dict[str, np.ndarray]:
        """Training tracks by id: track_id, work (a code from 0)."""
        return self._columns(
            "SELECT track_id, (dense_rank() OVER (ORDER BY work_id) - 1)::INTEGER AS work FROM tracks"
            " WHERE NOT is_decoy ORDER BY track_id"
        )

    def _read_members(self, grouping: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Names [G], and for each member its group and its track, as indices."""
        where = f"role <> '{COLLECTION}'" if grouping == ANY_ROLE else "role = ?"
        frame = (
            self._con.cursor()
            .execute(
                f"WITH {_PARTIES} SELECT DISTINCT name, track_id FROM parties JOIN tracks USING (track_id)"
                f" WHERE NOT is_decoy AND {where}",
                [] if grouping == ANY_ROLE else [grouping],
            )
            .df()
        )
        group, names = pd.factorize(frame["name"])
        track = np.searchsorted(self._track_columns()["track_id"], frame["track_id"].to_numpy())
        return np.asarray(names, dtype=object), group, track

    def _read_up(self, method_id: int) -> dict[str, np.ndarray]:
        """By training track: for how many clips it is among the first 10, 100, above noise; its best place."""
        counts = ", ".join(f'count(*) FILTER ({up}) AS "{count}"' for count, up in _UP.items())
        found = self._columns(
            f"SELECT s.track_id, min(s.train_rank) AS best, {counts} FROM scores s WHERE s.method_id = ?"
            f" AND s.train_rank IS NOT NULL AND s.clip_id IN ({_CLIPS}) GROUP BY s.track_id",
            method_id,
        )
        ids = self._track_columns()["track_id"]
        at = np.searchsorted(ids, found.pop("track_id"))
        result = {name: np.zeros(len(ids), int) for name in found}
        for name, values in found.items():
            result[name][at] = values
        return result

    def _groups(self, method_id: int, grouping: str, count: str) -> Groups:
        """All groups of a grouping under one method; `count` of holders.COUNTS says what coming up means."""
        names, group, track = self._members(grouping)
        up = self._up(method_id)
        return form_groups(names, group, track, self._track_columns()["work"], up[count], up["above"], up["best"])

    def count_training(self) -> int:
        """How many training tracks the store has."""
        return self._rows("SELECT count(*) FROM tracks WHERE NOT is_decoy")[0][0]

    def clips(self) -> int:
        """How many clips are looked at."""
        return self._rows(f"SELECT count(*) FROM ({_CLIPS})")[0][0]

    def members(self, grouping: str, name: str) -> list[int]:
        """Ids of a group's training tracks, ascending."""
        sql = f"WITH {_PARTIES} {_MEMBERS} ORDER BY track_id"
        return [row[0] for row in self._rows(sql, name, grouping, grouping)]

    def pairs(
        self, method_id: int, grouping: str, name: str, count: str | None, limit: int, offset: int = 0, text: str = ""
    ) -> list[tuple[int, int]]:
        """(clip, track) in which a group's track comes up: above noise, then by place. `count` None: any.

        `text`: words that title, composer and collection of the track and the clip's prompt must hold together.
        """
        up = "true" if count is None else _UP[count]
        return self._pairs_where(up, method_id, grouping, name, limit, offset, text)

    def count_pairs(self, method_id: int, grouping: str, name: str, count: str, text: str) -> int:
        """How many `pairs` there are in all."""
        where, args = self._pairs_of(_UP[count], method_id, grouping, name, text)
        return self._rows(f"WITH {_PARTIES} SELECT count(*) {where}", *args)[0][0]

    def _pairs_where(
        self, up: str, method_id: int, grouping: str, name: str, limit: int, offset: int, text: str = ""
    ) -> list[tuple[int, int]]:
        where, args = self._pairs_of(up, method_id, grouping, name, text)
        return self._rows(
            f"WITH {_PARTIES} SELECT s.clip_id, s.track_id {where}"
            " ORDER BY s.above_noise DESC, s.train_rank, s.clip_id, s.track_id LIMIT ? OFFSET ?",
            *(*args, limit, offset),
        )

    def _pairs_of(self, up: str, method_id: int, grouping: str, name: str, text: str) -> tuple[str, tuple[object, ...]]:
        """FROM and WHERE of the pairs of a group, and their arguments."""
        words = text.split()
        joined = " JOIN tracks h USING (track_id) JOIN clips c USING (clip_id)" if words else ""
        where = (
            f"FROM scores s{joined} WHERE s.method_id = ? AND {up} AND s.train_rank IS NOT NULL"
            f" AND s.clip_id IN ({_CLIPS}) AND s.track_id IN ({_MEMBERS})"
        )
        held = "strip_accents(lower(concat_ws(' ', h.title, h.composer, h.collection, c.prompt, c.title)))"
        where += f" AND contains({held}, strip_accents(lower(?)))" * len(words)
        return where, (method_id, name, grouping, grouping, *words)

    def details(self, method_id: int, pairs: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """What is known of each pair, in order: `scores` with train_rank, windows and moments (NULL where not kept).

        Keys: clip_id, track_id, place (among training tracks; None for a decoy), score, std_error, score_norm,
        std_error_norm, q_value, above_noise, window_s, windows (influence over the clip), rate_hz, moments (over the
        track).
        """
        if not pairs:
            return []
        clips, tracks = zip(*pairs, strict=True)
        rows = self._con.cursor().execute(
            """
            WITH asked AS (SELECT unnest(?::INTEGER[]) AS clip_id, unnest(?::INTEGER[]) AS track_id)
            SELECT clip_id, track_id, h.train_rank AS place, h.score, h.std_error, h.score_norm, h.std_error_norm,
                h.q_value, h.above_noise, w.window_s, w.influence AS windows, m.rate_hz, m.influence AS moments
            FROM asked JOIN scores h USING (clip_id, track_id)
            LEFT JOIN clip_moments w USING (method_id, clip_id, track_id)
            LEFT JOIN moments m USING (method_id, clip_id, track_id)
            WHERE h.method_id = ?
            """,
            [list(clips), list(tracks), method_id],
        )
        names = [column[0] for column in rows.description]
        found = {(row[0], row[1]): dict(zip(names, row, strict=True)) for row in rows.fetchall()}
        return [found[pair] for pair in pairs if pair in found]

    def report_pairs(self, method_id: int, grouping: str, name: str, limit: int) -> list[tuple[int, int]]:
        """(clip, track) in which a track is among the first 100 or above noise; where none is, the best."""
        wide = f"({_UP['100']} OR {_UP['above']})"
        found = self._pairs_where(wide, method_id, grouping, name, limit, 0)
        return found or self._pairs_where("true", method_id, grouping, name, min(limit, 25), 0)

    def clip_pairs(self, method_id: int, clip_id: int, limit: int) -> list[tuple[int, int]]:
        """(clip, track) of one clip by rank, decoys too."""
        sql = "SELECT clip_id, track_id FROM scores WHERE method_id = ? AND clip_id = ? ORDER BY rank LIMIT ?"
        return self._rows(sql, method_id, clip_id, limit)

    def papers(self, track_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """By track: work_id, isrc, iswc, licence_evidence, audio_sha256."""
        names = ("work_id", "isrc", "iswc", "licence_evidence", "audio_sha256")
        sql = f"SELECT track_id, {', '.join(names)} FROM tracks WHERE track_id IN (SELECT unnest(?::INTEGER[]))"
        return {row[0]: dict(zip(names, row[1:], strict=True)) for row in self._rows(sql, list(track_ids))}

    def settings(self, method_id: int) -> dict[str, Any]:
        """How the scores were made: settings (JSON text), versions (JSON text), config (its text), cost_s."""
        rows = self._rows(
            "SELECT settings_json, versions_json, config_toml, cost_s FROM methods JOIN runs USING (run_id)"
            " WHERE method_id = ?",
            method_id,
        )
        return dict(zip(("settings", "versions", "config", "cost_s"), rows[0], strict=True))

    def clip_hash(self, clip_id: int) -> str | None:
        """SHA-256 of the clip's audio, where it is known."""
        rows = self._rows("SELECT audio_sha256 FROM clips WHERE clip_id = ?", clip_id)
        return rows[0][0] if rows else None

    def parties(self, track_ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
        """By track: everybody who holds rights in it or made it, as (name, role)."""
        found: dict[int, list[tuple[str, str]]] = {i: [] for i in track_ids}
        for track_id, name, role in self._rows(
            f"WITH {_PARTIES} SELECT track_id, name, role FROM parties WHERE role <> '{COLLECTION}'"
            " AND track_id IN (SELECT unnest(?::INTEGER[])) ORDER BY track_id, role, name",
            list(track_ids),
        ):
            found[track_id].append((name, role))
        return found

    def renderings(self, track_ids: Sequence[int]) -> dict[int, int]:
        """By track: how many training tracks are of its work, itself included."""
        rows = self._rows(
            "SELECT t.track_id, count(*) FROM tracks t JOIN tracks o ON o.work_id = t.work_id AND NOT o.is_decoy"
            " WHERE t.track_id IN (SELECT unnest(?::INTEGER[])) GROUP BY t.track_id",
            list(track_ids),
        )
        return dict(rows)

    def heard(self, grouping: str | None, name: str | None) -> Heard:
        """Of a group, or of all training tracks."""
        where = f"NOT is_decoy AND track_id IN ({_MEMBERS})" if name is not None else "NOT is_decoy"
        row = self._rows(
            f"WITH {_PARTIES} SELECT count(*) FILTER (audition = 'full'), count(*) FILTER (audition = 'excerpt'),"
            " count(*) FILTER (audition = 'none'), count(*) FILTER (audition <> 'none' AND audio_path IS NULL)"
            f" FROM tracks WHERE {where}",
            *((name, grouping, grouping) if name is not None else ()),
        )[0]
        return Heard(*row)

    def copying(
        self, limit: int, grouping: str | None = None, name: str | None = None, clip_id: int | None = None
    ) -> Copying:
        """Of a group, of a clip, or of all; at most `limit` passages. Pairs that were compared have aspects too."""
        where = [f"clip_id IN ({_CLIPS})" if clip_id is None else "clip_id = ?"]
        args: list[Any] = [] if clip_id is None else [clip_id]
        where.append("track_id IN (SELECT track_id FROM tracks WHERE NOT is_decoy)")
        if name is not None:
            where.append(f"track_id IN ({_MEMBERS})")
            args += [name, grouping, grouping]
        wanted = " AND ".join(where)
        compared, close = self._rows(
            f"WITH {_PARTIES}, pairs AS (SELECT clip_id, track_id FROM aspects WHERE {wanted}"
            f" UNION SELECT clip_id, track_id FROM passages WHERE {wanted})"
            f" SELECT (SELECT count(*) FROM pairs), (SELECT count(DISTINCT (clip_id, track_id)) FROM passages"
            f" WHERE {wanted} AND p_value <= {CLOSE})",
            *(args * 3),
        )[0]
        rows = self._rows(
            f"WITH {_PARTIES} SELECT clip_id, track_id, clip_start_s, clip_end_s, track_start_s, track_end_s,"
            f" semitones, similarity, p_value FROM passages WHERE {wanted} AND p_value <= {CLOSE}"
            " ORDER BY p_value, similarity DESC, clip_id, track_id, passage LIMIT ?",
            *args,
            limit,
        )
        return Copying(compared, close, tuple(CopiedPassage(r[0], r[1], r[2:4], r[4:6], *r[6:]) for r in rows))

    def looked_for_copies(self) -> bool:
        """Whether anybody looked: such a run keeps aspects or passages."""
        return self._rows("SELECT EXISTS (FROM aspects) OR EXISTS (FROM passages)")[0][0]

    def controls(self, method_id: int) -> tuple[int, int]:
        """(controls that find their own track first, all controls): training tracks unlearned themselves."""
        return self._rows(
            "SELECT count(*) FILTER (s.train_rank = 1), count(*) FROM scores s JOIN clips c USING (clip_id)"
            " WHERE s.method_id = ? AND c.kind = 'track' AND s.track_id = c.target_track_id",
            method_id,
        )[0]

    def retrained(self) -> bool:
        """Whether the store holds a result of training again without tracks."""
        return bool(self._rows("SELECT count(*) FROM evaluations WHERE name ILIKE '%counterfactual%'")[0][0])
