"""A made-up store of any size for bench_explorer.py: through schema.sql and derived.sql, seeded, without audio.

`python assets/benchmarks/explorer_store.py` prints the path of the store; one that is there already is used again:
its name holds the sizes, and a hash of the two SQL files and of this script. Scores: higher = stronger influence.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import duckdb
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from explorer.store.above_noise import FALSE_RATE, PairClaims, find_standing, judge_pairs  # noqa: E402

SCHEMA, DERIVED = ROOT / "explorer/schema.sql", ROOT / "explorer/derived.sql"
FOLDER = ROOT / "data/work"  # git-ignored
SEED = 20
BYTES_PER_SCORE, BYTES_PER_TRACK = 58, 1000  # on disk, measured; clip_moments and the key's index included
MEMORY_GB = 6  # enough for derived.sql to sort every score without the disk
WINDOWS, MOMENT_TRACKS, MOMENTS = 7, 8, 32
STYLE_TRACKS, STYLE_CAPTIONS = 300, 2  # tracks of a style, about; captions of one
NAMES = (
    "unlearning",
    "gradient-cosine",
    "clap-audio",
    "fisher-diagonal",
    "fisher-kronecker",
    "loss-change",
    "latent-cosine",
    "random",
)


@dataclass(frozen=True)
class StoreSize:
    """Decoys come on top of `tracks`: 10,000 for 115,000."""

    tracks: int = 115_000
    clips: int = 64
    methods: int = 8  # at most len(NAMES)

    @property
    def decoys(self) -> int:
        return max(1, round(self.tracks * 10 / 115))

    @property
    def scores(self) -> int:
        return (self.tracks + self.decoys) * self.clips * self.methods


def find_store_path(size: StoreSize, folder: Path = FOLDER) -> Path:
    """Path of the store of this size, as made by these files; there or not."""
    mark = hashlib.sha256(b"".join(path.read_bytes() for path in (SCHEMA, DERIVED, Path(__file__)))).hexdigest()
    return folder / f"bench-explorer-{'x'.join(map(str, astuple(size)))}-{mark[:12]}.duckdb"


def make_store(size: StoreSize, folder: Path = FOLDER) -> Path:
    """Path of the store of this size; makes it where it is not there. Raises SystemExit where the disk is too full."""
    path = find_store_path(size, folder)
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    for outdated in folder.glob(path.name.rpartition("-")[0] + "-*.duckdb"):
        outdated.unlink()
    needed = size.scores * BYTES_PER_SCORE + (size.tracks + size.decoys) * BYTES_PER_TRACK
    free = shutil.disk_usage(folder).free
    message = f"bench-explorer: a store of {size.tracks:,} tracks × {size.clips} clips × {size.methods} methods"
    message += f" needs {needed / 1e9:.1f} GB of disk, and up to {MEMORY_GB} GB of memory while it is made"
    if free < needed:
        raise SystemExit(f"{message}; only {free / 1e9:.1f} GB are free in {folder.name}/")
    print(message, file=sys.stderr)
    started = time.monotonic()
    beside = folder / f".{path.name}.{os.getpid()}.part"
    spill = beside.with_suffix(".tmp")
    options: dict[str, str | bool | int | float | list[str]] = {
        "threads": 2,
        "memory_limit": f"{MEMORY_GB}GB",
        "temp_directory": str(spill),
    }
    try:
        with duckdb.connect(str(beside), config=options) as con:
            con.execute(SCHEMA.read_text(encoding="utf-8"))
            _fill(con, size)
            con.execute(DERIVED.read_text(encoding="utf-8"))
            con.execute("CHECKPOINT")
        os.replace(beside, path)
    finally:
        for leftover in (beside, beside.with_name(beside.name + ".wal")):
            leftover.unlink(missing_ok=True)
        shutil.rmtree(spill, ignore_errors=True)
    seconds, size_bytes = time.monotonic() - started, path.stat().st_size
    print(f"bench-explorer: {path.name}: {size_bytes / 1e9:.1f} GB in {seconds:.0f} s", file=sys.stderr)
    return path


def _fill(con: duckdb.DuckDBPyConnection, size: StoreSize) -> None:
    note = "made-up scores of no music, for measuring the page"
    con.execute("INSERT INTO store_info VALUES (4, '.', '.', ?, ?)", [NAMES[0], note])
    con.execute("INSERT INTO runs VALUES (1, NULL, '', '{}', NULL, repeat('0', 64), 'none', TIMESTAMP '2026-01-01', 0)")
    for method_id, name in enumerate(NAMES[: size.methods], start=1):
        about = "Made-up numbers with the shape of scores; a higher one means stronger influence."
        label = name.replace("-", " ").capitalize()
        con.execute(
            "INSERT INTO methods VALUES (?, 1, ?, ?, ?, '{}', true, 0.93, NULL)", [method_id, name, label, about]
        )
        con.execute(
            "INSERT INTO diagnostics SELECT ?, 1000 * (1 + i % 3), 'finding_' || i // 3, i / 30,"
            " 'share of decoys among the best 10 (0.08 by chance), finding ' || i // 3 FROM range(30) AS steps (i)",
            [method_id],
        )
    con.execute(_TRACKS, [size.decoys, size.tracks + size.decoys])
    con.execute(_CLIPS, [size.clips])
    rng = np.random.default_rng(SEED)
    ids = np.arange(1, size.tracks + size.decoys + 1, dtype=np.int32)
    decoy = con.execute("SELECT is_decoy FROM tracks ORDER BY track_id").fetchnumpy()["is_decoy"]
    hub = rng.normal(0, 1, ids.size)  # of each track: what raw scores have in common over clips
    match_bin = _draw_bins(ids.size, size.clips, rng)
    for method_id in range(1, size.methods + 1):
        norm = _draw_norms(match_bin, decoy, rng)
        error = rng.lognormal(-1.2, 0.3, norm.shape)
        everybody = np.ones(size.clips, bool)
        claims = judge_pairs(norm, error, match_bin, decoy, ids, size.clips, everybody)
        for row in range(size.clips):
            columns = _describe_scores(row, norm[row], error[row], match_bin[row], claims)
            columns |= {"track_id": ids, "score": 1e-6 * (norm[row] + 1.5 * hub + 2.0 * decoy), "is_decoy": decoy}
            _insert_scores(con, method_id, row + 1, columns | _rank(norm[row], decoy))
        _insert_claims(con, method_id, claims, norm.mean(0), decoy)
    if size.methods:
        con.execute(_CLIP_MOMENTS.format(windows=WINDOWS))
        con.execute(_MOMENTS, [MOMENTS, MOMENT_TRACKS])


def _draw_bins(tracks: int, clips: int, rng: np.random.Generator) -> np.ndarray:
    """Match bins [Q, N]: each clip has a style, and one of its captions."""
    styles = max(1, tracks // STYLE_TRACKS)
    style, caption = rng.integers(0, styles, tracks), rng.integers(0, STYLE_CAPTIONS, tracks)
    of_clip = rng.integers(0, styles, clips)
    alike = style == of_clip[:, None]
    return (alike.astype(np.uint8) + (alike & (caption == 0))).astype(np.uint8)


def _draw_norms(match_bin: np.ndarray, decoy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Normalised scores [Q, N]: noise, and for each clip up to 40 candidates far out in front."""
    norm = rng.normal(0, 1, match_bin.shape)
    for row, bins in zip(norm, match_bin, strict=True):
        candidates = np.flatnonzero((bins > 0) & ~decoy)
        strong = rng.choice(candidates, size=min(len(candidates) // 4, int(rng.integers(1, 40))), replace=False)
        row[strong] += 4 + 2 * rng.pareto(1.5, strong.size).clip(0, 40)
    return norm


def _rank(norm: np.ndarray, decoy: np.ndarray) -> dict[str, np.ndarray]:
    order = np.argsort(-norm, kind="stable")
    rank, train_rank = np.empty(norm.size, np.int32), np.empty(norm.size, np.int32)
    rank[order] = np.arange(1, norm.size + 1)
    train_rank[order] = np.cumsum(~decoy[order])
    return {"rank": rank, "train_rank": train_rank}


def _describe_scores(
    row: int, norm: np.ndarray, error: np.ndarray, match_bin: np.ndarray, claims: PairClaims
) -> dict[str, np.ndarray]:
    """Columns of one clip under one method."""
    return {
        "std_error": 1e-6 * error,
        "score_norm": norm,
        "std_error_norm": error,
        "match_bin": match_bin,
        "p_value": claims.p_value[row],
        "q_value": claims.q_value[row],
        "above_noise": claims.above_noise[row],
    }


def _insert_scores(
    con: duckdb.DuckDBPyConnection, method_id: int, clip_id: int, columns: dict[str, np.ndarray]
) -> None:
    con.execute(
        "INSERT INTO scores SELECT ?, ?, track_id, score, std_error, score_norm, std_error_norm, match_bin,"
        " CASE WHEN NOT isnan(p_value) THEN p_value END, CASE WHEN NOT isnan(q_value) THEN q_value END, above_noise,"
        " rank, CASE WHEN NOT is_decoy THEN train_rank END FROM columns",
        [method_id, clip_id],
    )


def _insert_claims(
    con: duckdb.DuckDBPyConnection, method_id: int, claims: PairClaims, mean: np.ndarray, decoy: np.ndarray
) -> None:
    bins = [(method_id, one.clip + 1, *astuple(one)[1:]) for one in claims.bins]
    con.executemany("INSERT INTO match_bins VALUES (?, ?, ?, ?, ?, ?, ?, ?)", bins)
    p_value, q_value = np.full(mean.size, np.nan), np.full(mean.size, np.nan)
    p_value[~decoy], q_value[~decoy] = find_standing(mean[~decoy], mean[decoy])
    above, clips = np.nan_to_num(q_value, nan=1.0) <= FALSE_RATE, claims.above_noise.sum(0)
    hub = (clips >= 3) & (clips > 0.2 * len(claims.above_noise))
    columns = {"mean": mean, "p": p_value, "q": q_value, "above": above, "clips": clips, "hub": hub}  # noqa: F841
    con.execute(
        "INSERT INTO track_claims SELECT ?, row_number() OVER (), mean, CASE WHEN NOT isnan(p) THEN p END,"
        " CASE WHEN NOT isnan(q) THEN q END, above, clips, hub FROM columns",
        [method_id],
    )


# hash() is not promised to stay the same between DuckDB versions: a store of another version may differ in its titles.
# Parameters: how many decoys, how many tracks and decoys; the decoys lie evenly among the tracks.
_TRACKS = """
INSERT INTO tracks
WITH sizes AS (SELECT ?::BIGINT AS decoys, ?::BIGINT AS items),
numbered AS (
    SELECT i, decoys * i // items > decoys * (i - 1) // items AS is_decoy,
        CAST(hash(i, 1) % 997 AS INT) AS a, CAST(hash(i, 2) % 1009 AS INT) AS b, CAST(hash(i, 3) % 4001 AS INT) AS c,
        hash(i, 4) % 1000 / 1000.0 AS u, CAST(400 * u * u AS INT) AS shelf
    FROM sizes, range(1, items + 1) AS numbers (i)
),
words AS (SELECT ['Waltz', 'Étude', 'Reel', 'Nocturne', 'Prelude', 'Ballad of the', 'Air', 'March', 'Mazurka', 'Suite',
    'Song for the', 'Lament', 'Fanfare', 'Slow dance', 'Variations on the', 'Night at the'] AS kinds,
    ['old harbour', 'river', 'mill in winter', 'long road', 'lighthouse', 'garden gate', 'third floor', 'empty station',
    'blue hour', 'northern line', 'silver birch', 'last tram', 'glass hill'] AS things,
    ['piano', 'string quartet', 'fiddle', 'brass band', 'guitar', 'organ', 'choir', 'synthesizer'] AS instruments)
SELECT i, is_decoy, NULL, 'w' || i,
    kinds[1 + a % 16] || ' ' || things[1 + b % 13] || ' no. ' || (c % 90 + 1)
        || CASE WHEN a % 5 = 0 THEN ' (second take, revised for ' || instruments[1 + b % 8] || ')' ELSE '' END,
    ['Ada', 'Béla', 'Clara', 'Dmitri', 'Esther', 'Francesca', 'György', 'Hildegard'][1 + a % 8] || ' '
        || ['Adler', 'Brandt', 'Costa', 'Dvořák', 'Ekström', 'Fiorelli', 'Grünwald'][1 + b % 7] || ' ' || c,
    'Collection ' || lpad(shelf::VARCHAR, 3, '0') || ': ' || things[1 + shelf % 13],
    'Rights holder ' || c % 600, 'public domain', ['CC BY 4.0', 'CC0 1.0', 'CC BY-SA 3.0'][1 + b % 3], 'CC0 1.0',
    'licence stated in the header of the source file, checked by hand on the day of import',
    'https://example.org/archive/' || c || '/' || i, instruments[1 + b % 8],
    'a slow ' || instruments[1 + b % 8] || ' piece in D minor, number ' || i, 20 + 280 * u,
    ['full', 'excerpt', 'none', 'full'][1 + a % 4], CASE WHEN NOT is_decoy THEN 'audio/' || i || '.mp3' END,
    md5(i::VARCHAR) || md5((-i)::VARCHAR), -30 + 20 * u, -8 * u,
    CASE WHEN NOT is_decoy
        THEN list_transform(range(400), lambda k: CAST((hash(i * 400 + k) % 200) * abs(sin(k * u)) AS UTINYINT)) END,
    NULL, NULL
FROM numbered, words ORDER BY i
"""
_CLIPS = """
INSERT INTO clips BY NAME
SELECT i AS clip_id, 1 AS run_id, 'generated' AS kind,
    'a slow waltz in D minor on piano with soft strings behind, small room, number ' || i AS prompt,
    'prompt' AS conditioning, 1000 + i AS seed, 7.0 AS duration_s, 'clip-' || i || '.flac' AS audio_path,
    -20.0 AS loudness_lufs, -6.0 AS peak_dbfs,
    list_transform(range(400), lambda k: CAST((hash(i * 400 + k) % 200) AS UTINYINT)) AS peaks
FROM range(1, ?::BIGINT + 1) AS numbers (i)
"""
# Windows of one second that share out the score, with noise between them.
_CLIP_MOMENTS = """
INSERT INTO clip_moments
SELECT method_id, clip_id, track_id, 1.0, list_transform(range({windows}), lambda k:
    CAST(score / {windows} + 1e-7 * ((hash(clip_id * 1000003 + track_id, k) % 2001) / 1000.0 - 1) AS FLOAT))
FROM scores WHERE method_id = 1
"""
_MOMENTS = """
INSERT INTO moments
SELECT method_id, clip_id, track_id, 4.0, list_transform(range(?), lambda k:
    CAST(1e-6 * (hash(track_id * 64 + k) % 1000) / 1000.0 AS FLOAT))
FROM scores WHERE train_rank <= ? ORDER BY ALL
"""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the store that bench_explorer.py measures; print its path.")
    add_sizes(parser)
    return parser.parse_args(arguments)


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """--tracks, --clips, --methods and --folder."""
    parser.add_argument("--tracks", type=int, default=StoreSize.tracks, help="training tracks (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=StoreSize.clips)
    parser.add_argument("--methods", type=int, default=StoreSize.methods, choices=range(1, len(NAMES) + 1))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the store is kept (default: data/work)")


if __name__ == "__main__":
    chosen = parse_arguments()
    print(make_store(StoreSize(chosen.tracks, chosen.clips, chosen.methods), chosen.folder))
