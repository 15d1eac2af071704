"""End to end, as a user starts it: what the store holds, bad input, verifying."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from pathlib import Path

import duckdb
import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file, save_file

from explorer.store import Store
from precompute.cli.main import main
from precompute.clips.audio_files import write_audio
from precompute.clips.prompts import Prompt
from precompute.config.run import CLIP_FORMATS
from precompute.model.diffusion import Items, Model
from support import tiny


def rows(store: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_every_table_is_filled(finished) -> None:
    counts = {name: len(table) for name, table in tiny.tables(finished.store).items() if table}
    diagnostics, passages = counts.pop("diagnostics"), counts.pop("passages")
    assert 0 < passages <= 7 * 16 * 3
    assert counts == {
        "store_info": 1,
        "tracks": 32,
        "clips": 3 + 4,
        "methods": 1,
        "scores": 7 * 32,
        "match_bins": counts["match_bins"],  # a row for each bin with training tracks; see test_verdicts
        "track_claims": 32,
        "score_parts": 7 * 32 * 4,
        "moments": 3 * 3,
        "clip_moments": 3 * 32,
        "summaries": 7,
        "window_sums": 32,
        "holders": 2 * 32,
        "aspects": 7 * 16 * 4,
    }
    steps = rows(finished.store, "SELECT checkpoint_step, count(*) FROM diagnostics GROUP BY 1 ORDER BY 1")
    assert [step for step, _ in steps] == [10, 20] and sum(n for _, n in steps) == diagnostics > 20


def test_the_run_is_on_record(finished) -> None:
    config, model, device = rows(finished.store, "SELECT config_toml, model_sha256, device FROM runs")[0]
    assert config == finished.config.read_text() and re.fullmatch("[0-9a-f]{64}", model) and device.startswith("cpu")


def test_ranks_follow_the_normalised_score(finished) -> None:
    by_clip = defaultdict(list)
    for row in rows(
        finished.store,
        "SELECT clip_id, score_norm, rank, train_rank, is_decoy FROM scores JOIN tracks USING (track_id) ORDER BY rank",
    ):
        by_clip[row[0]].append(row[1:])
    assert len(by_clip) == 7
    for table in by_clip.values():
        norms, ranks, train_ranks, decoys = zip(*table, strict=True)
        assert list(ranks) == list(range(1, 33)) and list(norms) == sorted(norms, reverse=True)
        assert [rank for rank in train_ranks if rank is not None] == list(range(1, 17))
        assert [rank is None for rank in train_ranks] == list(decoys)


def test_above_noise_holds_for_every_row(finished) -> None:
    table = rows(
        finished.store, "SELECT std_error_norm, match_bin, p_value, q_value, above_noise, train_rank FROM scores"
    )
    assert all(above == (q is not None and q <= 0.10) for _, _, _, q, above, _ in table)
    assert all(q is None for _, _, _, q, _, train_rank in table if train_rank is None)  # decoys are no candidates
    assert all(p is None for _, number, p, _, _, _ in table if number == 0)
    assert all(error > 0 for error, *_ in table)
    bins = rows(
        finished.store,
        "SELECT b.candidates, count(*) FROM match_bins b JOIN scores s USING (method_id, clip_id, match_bin)"
        " WHERE s.train_rank IS NOT NULL GROUP BY b.method_id, b.clip_id, b.match_bin, b.candidates",
    )
    assert bins and all(candidates == count for candidates, count in bins)


def test_the_page_opens_with_the_default_method_and_knows_its_reliability(finished) -> None:
    [(default, name, reliability)] = rows(
        finished.store, "SELECT default_method, name, reliability FROM store_info, methods"
    )
    assert default == name == "unlearning" and -1 <= reliability <= 1
    assert rows(finished.store, "SELECT run_id, model_note FROM runs") == [(1, None)]


def test_parts_of_a_score_average_to_it(finished) -> None:
    parts = rows(
        finished.store,
        "SELECT s.score, avg(p.score), min(t_low), max(t_high), count(*) FROM score_parts p"
        " JOIN scores s USING (method_id, clip_id, track_id) GROUP BY s.clip_id, s.track_id, s.score",
    )
    assert len(parts) == 7 * 32
    for score, mean, low, high, count in parts:
        assert mean == pytest.approx(score, rel=1e-5, abs=1e-20) and (low, high, count) == (0, 1, 4)


def test_moments_of_a_clip_add_up_to_the_score(finished) -> None:
    table = rows(
        finished.store,
        "SELECT s.score, list_sum(m.influence), len(m.influence), m.window_s, c.duration_s FROM clip_moments m"
        " JOIN scores s USING (method_id, clip_id, track_id) JOIN clips c USING (clip_id)",
    )
    largest = max(abs(row[0]) for row in table)
    for score, total, windows, window_s, duration_s in table:
        assert total == pytest.approx(score, rel=1e-4, abs=1e-4 * largest)
        assert (windows - 1) * window_s < duration_s <= windows * window_s


def test_moments_of_a_track_add_up_over_all_padded_frames(finished, items: Items) -> None:
    """The forward derivative's mean over all frames is the score; the store keeps the valid frames, in groups of 5."""
    table = rows(
        finished.store,
        "SELECT m.clip_id, m.track_id, s.score, m.rate_hz, m.influence, s.train_rank FROM moments m"
        " JOIN scores s USING (method_id, clip_id, track_id)",
    )
    assert sorted(row[5] for row in table) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    for clip_id, track_id, score, rate_hz, influence, _ in table:
        [path] = (finished.out / "work" / "cache").glob(
            f"unlearning-moments-{clip_id - 1:04d}-{track_id - 1:06d}-*.npz"
        )
        rise = np.load(path)["rise"]
        assert rise.shape == (50,) and rise.mean() == pytest.approx(score, rel=1e-3)
        valid = int(items.valid_frames[track_id - 1])
        assert rate_hz == 5.0 and len(influence) == -(-valid // 5)
        wanted = [rise[start : min(start + 5, valid)].sum() / 5 for start in range(0, valid, 5)]
        assert np.allclose(influence, wanted, rtol=1e-5, atol=0)


def test_clips_sound_and_have_their_length(finished) -> None:
    table = rows(finished.store, "SELECT audio_path, duration_s, peak_dbfs FROM clips WHERE kind = 'generated'")
    assert [round(row[1], 4) for row in table] == [1.5, 1.5, 1.9]
    for path, duration_s, peak_dbfs in table:
        wave, rate = soundfile.read(finished.out / "clips" / path)
        assert rate == 8000 and len(wave) == round(duration_s * rate) and np.isfinite(wave).all()
        assert 0.01 < np.abs(wave).max() <= 0.801 and peak_dbfs < -1.9
        assert abs(wave[-1]) < 1e-3  # faded out
    targets = rows(finished.store, "SELECT audio_path, target_track_id FROM clips WHERE kind = 'track'")
    assert len(targets) == 4 and all(path is None and 1 <= track <= 16 for path, track in targets)


def test_track_audio_is_found_where_the_store_says(finished) -> None:
    root = finished.store.parent / rows(finished.store, "SELECT track_root FROM store_info")[0][0]
    table = rows(finished.store, "SELECT audio_path, audition FROM tracks ORDER BY track_id")
    assert [path is None for path, _ in table] == [False] * 24 + [True] * 8
    assert all((root / path).is_file() for path, _ in table if path)
    assert all((audition == "none") == (path is None) for path, audition in table)


def test_audit_holds_the_two_ways_together(finished) -> None:
    [line] = [line for line in finished.text.splitlines() if line.startswith("audit, clip 1, 32 tracks: rho ")]
    assert max(float(rho) for rho in re.findall(r"(\d\.\d{4}) \(", line)) >= 0.99, line


def test_the_explorer_opens_it(finished) -> None:
    store = Store(finished.store)
    [method] = store.runs.list_methods()
    assert [clip.kind for clip in store.clips.list_scored()] == ["generated"] * 3 + ["track"] * 4
    scores = store.scores.read_frame(method.method_id, 1)
    best = int(scores[scores.train_rank == 1].track_id.iloc[0])
    assert len(scores) == 32 and store.scores.read_moments(method.method_id, 1, best).rate_hz == 5.0
    assert store.runs.list_diagnostics(method.method_id) and len(store.tracks.read_sound(1).peaks) == 400
    store.close()


# -- bad input, verify -------------------------------------------------------------------------------------------------


def test_a_folder_of_audio_with_an_unreadable_file(
    finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No manifest, no decoys, no targets: the bad file is named and set aside, nothing stands above noise."""
    for number in range(1, 6):
        (tmp_path / "music").mkdir(exist_ok=True)
        shutil.copy(finished.root / "corpus" / "audio" / f"{number:04d}.wav", tmp_path / "music" / f"song {number}.wav")
    (tmp_path / "music" / "song 3.wav").write_bytes(b"not audio at all")
    path = tiny.write_run(finished.root, tmp_path, targets="0", cohort="2", checkpoints='""')
    text = path.read_text().replace(f'manifest = "{finished.root}/corpus/manifest.csv"', f'folder = "{tmp_path}/music"')
    path.write_text(re.sub(r'latents = ".*"\n', "", text))
    assert main(["run", "--config", str(path)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"set aside: track 3 \(.*song 3.wav\): unreadable", said) and "4 training tracks, 0 decoys" in said
    assert rows(tmp_path / "store.duckdb", "SELECT track_id FROM tracks ORDER BY 1") == [(1,), (2,), (4,), (5,)]
    assert rows(tmp_path / "store.duckdb", "SELECT DISTINCT p_value, q_value, above_noise FROM scores") == [
        (None, None, False)
    ]
    assert rows(tmp_path / "store.duckdb", "SELECT DISTINCT null_rows, can_tell FROM match_bins") in (
        [],
        [(0, False)],
    )


def verify(finished, store: Path, config: Path | None = None) -> int:
    options = ["--config", str(config or finished.config), "--store", str(store)]
    return main(["verify", *options, "--clips", "2", "--tracks", "16"])


def test_verify_reproduces_a_fresh_store(finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(finished, finished.store) == 0
    said = capsys.readouterr().out
    wanted = r"verified: unlearning, 2 clips x 16 tracks of store.duckdb, worst correlation (1\.0000|0\.99)"
    assert re.search(wanted, said)


def test_verify_refuses_altered_scores(finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    altered = tmp_path / "store.duckdb"
    shutil.copy(finished.store, altered)
    with duckdb.connect(str(altered)) as connection:
        connection.execute("UPDATE scores SET score = score * (1 + track_id % 3)")
    assert verify(finished, altered) == 1
    assert "its scores by unlearning are not reproduced by the naive twin" in capsys.readouterr().err


def test_verify_refuses_another_model(finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = load_file(finished.root / "model" / "model.safetensors")
    name = next(name for name in state if "to_kv" in name)
    state[name][0, 0] += 0.01
    save_file(state, tmp_path / "model.safetensors")
    config = tiny.write_run(finished.root, tmp_path, checkpoint=f'"{tmp_path}/model.safetensors"')
    assert verify(finished, finished.store, config) == 1
    assert "made with another model" in capsys.readouterr().err


def test_verify_of_no_store_says_so(finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(finished, tmp_path / "none.duckdb") == 1
    assert "no store at" in capsys.readouterr().err


def test_clips_as_mp3_last_as_long_and_sound_the_same(model: Model, items: Items, tmp_path: Path) -> None:
    prompts = [Prompt(clip_id=1, text="a", seconds=float(items.seconds[0]), seed=5)]
    heard = []
    for audio_format in CLIP_FORMATS:
        (path,) = write_audio(model, items[:1], prompts, tmp_path, audio_format)
        assert path.suffix == f".{audio_format}"
        heard.append(soundfile.read(path)[0])
    assert len(heard[0]) == len(heard[1])
    assert np.corrcoef(*heard)[0, 1] > 0.9  # what the barely trained decoder makes is half noise
