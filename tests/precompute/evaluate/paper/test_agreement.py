"""Agreement of methods on the tiny model, and its measures by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from precompute.cli.main import main
from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track
from precompute.evaluate.paper import agreement
from precompute.methods.catalogue import CATALOGUE
from support.corpora import make_track

REPOSITORY = Path(__file__).resolve().parents[4]


def test_agreement_table_and_picture(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "agreement", "--config", str(small), "--out", str(tmp_path / "agreement.json")]
    assert main([*command, "--clips", "4", "--picture", str(tmp_path / "agreement.png")]) == 0
    kept = json.loads((tmp_path / "agreement.json").read_text())
    pairs = [row for row in kept["rows"] if "other" in row]
    single = [row for row in kept["rows"] if "gini" in row]
    assert len(pairs) == 3 * 2 and len(single) == 3 * 2 and kept["skipped"] == []
    of_pair = {(row["method"], row["other"], row["score"]): row for row in pairs}
    assert of_pair["unlearning", "influence", "raw"]["pearson"] > abs(of_pair["unlearning", "random", "raw"]["pearson"])
    assert all(0 <= row["gini"] <= 1 and 1 <= row["effective_tracks"] <= 16 for row in single)
    assert (tmp_path / "agreement.png").stat().st_size > 1000
    rows = {row["method"]: row for row in kept["table"]}
    assert list(rows) == ["unlearning", "influence", "random"] and 0 < kept["decoys_chance"] < 1
    assert rows["influence"]["pearson_raw"] == of_pair["unlearning", "influence", "raw"]["pearson"]
    assert {"decoys_top10_raw", "decoys_top10_norm", "gini_raw", "cost_s"} <= set(rows["random"])
    said = capsys.readouterr().out
    assert "| method | pearson_raw | paper |" in said and "| method | other | pearson_raw | paper |" in said
    assert main([*command, "--method", "nothing"]) == 1
    assert "--method nothing: unknown; known are unlearning" in capsys.readouterr().err


def test_the_papers_figures_stand_beside_unlearning_alone() -> None:
    rows = [
        {"method": "clap", "other": "unlearning", "score": kind, "pearson": value}
        for kind, value in (("raw", 0.3), ("normalised", 0.1))
    ]
    single = [{"method": name, "score": "raw", "gini": 0.5, "cost_s": 1.0} for name in ("clap", "unlearning")]
    clap, unlearning = agreement.summarise(single, rows)
    assert clap == {"method": "clap", "gini_raw": 0.5, "cost_s": 1.0, "pearson_raw": 0.3, "pearson_norm": 0.1}
    assert unlearning == {"method": "unlearning", "gini_raw": 0.5, "cost_s": 1.0}


def test_the_demos_agreement_runs_every_method_but_the_dearest() -> None:
    config = RunConfig.load(REPOSITORY / "precompute/configs/demo-agreement.toml")
    assert set(CATALOGUE) - set(config.methods.run) == {"mucs"}


def test_concentration_by_hand() -> None:
    even, one = np.ones((1, 4)), np.array([[0.0, 0.0, -3.0, 2.0]])
    assert agreement.compute_gini(even) == pytest.approx(0) and agreement.compute_gini(one) == pytest.approx(0.75)
    assert agreement.count_effective_tracks(even) == pytest.approx(4)
    assert agreement.count_effective_tracks(one) == pytest.approx(1) and agreement.count_effective_tracks(-even) == 0
    half = np.array([[1.0, 1.0, 0.0, 0.0]])
    assert agreement.compute_gini(half) == pytest.approx(0.5) and agreement.count_effective_tracks(
        half
    ) == pytest.approx(2)


def test_what_a_matrix_of_scores_is_made_of() -> None:
    one_ranking = np.outer([1.0, 2.0, 5.0], [3.0, 1.0, -4.0, 0.5]) + 7
    found = agreement.describe_matrix(one_ranking)
    assert found == pytest.approx({"first_singular": 1.0, "effective_rank": 1.0, "track_part": 1.0})
    apart = np.eye(8)[:4] - np.eye(8)[4:]  # rows at right angles
    found = agreement.describe_matrix(apart)
    assert found == pytest.approx({"first_singular": 0.25, "effective_rank": 4.0, "track_part": 0.25})
    assert agreement.describe_matrix(np.ones((3, 5))) == dict.fromkeys(found, 0.0)


def test_planted_truths_are_asked_on_clips_of_their_own_prompt_alone() -> None:
    def track(number: int, planted: str = "", matched_to: int | None = None) -> Track:
        return replace(make_track(number, planted=planted), caption=f"c{number}", matched_to=matched_to)

    tracks = [track(0), track(1, "weighted"), track(2, "twin", matched_to=1)]
    tracks[2] = replace(tracks[2], caption="c1")
    tracks += [track(number) for number in range(3, 15)]
    scores = np.zeros((3, 15))
    scores[0, [1, 2]] = 2, 1  # of the weighted track's prompt: above its twin and first
    scores[1, [1, 2]] = 1, 2  # of another prompt: does not count
    scores[2], scores[2, [1, 2]] = 5, (1, 2)  # of its prompt: below twelve others
    found = agreement.measure_method(scores, tracks, ["c1", "c0", "c1"])
    assert found["weighted_above_twin"] == 0.5 and found["weighted_top10"] == 0.5
    assert "weighted_above_twin" not in agreement.measure_method(scores, tracks, ["c0"] * 3)
