"""All that ships fits together: hashes, sizes, the store with its model, and the kept results with the store."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from explorer.listen.page import ListenPage
from explorer.state.store_views import StoreViews
from explorer.store import Store

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "assets/demo"
SUMS = DEMO / "SHA256SUMS"
MEGABYTE = 1_000_000


def size_mb(*paths: Path) -> float:
    files = [f for path in paths for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file()]
    return sum(f.stat().st_size for f in files) / MEGABYTE


@pytest.fixture(scope="module")
def store():
    with contextlib.closing(Store(DEMO / "store.duckdb")) as opened:
        yield opened


@pytest.fixture(scope="module")
def scores(store):
    """Every score of every clip by the default method, by clip_id."""
    method = next(one for one in store.runs.list_methods() if one.name == store.info.default_method)
    return {clip.clip_id: store.scores.read_frame(method.method_id, clip.clip_id) for clip in store.clips.list_scored()}


def test_a_page_of_the_table_is_small(store):
    page = ListenPage(StoreViews(store))
    view = page.views.read_address({"clip": "1"})
    assert len(page.describe_table(view)["rows"]) == 100
    assert len(json.dumps(page.compact_table(view))) < 0.5 * len(json.dumps(page.describe_table(view)))


def test_every_shipped_file_has_its_hash():
    listed = dict(reversed(line.split("  ", 1)) for line in SUMS.read_text().splitlines())
    present = {
        path.relative_to(ROOT).as_posix()
        for folder in (DEMO, ROOT / "data/demo/audio", ROOT / "data/demo/unheard")
        for path in folder.rglob("*")
        if path.is_file() and path != SUMS
    }
    assert set(listed) == present
    wrong = [name for name, sha in listed.items() if hashlib.sha256((ROOT / name).read_bytes()).hexdigest() != sha]
    assert not wrong, f"changed since SHA256SUMS was written: {wrong[:3]}"


def test_sizes_stay_within_the_budget():
    latents, models = DEMO / "decoy-latents.npz", (DEMO / "model.safetensors", DEMO / "clap")
    assert size_mb(ROOT / "data/demo", latents) <= 25
    assert size_mb(*models) <= 24
    assert size_mb(ROOT / "assets") - size_mb(latents, *models) <= 11


def test_the_store_was_made_with_the_shipped_weights(store):
    assert (
        store.runs.read_latest().model_sha256 == hashlib.sha256((DEMO / "model.safetensors").read_bytes()).hexdigest()
    )


def test_every_clip_has_a_score_for_every_track(store, scores):
    kinds = [clip.kind for clip in store.clips.list_scored()]
    assert kinds.count("generated") >= 12 and kinds.count("track") == 8
    for table in scores.values():
        assert len(table) == 1059 and table["is_decoy"].sum() == 670
        assert np.isfinite(table[["score", "std_error", "score_norm", "std_error_norm"]].to_numpy()).all()


def test_an_unlearned_training_track_finds_itself(store, scores):
    targets = [clip for clip in store.clips.list_scored() if clip.kind == "track"]
    raw = {clip: table.set_index("track_id")["score"].rank(ascending=False) for clip, table in scores.items()}
    ranks = [raw[clip.clip_id].loc[clip.target_track_id] for clip in targets]
    assert np.mean(ranks) <= 1.5


def test_above_noise_follows_its_definition(scores):
    for table in scores.values():
        assert (table["above_noise"] == (table["q_value"] <= 0.10)).all()
        assert table.loc[table["q_value"].notna(), "match_bin"].isin([1, 2]).all()
        assert not table.loc[table["is_decoy"], "above_noise"].any()


def test_no_clip_is_silent_or_clipped(store):
    for clip in store.clips.list_scored():
        if clip.kind != "generated":
            continue
        wave, rate = soundfile.read(DEMO / "clips" / store.clips.read_sound(clip.clip_id).audio_path)
        assert rate >= 24_000 and abs(len(wave) / rate - clip.duration_s) < 0.01
        assert 20 * np.log10(np.sqrt(np.mean(wave**2))) > -45, clip.prompt
        assert np.abs(wave).max() < 0.99, clip.prompt


def test_kept_diagnostics_are_those_of_the_shipped_store(store):
    results = json.loads((ROOT / "assets/benchmarks/demo-diagnostics.json").read_text())
    assert set(results) == {"what", "command", "hardware", "commit", "repeats", "rows"}
    in_store = {(item.checkpoint_step, item.name): item.value for item in store.runs.list_diagnostics(1)}
    kept = {(row["checkpoint_step"], row["name"]): row["value"] for row in results["rows"]}
    assert kept == pytest.approx(in_store, rel=1e-5)  # six digits are kept


def test_the_answer_is_found_where_it_is_known(store, scores):
    """The track that training drew eight times as often, among 389, by the default method."""
    found = []
    for clip_id in (clip.clip_id for clip in store.clips.list_scored() if clip.kind == "generated"):
        for track_id in scores[clip_id].query("above_noise")["track_id"]:
            track = store.tracks.read(int(track_id))
            found += [(clip_id, track.planted)] if track.planted in ("weighted", "rare") else []
    assert len({clip for clip, planted in found if planted == "weighted"}) >= 7
    assert any(planted == "rare" for _, planted in found)
    calibration = json.loads((ROOT / "assets/benchmarks/demo-calibration.json").read_text())
    [row] = [row for row in calibration["rows"] if row["method"] == store.info.default_method]
    assert row["low"] <= 0.10 and row["could_fire"] == 1.0
