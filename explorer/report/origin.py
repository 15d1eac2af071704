"""Where the numbers of a report come from: settings, versions, hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from explorer import __version__
from explorer.store.database import Store


def settings(store: Store, method_id: int) -> tuple[tuple[str, str], ...]:
    """(name, value) of all that the scores depend on, but for paths: those are nobody else's business."""
    run, kept = store.run(), store.catalogue.settings(method_id)
    config = hashlib.sha256(kept["config"].encode()).hexdigest() if kept["config"] else "not kept"
    rows = [
        ("Scores made", f"{run.started_at:%Y-%m-%d %H:%M} UTC on {run.device}, {run.duration_s:,.0f} s in all"),
        ("Method’s settings", _plain_json(kept["settings"])),
        ("Packages", _plain_json(kept["versions"])),
        ("Code", run.commit_hash or "not known"),
        ("Configuration, SHA-256", config),
        ("Above noise", "q-value ≤ 0.10 and normalised score above two of its standard errors"),
        ("Store format", str(store.info.version)),
        ("Report by", f"Whence {__version__}"),
    ]
    if store.info.note:
        rows.insert(0, ("Note of the store", store.info.note))
    return tuple(rows)


def _plain_json(text: str) -> str:
    """'{"a": {"b": 1}}' as 'a.b = 1; ...'; text that is no JSON object as it is."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    if not isinstance(parsed, dict):
        return text

    def flat(prefix: str, value: Any) -> list[str]:
        if isinstance(value, dict):
            return [part for key, inner in value.items() for part in flat(f"{prefix}{key}.", inner)]
        return [f"{prefix.rstrip('.')} = {value}"]

    return "; ".join(flat("", parsed)) or "none"


def hashes(
    store: Store, clips: Sequence[int], tracks: Sequence[int], papers: Mapping[int, Mapping[str, Any]]
) -> tuple[tuple[str, str], ...]:
    """(what, SHA-256) of the model, the store, and the sound of these clips and tracks where it is known."""
    path = store.path
    rows = [
        ("Model weights", store.run().model_sha256),
        (f"Store {path.name}", file_sha256(path, path.stat().st_mtime_ns)),
    ]
    rows += [(f"Sound of clip {i}", digest) for i in clips if (digest := store.catalogue.clip_hash(i))]
    for track_id in dict.fromkeys(tracks):
        if digest := papers[track_id]["audio_sha256"]:
            rows.append((f"Sound of track {track_id}", digest))
    return tuple(rows)


@lru_cache(4)
def file_sha256(path: Path, mtime_ns: int) -> str:
    """Of a file's content; `mtime_ns` keeps a replaced file from answering with its old hash. 4 GB take some 10 s."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
