"""Calibration: in worlds where it is known what the test should find."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from explorer.store.above_noise import SAME_CAPTION, SAME_STYLE
from precompute.config.run import RunConfig
from precompute.errors import UserError
from precompute.evaluate.calibration import (
    NullInputs,
    compute_clopper_pearson,
    evaluate_calibration,
    measure_false_findings,
    measure_power,
)
from precompute.significance.normalisation import Normalisation
from precompute.significance.verdicts import ClipGroups, assign_roles, calibrate_scores
from support import tiny
from support.corpora import make_tracks


def make_nulls(rng: np.random.Generator, lift: float = 0.0) -> NullInputs:
    """20 clips, 30 of the cohort; 240 decoys, two a work; `lift`: of a third of the works, in one clip each."""
    bins = np.zeros((50, 240), np.uint8)
    for row in bins:
        row[rng.permutation(240)[:70]] = SAME_STYLE
        row[rng.permutation(240)[:24]] = SAME_CAPTION
    score, work = rng.standard_normal((50, 240)), np.arange(240) // 2
    for q in range(20):
        score[q, work % 20 == q] += lift
    return NullInputs(score, np.zeros((20, 240)), bins, work)


def test_a_fair_test_finds_something_in_a_tenth_of_the_clips() -> None:
    row = measure_false_findings(make_nulls(np.random.default_rng(1)), resamples=60, splits=4)
    assert row["could_fire"] == 1.0 and 0.04 < row["clips_with_finding"] < 0.14
    assert row["low"] < row["clips_with_finding"] < row["high"]
    assert row["caption_p05"] == pytest.approx(0.05, abs=0.02) and row["style_p01"] == pytest.approx(0.01, abs=0.01)
    assert np.diff(row["style_curve"]).min() >= 0


def test_scores_that_stand_out_by_work_are_noticed() -> None:
    """Not exchangeable within a clip: a few works rise together, whichever side they are on."""
    calm, wild = (measure_false_findings(make_nulls(np.random.default_rng(2), lift), 30, 2) for lift in (0.0, 9.0))
    assert wild["clips_with_finding"] > 2 * calm["clips_with_finding"]


def test_a_planted_track_counts_once_for_each_clip_of_its_caption() -> None:
    tracks = [replace(t, planted="weighted") if t.track_id == 0 else t for t in make_tracks(20, 300)]
    rng = np.random.default_rng(3)
    cells, cohort = rng.standard_normal((3, len(tracks), 4, 1, 2)), rng.standard_normal((20, len(tracks)))
    cells[:2, 0] += 20
    groups = ClipGroups(np.full((23, len(tracks)), SAME_CAPTION, np.uint8), 3)
    verdicts = calibrate_scores(cells, Normalisation.fit(cohort), assign_roles(tracks), groups)
    texts = [tracks[0].caption, tracks[0].caption, "another"]
    [row] = measure_power(verdicts, tracks, texts)
    assert (row["planted"], row["found"], row["of"]) == ("weighted", 2, 2)


def test_exact_intervals_of_proportions() -> None:
    low, high = compute_clopper_pearson(12, 12)
    assert low == pytest.approx(0.735, abs=0.001) and high == 1.0
    low, high = compute_clopper_pearson(0, 8)
    assert low == 0.0 and high == pytest.approx(0.369, abs=0.001)


def test_a_run_is_calibrated_from_its_caches(finished, tmp_path: Path) -> None:
    out = tmp_path / "calibration.json"
    found = evaluate_calibration(RunConfig.load(finished.config), out)
    assert json.loads(out.read_text()) == found
    [row] = found["rows"]
    assert row["method"] == "unlearning" and row["split"] == "works" and -1 <= row["reliability"] <= 1


def test_without_decoys_there_is_nothing_to_check(finished, tmp_path: Path) -> None:
    manifest = tiny.write_corpus(tmp_path / "corpus", trained=3, decoys=0)
    config = RunConfig.load(finished.config)
    alone = replace(config, corpus=replace(config.corpus, manifest=str(manifest), latents=""))
    with pytest.raises(UserError, match="the corpus has no decoys"):
        evaluate_calibration(alone, tmp_path / "x.json")
