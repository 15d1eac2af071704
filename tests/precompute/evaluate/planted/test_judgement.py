"""The whole judgement by planted truths, on the tiny model."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from precompute.config.methods import ClewsSettings
from precompute.config.run import BankSection, RunConfig
from precompute.corpus.tracks import read_manifest
from precompute.errors import UserError
from precompute.evaluate.planted import scorer
from precompute.evaluate.planted.judgement import PlantedSettings, evaluate_planted, truths
from precompute.gradients import track_pass
from precompute.train.exemplars import ExemplarSettings, make_exemplars
from support import tiny

METHODS = ("unlearning", "unlearning-gram", "influence", "trak", "dtrak", "das", "ensemble", "random")
FEW = PlantedSettings(seeds=2, exemplar_clips=1)
PLANTED = {  # track_id -> planted, matched_to; captions are alike within a pair and among the rare
    1: ("weighted", ""),
    5: ("twin", "1"),
    2: ("weighted", ""),
    4: ("twin", "2"),
    3: ("rare", ""),
    9: ("rare", ""),
    15: ("rare", ""),
}


def planted_manifest(root: Path, name: str, cases: dict[int, tuple[str, str]]) -> Path:
    """The fixture's manifest with planted cases, beside the original."""
    with (root / "corpus" / "manifest.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        if int(row["track_id"]) in cases:
            row["planted"], row["matched_to"] = cases[int(row["track_id"])]
    path = root / "corpus" / name
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, tiny.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def unheard_manifest(root: Path, name: str = "unheard.csv", **changed: str) -> Path:
    """Two pieces in the caption of the rare ones, outside the corpus; `changed`: columns of the second."""
    with (root / "corpus" / "planted.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    caption = next(row["caption"] for row in rows if row["planted"] == "rare")
    made = [row | {"caption": caption, "planted": "rare"} for row in rows if row["split"] == "decoy"][:2]
    for number, row in enumerate(made):
        row |= {"track_id": str(101 + number), "work_id": f"apart-{number}", "matched_to": ""}
    made[1] |= changed
    path = root / "corpus" / name
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, tiny.COLUMNS)
        writer.writeheader()
        writer.writerows(made)
    return path


@pytest.fixture(scope="module")
def small(tiny_root: Path) -> RunConfig:
    """A run with planted tracks and a small bank."""
    manifest = planted_manifest(tiny_root, "planted.csv", PLANTED)
    config = RunConfig.load(tiny.write_run(tiny_root, tiny_root / "planted", manifest=f'"{manifest}"'))
    return replace(config, bank=BankSection(replicates=2, strata=2))


@pytest.fixture(scope="module")
def judged(small: RunConfig, tiny_root: Path) -> dict:
    """The result that a whole judgement writes, with two exemplars and two seeds."""
    file = tiny_root / "planted" / "exemplars.safetensors"
    make_exemplars(small, file, [17, 18], ExemplarSettings(rank=2, steps=2, draws=2, check_every=2, clips=1))
    out = tiny_root / "planted" / "planted.json"
    told = evaluate_planted(small, out, METHODS, file, FEW, unheard_manifest(tiny_root))
    assert json.loads(out.read_text()) == told
    return told


def test_pairs_and_the_rare_style_are_found(small: RunConfig) -> None:
    tracks = read_manifest(Path(small.corpus.manifest))
    pairs = truths.find_pairs(tracks)
    assert [(tracks[p.weighted].track_id, tracks[p.twin].track_id) for p in pairs] == [(1, 5), (2, 4)]
    rare = truths.find_rare(tracks)
    assert np.flatnonzero(rare).tolist() == [2, 8, 14]
    assert truths.find_rare_caption(tracks, rare) == ("a low plucked chord, slow", 1.5)


def test_every_question_is_answered_by_every_method(judged: dict) -> None:
    assert {"what", "command", "hardware", "commit", "repeats", "rows", "settings", "cases"} <= judged.keys()
    answered = {(r["truth"], r["method"], r["score"]) for r in judged["rows"]}
    wanted = {
        (truth, method, score)
        for truth in ("weighted", "rare", "exemplars")
        for method, score in [(m, s) for m in (*METHODS, "clap") for s in ("raw", "normalised")] + [("random", "")]
    }
    assert answered == wanted | {("weighted", "loss", ""), ("rare", "loss", "")}
    controls = {(r["truth"], r["name"]) for r in judged["rows"] if r["method"] == "unlearning"}
    assert {("rare", "auc_over_unheard"), ("rare", "p_value"), ("exemplars", "places_gained")} <= controls
    assert (judged["settings"]["unheard"], judged["settings"]["rivals"]) == (2, 32)
    assert all(np.isfinite(r["value"]) for r in judged["rows"])
    assert "preconditioner" in judged["what"] and judged["skipped"] == []
    assert set(judged["settings"]["methods"]) == {*METHODS, "clap"}


def test_the_cases_stand_beside_the_figures(judged: dict) -> None:
    assert [(c["track_id"], c["twin_id"]) for c in judged["cases"]["weighted"]] == [(1, 5), (2, 4)]
    assert all(c["loss"] > 0 and c["loss_twin"] > 0 for c in judged["cases"]["weighted"])
    made = judged["cases"]["exemplars"]
    assert [(c["track_id"], c["steps"], c["rivals"]) for c in made] == [(17, 2, 14), (18, 2, 14)]
    for name, among in (("ranks", 17), ("ranks_untuned", 17), ("places", 15), ("places_untuned", 15)):
        found = [place for c in made for kinds in c[name].values() for ranks in kinds.values() for place in ranks]
        assert len(found) == 2 * 9 * 2 and all(
            1 <= place <= among for place in found
        )  # 16 tracks, or 14 other decoys, and itself


def test_a_second_judgement_reads_what_is_kept(
    small: RunConfig, judged: dict, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tiny_root / "planted" / "exemplars.safetensors"
    monkeypatch.setattr("precompute.gradients.steps.differentiate", None)  # nothing may be computed anew
    again = evaluate_planted(small, tmp_path / "again.json", METHODS, file, FEW, unheard_manifest(tiny_root))
    assert again["rows"] == judged["rows"]


def test_methods_share_one_pass_and_agree_with_one_alone(
    small: RunConfig, judged: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = replace(small, output=replace(small.output, work=str(tmp_path / "work")))
    passes = []
    gather = track_pass.gather
    monkeypatch.setattr("precompute.methods.run.gather", lambda *given: passes.append(len(given[3])) or gather(*given))
    seen, compute = [], track_pass.compute_track_gradients
    watched = lambda *given: seen.append(1) or compute(*given)  # noqa: E731
    monkeypatch.setattr("precompute.gradients.track_pass.compute_track_gradients", watched)
    told = evaluate_planted(fresh, tmp_path / "x.json", ["unlearning", "unlearning-gram", "trak"], None, FEW)
    assert passes == [4] and len(seen) == 32, "every track's gradients are taken once"
    mine = {(r["truth"], r["method"], r["score"], r["name"]): r["value"] for r in told["rows"]}
    assert not {name for _, _, _, name in mine} & {"auc_over_unheard", "mean_unheard"}, "none were given"
    theirs = {(r["truth"], r["method"], r["score"], r["name"]): r["value"] for r in judged["rows"]}
    assert mine == {key: pytest.approx(theirs[key]) for key in mine}


def test_methods_that_listen_alone_take_no_gradient(
    small: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("precompute.gradients.fisher.differentiate", None)
    monkeypatch.setattr("precompute.gradients.track_pass.compute_track_gradients", None)
    fresh = replace(small, output=replace(small.output, work=str(tmp_path / "work")))
    told = evaluate_planted(fresh, tmp_path / "x.json", ["random"], None, FEW)
    assert {row["method"] for row in told["rows"]} == {"random", "clap", "loss"}


def test_decoys_are_thinned_and_the_bank_is_smaller(
    small: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    four = replace(small, bank=BankSection(replicates=4, strata=2))
    settings = PlantedSettings(seeds=1, decoys=4, replicates=2)
    told = evaluate_planted(four, tmp_path / "x.json", ["unlearning"], None, settings)
    assert (told["settings"]["decoys"], told["settings"]["bank"]["replicates"]) == (4, 2)
    said = capsys.readouterr().out
    assert "5 clips against" not in said and "3 clips against 20 tracks and decoys" in said
    assert said.index("this takes about") < said.index("scores, shards")


def test_a_method_that_cannot_is_left_out_with_its_reason(
    small: RunConfig, judged: dict, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tiny_root / "planted" / "exemplars.safetensors"
    own = {**small.methods.settings, "clews": ClewsSettings(checkpoint=str(tmp_path / "none.safetensors"))}
    small = replace(small, methods=replace(small.methods, settings=own))
    told = evaluate_planted(small, tmp_path / "x.json", ["tracin", "clews"], file, FEW)
    reasons = {(row["method"], row["truth"]): row["reason"] for row in told["skipped"]}
    assert set(reasons) == {("tracin", "exemplars"), ("clews", "corpus"), ("clews", "exemplars")}
    assert "checkpoints of a training" in reasons["tracin", "exemplars"]
    assert "checkpoint is not there" in reasons["clews", "corpus"]
    judged_by = {(row["truth"], row["method"]) for row in told["rows"]}
    assert ("weighted", "tracin") in judged_by and ("exemplars", "tracin") not in judged_by
    assert "exemplars: tracin is not judged: it looks at" in capsys.readouterr().out


def test_exemplars_by_some_methods_alone(small: RunConfig, judged: dict, tiny_root: Path, tmp_path: Path) -> None:
    file = tiny_root / "planted" / "exemplars.safetensors"
    few = replace(FEW, exemplar_methods=("random",))
    told = evaluate_planted(small, tmp_path / "x.json", ["unlearning", "random"], file, few)
    judged_by = {(row["truth"], row["method"]) for row in told["rows"]}
    assert ("weighted", "unlearning") in judged_by and ("exemplars", "random") in judged_by
    assert ("exemplars", "unlearning") not in judged_by
    reasons = {(row["method"], row["truth"]): row["reason"] for row in told["skipped"]}
    assert "--exemplar-method" in reasons["unlearning", "exemplars"]
    with pytest.raises(UserError, match="--exemplar-method guess: unknown"):
        replace(FEW, exemplar_methods=("guess",))


def test_unheard_tracks_that_are_none_are_told(small: RunConfig, judged: dict, tiny_root: Path) -> None:
    tracks = read_manifest(Path(small.corpus.manifest))
    mistakes = {
        "track_id 4 is a track of the corpus": {"track_id": "4"},
        "planted must be rare": {"planted": ""},
        "split must be decoy": {"split": "train"},
        "no rare track of the corpus has its caption": {"caption": "a tune"},
    }
    for told, changed in mistakes.items():
        with pytest.raises(UserError, match=told):
            truths.read_unheard(unheard_manifest(tiny_root, "wrong.csv", **changed), tracks)
    with pytest.raises(UserError, match=r"none\.csv: not found; --unheard"):
        truths.read_unheard(tiny_root / "none.csv", tracks)


def test_mistakes_are_told(small: RunConfig, config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--method guess: unknown; known are unlearning"):
        evaluate_planted(small, tmp_path / "x.json", ["guess"])
    with pytest.raises(UserError, match="no exemplars here"):
        evaluate_planted(small, tmp_path / "x.json", exemplars=tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="no weighted and no rare"):
        evaluate_planted(config, tmp_path / "x.json")
    with pytest.raises(UserError, match="at least 1"):
        PlantedSettings(seeds=0)
    with pytest.raises(UserError, match="at least 2"):
        PlantedSettings(replicates=1)
    with pytest.raises(UserError, match="no such track"):
        scorer._find_decoy(small, 999)
