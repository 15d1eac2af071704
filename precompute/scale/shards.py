"""Shards of a pass: some tracks, a name that follows from all that their results depend on, and a Parquet file.

A file is written beside and renamed, so a finished one is whole; one that was damaged later is found out by its
checksums and done again. One row a track: `track_id`, then a column `TAP.ARRAY` for everything that a tap took, arrays
laid out flat (their shapes stand in the file's metadata). No torch here, and no engine of any kind.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from precompute.common.files import write_atomically
from precompute.config.run import fingerprint

Arrays = dict[str, np.ndarray]
METADATA = b"whence"


@dataclass(frozen=True)
class Shard:
    """A run of tracks, by their rows in the corpus."""

    name: str  # by content
    start: int
    stop: int  # exclusive
    track_ids: tuple[int, ...]

    @property
    def rows(self) -> range:
        return range(self.start, self.stop)

    def __str__(self) -> str:
        return f"shard {self.name} (tracks {self.track_ids[0]} to {self.track_ids[-1]})"


@dataclass(frozen=True)
class TapResult:
    """What one tap took of the tracks of a shard, in their order."""

    arrays: Arrays  # [tracks, ...]
    own_s: float
    gradient_s: float


def cut(key: str, track_ids: Sequence[int], contents: Sequence[str], size: int) -> list[Shard]:
    """The shards of a pass, deterministic: `contents` are hashes by track, `key` names all else that results need."""
    found = []
    for start in range(0, len(track_ids), size):
        stop = min(start + size, len(track_ids))
        ids = tuple(int(i) for i in track_ids[start:stop])
        found.append(Shard(fingerprint(key, ids, list(contents[start:stop])), start, stop, ids))
    return found


def path_of(folder: Path, shard: Shard) -> Path:
    return folder / f"shard-{shard.name}.parquet"


def write(folder: Path, shard: Shard, results: dict[str, TapResult]) -> None:
    """Raises OSError with the file's name: disk full, ...; what stood there is then left as it was."""
    columns: dict[str, Any] = {"track_id": pa.array(shard.track_ids, pa.int64())}
    about: dict[str, Any] = {"shard": shard.name, "arrays": {}, "seconds": {}}
    for tap, result in results.items():
        about["seconds"][tap] = [result.own_s, result.gradient_s]
        for name, array in result.arrays.items():
            about["arrays"][f"{tap}.{name}"] = [list(array.shape[1:]), str(array.dtype)]
            if array.size:
                flat = pa.array(np.ascontiguousarray(array).reshape(-1))
                columns[f"{tap}.{name}"] = pa.FixedSizeListArray.from_arrays(flat, array[0].size)
    table = pa.table(columns).replace_schema_metadata({METADATA: json.dumps(about)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    path = path_of(folder, shard)
    try:
        write_atomically(path, buffer.getvalue(), sync=True)
    except OSError as error:
        error.filename = str(path)
        raise


def read(folder: Path, shard: Shard) -> dict[str, TapResult]:
    """Raises ValueError where the file is damaged or of something else, FileNotFoundError where there is none."""
    path = path_of(folder, shard)
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        about = json.loads(table.schema.metadata[METADATA])
        ids = table.column("track_id").to_pylist()
        if about["shard"] != shard.name or ids != list(shard.track_ids):
            raise ValueError("it holds another shard")
        arrays = {}
        for name, (shape, dtype) in about["arrays"].items():
            if 0 in shape:
                arrays[name] = np.empty((len(ids), *shape), dtype)
                continue
            flat = table.column(name).combine_chunks()
            flat = flat.flatten() if not isinstance(flat, pa.ChunkedArray) else flat.chunk(0).flatten()
            arrays[name] = flat.to_numpy(zero_copy_only=False).reshape(len(ids), *shape).astype(dtype, copy=False)
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: not a whole shard ({(str(error).splitlines() or ['empty'])[0]})") from error
    results = {}
    for tap, (own, gradient) in about["seconds"].items():
        mine = {n.split(".", 1)[1]: a for n, a in arrays.items() if n.split(".", 1)[0] == tap}
        results[tap] = TapResult(mine, own, gradient)
    return results


def is_finished(folder: Path, shard: Shard) -> bool:
    """Whether its file is there and whole. A damaged one is removed, and told."""
    try:
        read(folder, shard)
    except FileNotFoundError:
        return False
    except ValueError as error:
        print(f"  {error}; it is done again", flush=True)
        path_of(folder, shard).unlink(missing_ok=True)
        return False
    return True
