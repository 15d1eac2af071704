"""stable-audio-open-1.0 by its hub name, in its own configuration at 44.1 kHz stereo, through the whole pipeline."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
import soundfile

from support import own_files

REPOSITORY = Path(__file__).resolve().parents[2]
RATE = 44_100
CHANGES = {
    "steps": 2,
    "targets": 1,
    "cohort": 2,
    "draws": 1,
    "ascent_draws": 2,
    "tracks": 1,
    "replicates": 2,
    "strata": 1,
    "layers": '"cross_attn"',
    "window_s": 1.0,
    "windows": 2,
}


def command(home: Path, folder: Path, *arguments: str) -> str:
    """The output of a command, without a network and with one thread."""
    environment = {
        **os.environ,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
    }
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_whole_pipeline_in_the_real_configuration(tmp_path: Path) -> None:
    home, music = tmp_path / "hf", tmp_path / "music"
    music.mkdir()
    command(home, tmp_path, str(REPOSITORY / "tests/support/real_model.py"), str(home))
    for number, seconds in enumerate((1.4, 0.7, 3.2)):
        name = music / f"a slow piano tune {number}.flac"
        soundfile.write(name, own_files.wave_of(seconds, RATE, number, channels=2), RATE)
    own_files.write_m4a(tmp_path / "mine.m4a", own_files.wave_of(1.0, RATE, 1, channels=2), RATE)
    (tmp_path / "prompts.csv").write_text("clip_id,prompt,seconds,seed\n1,a fast guitar tune,1.2,1\n")
    options = ["--name", "stable-audio-open-1.0", "--prompts", "prompts.csv", "--audio", "mine.m4a"]
    command(home, tmp_path, "-m", "precompute", "init", "music", *options)
    text = (tmp_path / "whence.toml").read_text()
    for name, value in CHANGES.items():
        text, count = re.subn(rf"(?m)^{name} = [\w\".]+", f"{name} = {value}", text)
        assert count == 1, name
    (tmp_path / "whence.toml").write_text(text)

    said = command(home, tmp_path, "-m", "precompute", "check", "--config", "whence.toml")
    assert "hears 1.5 s at once, 44100 Hz stereo; objective v" in said and said.endswith("ready\n")
    assert "4 training tracks and 0 decoys" in said and "time: about" in said
    assert "published" in command(home, tmp_path, "-m", "precompute", "run", "--config", "whence.toml")

    with duckdb.connect(str(tmp_path / "data" / "whence.duckdb"), read_only=True) as store:
        scores = np.array(store.execute("SELECT score, std_error FROM scores").fetchall())
        clips = store.execute("SELECT kind, conditioning, audio_path FROM clips ORDER BY clip_id").fetchall()
        moments = store.execute("SELECT count(*), min(len(influence)) FROM moments").fetchone()
    assert scores.shape == (3 * 4, 2) and np.isfinite(scores).all() and (scores[:, 0] != 0).all()
    assert [clip[:2] for clip in clips] == [("generated", "prompt"), ("user", "empty"), ("track", "prompt")]
    wave, rate = soundfile.read(tmp_path / "data" / "generated" / clips[0][2])
    assert rate == RATE and wave.shape == (round(1.2 * RATE), 2) and np.abs(wave).max() > 0.01
    assert moments[0] == 2 and moments[1] > 0
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    assert peak_gb < 6, peak_gb
