"""`evaluate quality` and `evaluate sweep`, whole on the tiny model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from precompute.config.run import RunConfig
from precompute.errors import UserError
from precompute.evaluate.quality.comparison import GUIDANCES, evaluate_quality, evaluate_sampler


def test_quality_is_whole_and_repeats(run: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate_quality(run, tmp_path / "deep" / "quality.json", count=8)
    said = capsys.readouterr().out
    for text in (
        "training step",
        "autoencoder, on decoys",
        "patch rate",
        "Fréchet distance",
        "clips / decoys",
        "nearest training track",
        "times chance",
        "onset rate",
    ):
        assert text in said
    kept = json.loads((tmp_path / "deep" / "quality.json").read_text())
    assert {"what", "command", "hardware", "commit", "repeats", "rows", "model_sha256", "settings"} < set(kept)
    found = {(row["measure"], row["space"], row["of"]): row for row in kept["rows"]}
    for space in ("clap", "descriptors"):
        for of in ("clips", "decoys", "tracks", "codec", "originals"):
            assert found["frechet", space, of]["value"] > 0 and np.isfinite(found["kernel", space, of]["value"])
        assert found["frechet_ratio", space, "clips"]["value"] > 0 and ("kernel_difference", space, "clips") in found
        assert {("nearest", space, "clips"), ("nearest", space, "decoys"), ("near_share", space, "clips")} < set(found)
    for of in ("clips", "decoys"):
        assert 0 <= found["accuracy", "", of]["value"] <= 1 and ("times_chance", "", of) in found
        assert {("onset_deviation", "", of), ("pitch_distance", "", of)} < set(found)
    assert [line["collection"] for line in kept["collections"]] == ["high", "low"]
    assert {("si_sdr_db", "", "decoys"), ("nudge_db", "", "decoys"), ("silence_db", "", "decoys")} < set(found)
    assert {("ringing_db", "500-2000 Hz", of) for of in ("decoys", "reconstructions", "clips")} < set(found)
    assert 0 < found["nudge_stft", "", "decoys"]["value"] < found["stft_distance", "", "decoys"]["value"]
    for line in kept["training"]:
        assert {("frechet_ratio", "clap"), ("near_share", "descriptors")} < {
            (m["measure"], m["space"]) for m in line["measures"]
        }
    evaluate_quality(run, tmp_path / "again.json", count=8)
    assert json.loads((tmp_path / "again.json").read_text()) == kept


def test_sweep_is_whole(run: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = replace(run, clips=replace(run.clips, steps=2))
    evaluate_sampler(short, tmp_path / "sweep.json", count=8)
    assert "s a clip" in capsys.readouterr().out
    rows = json.loads((tmp_path / "sweep.json").read_text())["rows"]
    wanted = [(guidance, 2, "ddim") for guidance in GUIDANCES]
    wanted += [(run.clips.guidance, steps, sampler) for sampler in ("ddim", "dpmpp-2m") for steps in (25, 50, 100)]
    assert [(row["guidance"], row["steps"], row["sampler"]) for row in rows] == wanted
    for row in rows:
        measured = {(m["measure"], m["space"]) for m in row["measures"]}
        assert {("frechet_ratio", "clap"), ("kernel_difference", "descriptors"), ("accuracy", "")} < measured
        assert row["seconds_a_clip"] > 0


def test_what_is_missing_is_said(run: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a count of 5"):
        evaluate_quality(run, tmp_path / "x.json", count=5)
    folder = replace(run, corpus=replace(run.corpus, manifest="", folder=str(Path(run.corpus.manifest).parent)))
    with pytest.raises(UserError, match="0 decoys"):
        evaluate_quality(folder, tmp_path / "x.json")
    own_prompts = replace(run, model=replace(run.model, clap=""))
    with pytest.raises(UserError, match="name a CLAP's folder"):
        evaluate_quality(own_prompts, tmp_path / "x.json")
