"""A small store through schema.sql, with real audio beside it. Also: python make_store.py FOLDER.

Tracks 1..40 were trained on, 41..80 are decoys. Clips 1..3 are generated (nothing is above noise for clip 3),
clips 101 and 102 are controls of tracks 1 and 2. Raw scores put decoys on top, normalised ones do not: as
methods.md found. Each track has one of five captions; a clip's candidates are the tracks of its caption and of the
next one (its style). p-values are those of above_noise.py; a cohort of COHORT clips, which is not stored, gives nulls.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import soundfile

from explorer.store.above_noise import (
    FALSE_RATE,
    OTHER,
    SAME_CAPTION,
    SAME_STYLE,
    PairClaims,
    find_standing,
    judge_pairs,
)

EXPLORER = Path(__file__).resolve().parents[2] / "explorer"
SCHEMA, DERIVED = EXPLORER / "schema.sql", EXPLORER / "derived.sql"
TRACKS, DECOYS = 40, 40
CLIPS = {1: "generated", 2: "generated", 3: "generated", 101: "track", 102: "track"}
RATE = 22050  # Hz
COHORT = 30  # clips that give nulls
STRONG = {1: [1, 2, 4, 17], 2: [3], 3: [], 101: [1, 11], 102: [2]}  # above noise for a clip
LEARNT = (1, *range(25, 37))  # above noise for the model
RELIABILITY = {1: 0.62, 2: 0.93}  # by method
CAPTIONS = ("slow piano", "a reel", "brass band", "a fugue", "machines")
_CAPTION_OF = {4: 1, 20: 1}  # of other tracks: the remainder of their id
# Tracks with something special about their audio.
EXCERPT, FORBIDDEN, MISSING, PATHLESS, ESCAPING, LINKED, BROKEN, LONG_EXCERPT_S = 4, 5, 6, 7, 8, 9, 10, 20.0
SPAN_TRACK, SPAN_MOMENT_S, WINDOWS = 20, 1.5, 4
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "${alert(1)}",
    "{{value}} `${alert(2)}`",
    "</script><script>alert(3)</script>",
)
UNBROKEN = 11  # its title is one long word
RENDERING = 17  # of the same work as track 1
HOSTILE_COLLECTION = '"><svg onload=alert(4)> ${alert(5)}'  # of track 3
_WORDS = ("Waltz", "Nocturne", "Étude", "Polonaise", "Prelude", "Ballade", "Mazurka", "Fugue")
_COMPOSERS = ("Frédéric Chopin", "Clara Schumann", "Johann Sebastian Bach", "Scott Joplin", "Amy Beach")
_PROMPTS = {
    1: "slow piano waltz in a minor key, soft pedal, small room",
    2: '<img src=x onerror=alert(1)> ${alert(1)} "quoted" & brass band',
    3: "a machine humming, no melody at all",
}


def tone(path: Path, seconds: float, hertz: float, level: float = 0.4) -> None:
    """A swelling tone: something to hear, and a waveform with a shape."""
    t = np.arange(int(seconds * RATE)) / RATE
    swell = 0.25 + 0.75 * np.abs(np.sin(2 * np.pi * t * 0.7 + hertz))
    soundfile.write(path, (level * swell * np.sin(2 * np.pi * hertz * t)).astype("float32"), RATE)


def _peaks(rng: np.random.Generator, bins: int = 400) -> list[int]:
    shape = np.abs(np.sin(np.linspace(0, rng.uniform(4, 12), bins))) * 0.7 + 0.2
    return [int(v) for v in np.clip(255 * shape * rng.uniform(0.6, 1.0, bins), 0, 255)]


def _track(track_id: int, audio: Path, outside: Path, rng: np.random.Generator) -> dict[str, Any]:
    decoy = track_id > TRACKS
    suffix = (".wav", ".flac", ".mp3", ".ogg")[track_id % 4]
    seconds = LONG_EXCERPT_S if track_id == EXCERPT else 2.0 + (track_id % 3)
    path: str | None = f"track{track_id:03d}{suffix}"
    if track_id == PATHLESS:
        path = None
    elif track_id == ESCAPING:
        path = f"../{outside.name}/secret.wav"
    elif track_id == LINKED:
        (audio / "link.wav").symlink_to(outside / "secret.wav")
        path = "link.wav"
    elif track_id == BROKEN:
        (audio / str(path)).write_bytes(b"this is no audio")
    elif track_id != MISSING:
        tone(audio / str(path), seconds, 180 + 7 * track_id, level=0.15 + 0.02 * (track_id % 20))
    title = "Unbroken" + "n" * 160 if track_id == UNBROKEN else ""
    title = title or f"{_WORDS[track_id % 8]} No. {track_id} in {'ABCDEFG'[track_id % 7]} minor"
    return {
        "track_id": track_id,
        "is_decoy": decoy,
        "planted": None,
        "work_id": "w1" if track_id == RENDERING else f"w{track_id}",
        "title": HOSTILE[track_id - 1] if track_id <= len(HOSTILE) else title,
        "composer": _COMPOSERS[track_id % 5] if track_id != 2 else "<b>Bold</b> ${1+1}",
        "collection": HOSTILE_COLLECTION if track_id == 3 else ("Mutopia", "Open Goldberg", "Musopen")[track_id % 3],
        "rights_holder": "public",
        "licence_composition": "public domain",
        "licence_encoding": ("CC BY 4.0", "CC0 1.0", "CC BY-SA 3.0")[track_id % 3],
        "licence_rendering": "CC0 1.0",
        "licence_evidence": "header",
        "source": "test",
        "instrument": "piano",
        "caption": CAPTIONS[caption_of(track_id)],
        "duration_s": seconds,
        "audition": "none" if track_id == FORBIDDEN else "excerpt" if track_id in (EXCERPT, BROKEN) else "full",
        "audio_path": path,
        "audio_sha256": None,
        "loudness_lufs": -30.0 + track_id % 15,
        "peak_dbfs": -6.0,
        "peaks": _peaks(rng),
        "isrc": None,
        "iswc": None,
    }


def caption_of(track_id: int) -> int:
    """Index into CAPTIONS."""
    return _CAPTION_OF.get(track_id, track_id % len(CAPTIONS))


def bin_of(clip_id: int, track_id: int) -> int:
    """Match bin of a track for a clip: clip 1 has caption 1, and caption 2 is of its style; and so on."""
    ahead = (caption_of(track_id) - clip_id) % len(CAPTIONS)
    return {0: SAME_CAPTION, 1: SAME_STYLE}.get(ahead, OTHER)


def _draw_norm(clip_id: int, rng: np.random.Generator) -> np.ndarray:
    """Normalised scores of every track for one clip: noise, in which no candidate stands as high as the best decoys."""
    ids = np.arange(1, TRACKS + DECOYS + 1)
    norm = rng.normal(0, 1, ids.size).clip(-2.2, 2.2)
    tested = np.array([bin_of(clip_id, i) != OTHER for i in ids])
    norm[EXCERPT - 1 : BROKEN] = np.minimum(norm[EXCERPT - 1 : BROKEN], 0.3)  # who cannot be heard is no lane unasked
    return np.where(tested & (ids <= TRACKS), np.minimum(norm, 1.0), norm)


def _scores(clip_id: int, method_id: int, rng: np.random.Generator) -> pd.DataFrame:
    ids = np.arange(1, TRACKS + DECOYS + 1)
    decoy = ids > TRACKS
    frame = pd.DataFrame({"method_id": method_id, "clip_id": clip_id, "track_id": ids})
    frame["score"] = np.where(decoy, rng.normal(3e-6, 8e-7, ids.size), rng.normal(1e-6, 8e-7, ids.size))
    frame["std_error"] = rng.uniform(5e-8, 4e-7, ids.size)
    frame["score_norm"] = _draw_norm(clip_id, rng)
    frame["std_error_norm"] = rng.uniform(0.2, 0.4, ids.size)
    frame["match_bin"] = [bin_of(clip_id, i) for i in ids]
    for i, track_id in enumerate(STRONG[clip_id]):
        frame.loc[track_id - 1, ["score", "std_error", "score_norm"]] = [3.6e-6 - 3e-7 * i, 1e-7, 5.2 - i / 2]
    frame["rank"] = frame["score_norm"].rank(ascending=False, method="first").astype(int)
    train = frame["score_norm"].where(~decoy).rank(ascending=False, method="first")
    frame["train_rank"] = train.astype("Int64")
    return frame


def _judge(frames: dict[int, pd.DataFrame], rng: np.random.Generator) -> tuple[PairClaims, np.ndarray]:
    """(claims about the pairs of all clips, each track's mean over generated and cohort clips); adds to the frames."""
    ids = np.arange(1, TRACKS + DECOYS + 1)
    cohort = [100 + k for k in range(COHORT)]
    norm = np.stack([*(frame["score_norm"] for frame in frames.values()), *(_draw_norm(k, rng) for k in cohort)])
    norm[len(frames) :, [i - 1 for i in LEARNT]] += 2
    error = np.stack([frame["std_error_norm"] for frame in frames.values()])
    bins = np.array([[bin_of(clip_id, i) for i in ids] for clip_id in [*frames, *cohort]])
    gives_nulls = np.array([CLIPS.get(clip_id) != "track" for clip_id in frames] + [True] * COHORT)
    claims = judge_pairs(norm, error, bins, ids > TRACKS, _works(ids), len(frames), gives_nulls)
    for row, frame in enumerate(frames.values()):
        frame["p_value"], frame["q_value"] = claims.p_value[row], claims.q_value[row]
        frame["above_noise"] = claims.above_noise[row]
    return claims, norm[gives_nulls].mean(0)


def _works(ids: np.ndarray) -> np.ndarray:
    return np.where(ids == RENDERING, 1, ids)


def _insert_claims(
    con: duckdb.DuckDBPyConnection, method_id: int, frames: dict[int, pd.DataFrame], rng: np.random.Generator
) -> None:
    """Fill the tables of claims, and scores with the p-values of these."""
    claims, mean = _judge(frames, rng)
    clips = list(frames)
    for frame in frames.values():  # DuckDB reads it by its name, and NaN as NULL
        assert len(frame) == TRACKS + DECOYS
        con.execute("INSERT INTO scores BY NAME SELECT * FROM frame")
    for one in claims.bins:
        counts = [one.match_bin, one.candidates, one.decoys, one.null_rows, one.null_works, one.can_tell]
        con.execute("INSERT INTO match_bins VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [method_id, clips[one.clip], *counts])
    p_value, q_value = find_standing(mean[:TRACKS], mean[TRACKS:])
    generated = [row for row, clip_id in enumerate(clips) if CLIPS[clip_id] == "generated"]
    above = claims.above_noise[generated].sum(0)
    for i, score_mean in enumerate(mean.tolist()):
        p, q = (float(p_value[i]), float(q_value[i])) if i < TRACKS else (None, None)
        hub = bool(above[i] >= 3 and above[i] > 0.2 * len(generated))
        row = [method_id, i + 1, score_mean, p, q, q is not None and q <= FALSE_RATE, int(above[i]), hub]
        con.execute("INSERT INTO track_claims VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def _insert_clip_moments(con: duckdb.DuckDBPyConnection, clip_id: int, frame: pd.DataFrame, rng: Any) -> None:
    """Four windows of each clip that sum to the score; SPAN_TRACK owns the third window of clip 1."""
    seconds = 1.5 + clip_id / 2
    for row in frame.itertuples():
        parts = rng.normal(0, 2e-7, WINDOWS)
        if clip_id == 1 and row.track_id == SPAN_TRACK:
            parts[2] += 4e-6
        parts += (row.score - parts.sum()) / WINDOWS
        values = [1, clip_id, row.track_id, seconds / WINDOWS, [float(v) for v in parts]]
        con.execute("INSERT INTO clip_moments VALUES (?, ?, ?, ?, ?)", values)


def _insert(con: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        marks = ", ".join("?" * len(row))
        con.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


# (clip, track) with aspects; passages of clip 1 and track 1: clip from, to, track from, to, semitones, similarity, p.
ASPECTS = {(1, 1): (97.0, 88.5, 41.0, 12.0), (1, 17): (50.0, 50.0, 50.0, 50.0)}
PASSAGES = ((0.4, 1.2, 1.0, 1.8, 2, 0.93, 0.01), (1.0, 1.8, 0.2, 1.0, 0, 0.6, 0.4))
SKIPPED = "its checkpoint <b>clews.pt</b> is not there"


def _insert_research(con: duckdb.DuckDBPyConnection) -> None:
    """Insert rows for researchers: resemblance, parts of scores, agreement, a method that could not run."""
    for (clip_id, track_id), percentiles in ASPECTS.items():
        for aspect, percentile in zip(("melody", "harmony", "rhythm", "timbre"), percentiles, strict=True):
            con.execute("INSERT INTO aspects VALUES (?, ?, ?, ?)", [clip_id, track_id, aspect, percentile])
    for number, passage in enumerate(PASSAGES, start=1):
        con.execute("INSERT INTO passages VALUES (1, 1, ?, ?, ?, ?, ?, ?, ?, ?)", [number, *passage])
    for k, share in enumerate((2.0, 1.5, 0.7, -0.2)):
        con.execute(
            "INSERT INTO score_parts SELECT 1, clip_id, track_id, ?, ?, score * ? FROM scores"
            " WHERE method_id = 1 AND train_rank <= 5",
            [k / 4, (k + 1) / 4, share],
        )
    for a, b in ((1, 2), (2, 1)):
        con.execute("INSERT INTO agreement VALUES (?, ?, 0.41, 0.32, 0.3, 0.55)", [a, b])
    con.execute("INSERT INTO skipped_methods VALUES ('clews', 'Musical versions', ?)", [SKIPPED])


def make_store(folder: Path, note: str | None = "demo run: 8 draws, 40 cohort clips") -> Path:
    """The path of the new store. Audio lies in folder/audio and folder/clips, a secret outside both."""
    rng = np.random.default_rng(7)
    audio, clips, outside = folder / "audio", folder / "clips", folder / "outside"
    for path in (audio, clips, outside):
        path.mkdir(parents=True)
    tone(outside / "secret.wav", 0.5, 440)
    path = folder / "store.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(SCHEMA.read_text(encoding="utf-8"))
        con.execute("BEGIN")  # one transaction: ten times as fast
        con.execute("INSERT INTO store_info VALUES (4, 'audio', 'clips', 'unlearning', ?)", [note])
        con.execute("INSERT INTO runs VALUES (1, NULL, '', '{}', NULL, 'abc', 'cpu', TIMESTAMP '2026-01-01', 60)")
        for method_id, name, label in ((1, "unlearning", "Unlearning"), (2, "cosine", "Gradient cosine")):
            about = "The clip is unlearned once; a track whose loss rises has influence."
            values = [method_id, name, label, about, RELIABILITY[method_id]]
            con.execute("INSERT INTO methods VALUES (?, 1, ?, ?, ?, '{}', true, ?, 60)", values)
        tracks = [_track(i, audio, outside, rng) for i in range(1, TRACKS + DECOYS + 1)]
        _insert(con, "tracks", tracks)
        for role, column in (("composer", "composer"), ("rights holder", "rights_holder")):
            rows = [{"track_id": t["track_id"], "holder": t[column], "role": role} for t in tracks]
            _insert(con, "holders", rows)
        for clip_id, kind in CLIPS.items():
            generated = kind == "generated"
            if generated:
                tone(clips / f"clip{clip_id}.wav", 1.5 + clip_id / 2, 200 + 40 * clip_id, level=0.3)
            row = {
                "clip_id": clip_id,
                "run_id": 1,
                "kind": kind,
                "target_track_id": None if generated else clip_id - 100,
                "prompt": _PROMPTS.get(clip_id),
                "conditioning": "prompt" if generated else "empty",
                "seed": 1000 + clip_id if generated else None,
                "duration_s": 1.5 + clip_id / 2 if generated else 3.0,
                "audio_path": f"clip{clip_id}.wav" if generated else None,
                "loudness_lufs": -20.0 if generated else None,
                "peak_dbfs": -10.0 if generated else None,
                "peaks": _peaks(rng) if generated else None,
            }
            _insert(con, "clips", [row])
        for method_id in (1, 2):
            frames = {clip_id: _scores(clip_id, method_id, rng) for clip_id in CLIPS}
            _insert_claims(con, method_id, frames, rng)
            for clip_id, frame in frames.items():
                if CLIPS[clip_id] == "generated" and method_id == 1:
                    _insert_clip_moments(con, clip_id, frame, rng)
                best = frame[frame["train_rank"].notna()].nsmallest(10, "train_rank")["track_id"]
                for track_id in best:
                    influence = [float(v) for v in rng.random(24) ** 4]
                    con.execute(
                        "INSERT INTO moments VALUES (?, ?, ?, 8.0, ?)",
                        [method_id, clip_id, int(track_id), influence],
                    )
        peaked = [1.0 if i == round(SPAN_MOMENT_S * 8) else 0.1 for i in range(24)]
        con.execute("INSERT INTO moments VALUES (1, 1, ?, 8.0, ?)", [SPAN_TRACK, peaked])
        con.execute("COMMIT")
        con.execute(DERIVED.read_text(encoding="utf-8"))
        con.execute("BEGIN")
        _insert_research(con)
        for name, value, meaning in (
            ("decoys_top10_raw", 0.92, "share of decoys among the best 10 by raw score (0.5 by chance)"),
            (
                "decoys_top10_norm",
                0.14,
                "share of decoys among the best 10 by normalised score (0.5 by chance)",
            ),
        ):
            con.execute("INSERT INTO diagnostics VALUES (1, 100, ?, 0.3, ?)", [name, meaning])
            con.execute("INSERT INTO diagnostics VALUES (1, 2000, ?, ?, ?)", [name, value, meaning])
        con.execute("COMMIT")
    return path


if __name__ == "__main__":
    print(make_store(Path(sys.argv[1])))
