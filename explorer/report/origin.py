"""Where the numbers of a report come from: settings, versions, hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from explorer import __version__
from explorer.store import Store
from explorer.text.evidence import ABOVE_NOISE


def list_settings(store: Store, method_id: int) -> tuple[tuple[str, str], ...]:
    """(name, value) of all that the scores depend on. Paths stay out: they are private."""
    run, stored = store.runs.read_latest(), store.runs.read_settings(method_id)
    config = hashlib.sha256(stored["config"].encode()).hexdigest() if stored["config"] else "not stored"
    rows = [
        ("Scores made", f"{run.started_at:%Y-%m-%d %H:%M} UTC on {run.device}, {run.duration_s:,.0f} s in all"),
        ("Method’s settings", _flatten_json(stored["settings"])),
        ("Packages", _flatten_json(stored["versions"])),
        ("Code", run.commit_hash or "not known"),
        ("Configuration, SHA-256", config),
        ("Above noise", ABOVE_NOISE),
        ("Store format", str(store.info.version)),
        ("Report by", f"Whence {__version__}"),
    ]
    if store.info.note:
        rows.insert(0, ("Note of the store", store.info.note))
    return tuple(rows)


def _flatten_json(text: str) -> str:
    """'{"a": {"b": 1}}' as 'a.b = 1; ...'; text that is no JSON object as it is."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    if not isinstance(parsed, dict):
        return text

    def flatten(prefix: str, value: Any) -> list[str]:
        if isinstance(value, dict):
            return [part for key, inner in value.items() for part in flatten(f"{prefix}{key}.", inner)]
        return [f"{prefix.rstrip('.')} = {value}"]

    return "; ".join(flatten("", parsed)) or "none"


def list_hashes(
    store: Store, clips: Sequence[int], tracks: Sequence[int], track_details: Mapping[int, Mapping[str, Any]]
) -> tuple[tuple[str, str], ...]:
    """(what, SHA-256) of the model, the store, and the sound of these clips and tracks where it is known."""
    path = store.path
    rows = [
        ("Model weights", store.runs.read_latest().model_sha256),
        (f"Store {path.name}", hash_file(path, path.stat().st_mtime_ns)),
    ]
    rows += [(f"Sound of clip {i}", digest) for i in clips if (digest := store.clips.read_hash(i))]
    for track_id in dict.fromkeys(tracks):
        if digest := track_details[track_id]["audio_sha256"]:
            rows.append((f"Sound of track {track_id}", digest))
    return tuple(rows)


@lru_cache(4)
def hash_file(path: Path, mtime_ns: int) -> str:
    """SHA-256 of a file, as hex; `mtime_ns` keeps a replaced file from answering with its old hash. 10 s for 4 GB."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
