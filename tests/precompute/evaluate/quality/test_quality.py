"""Measures of clips beside decoys on made-up features, then `quality`, `sweep` and `look` whole on the tiny model."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from precompute.config.run import RunConfig
from precompute.errors import UserError
from precompute.evaluate.quality.comparison import GUIDANCES, evaluate_quality, evaluate_sampler
from precompute.evaluate.quality.distances import (
    compute_frechet_distance,
    compute_kernel_distance,
    scale_to_unit_length,
)
from precompute.evaluate.quality.features import (
    Features,
    extract_from_audio,
    extract_from_latents,
    load_compared_sets,
    spread_over_collections,
)
from precompute.evaluate.quality.measures import (
    Measurement,
    average_over_collections,
    describe_collections,
    measure_adherence,
    measure_distances,
    measure_nearness,
    project_into,
)
from precompute.evaluate.quality.spectrograms import describe_levels, draw_spectrograms
from support import tiny


def made_up(count: int, seed: int, mean: float = 0.0) -> Features:
    rng = np.random.default_rng(seed)
    clap = mean + rng.standard_normal((count, 12))
    return Features(
        clap=clap / np.linalg.norm(clap, axis=1, keepdims=True),
        descriptors=10 + mean + rng.standard_normal((count, 30)),
        onset_rate=rng.uniform(1, 5, count),
        pitch_classes=rng.dirichlet(np.ones(12), count),
    )


def only(rows: list[Measurement], measure: str, of: str) -> Measurement:
    [found] = [row for row in rows if (row.measure, row.of) == (measure, of)]
    return found


@pytest.mark.parametrize("space", ["clap", "descriptors"])
def test_clips_that_are_the_decoys_themselves_are_as_far(space: str) -> None:
    reference, decoys = made_up(40, 0), made_up(40, 1, mean=0.3)
    rows = measure_distances(space, reference, {"clips": decoys, "decoys": decoys})
    ratio, difference = only(rows, "frechet_ratio", "clips"), only(rows, "kernel_difference", "clips")
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((1, 1, 1), rel=1e-12)
    assert (difference.value, difference.low, difference.high) == pytest.approx((0, 0, 0), abs=1e-12)


@pytest.mark.parametrize("space", ["clap", "descriptors"])
def test_distances_are_those_of_the_sets(space: str) -> None:
    reference, decoys, clips = made_up(40, 0), made_up(40, 1), made_up(40, 2, mean=1.5)
    rows = measure_distances(space, reference, {"clips": clips, "decoys": decoys})
    base, moved = project_into(space, reference, reference), project_into(space, clips, reference)
    wanted = compute_kernel_distance(scale_to_unit_length(base), scale_to_unit_length(moved))
    assert only(rows, "kernel", "clips").value == pytest.approx(wanted, rel=1e-10)
    if space == "clap":  # 12 dimensions: the principal directions are a rotation of all of them
        assert only(rows, "frechet", "clips").value == pytest.approx(compute_frechet_distance(base, moved), rel=1e-8)
    assert only(rows, "frechet_ratio", "clips").low > 1.5 and only(rows, "kernel_difference", "clips").low > 0
    assert all(row.low <= row.value <= row.high for row in rows if row.measure in ("frechet", "kernel"))
    assert not any(row.measure == "kernel_ratio" for row in rows)  # the decoys' own is nothing but noise


def test_clips_that_copy_are_found() -> None:
    trained, decoys = made_up(60, 0), made_up(40, 1)
    for space in ("clap", "descriptors"):
        rows = measure_nearness(space, trained, decoys, trained[range(40)])
        assert only(rows, "nearest", "clips").value == pytest.approx(0, abs=1e-7)
        assert only(rows, "near_share", "clips").value == 1 and only(rows, "nearest", "decoys").low > 0.1
        assert only(measure_nearness(space, trained, decoys, decoys), "near_share", "clips").value == pytest.approx(
            0.05
        )


def test_adherence_hears_what_the_labels_are() -> None:
    def set_of(labels: list[str], seed: int) -> Features:
        features = made_up(len(labels), seed)
        features.descriptors[:, :12] += 8 * np.array([[name == label for name in "abc" * 4] for label in labels])
        return features

    trained, asked = [*"aaaaaabbbbbbcccccc", *["rare"] * 3], [*"abcabcabcaaa", "rare"]
    rows = measure_adherence(set_of(trained, 0), trained, set_of(asked, 1), made_up(13, 2), asked)
    chance = only(rows, "chance", "instruments").value
    assert chance == 6 / 12  # the rare one is asked of neither
    assert only(rows, "accuracy", "decoys").value == 1 and only(rows, "times_chance", "decoys").value == 2
    assert only(rows, "accuracy", "clips").value < 0.8
    assert measure_adherence(set_of(trained, 0), ["one"] * 21, set_of(asked, 1), made_up(13, 2), ["one"] * 13) == []


def test_collections_each_count_once() -> None:
    trained, decoys, clips = made_up(6, 0), made_up(5, 1), made_up(5, 2)
    trained.onset_rate[:] = [1, 1, 1, 1, 3, 3]
    decoys.onset_rate[:] = [2, 2, 2, 3, 9]
    table = describe_collections(trained, list("aaaabb"), decoys, trained[range(5)], list("aaabc"))
    assert [(line["collection"], line["count"]["decoys"]) for line in table] == [("a", 3), ("b", 1)]
    rows = average_over_collections(table)
    assert only(rows, "onset_rate", "tracks").value == 2 and only(rows, "onset_deviation", "decoys").value == 0.5
    same = describe_collections(clips, list("aaaaa"), decoys, clips, list("aaaaa"))
    assert same[0]["pitch_distance"]["clips"] == 0 < same[0]["pitch_distance"]["decoys"] <= 1
    assert average_over_collections([]) == []


# -- whole, on the tiny model ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The tiny run, with two instruments: its collections."""
    config = RunConfig.load(tiny.write_run(tiny_root, tmp_path_factory.mktemp("quality")))
    manifest = tiny_root / "corpus" / "instruments.csv"
    with (tiny_root / "corpus" / "manifest.csv").open(newline="") as handle:
        rows = [{**row, "instrument": row["collection"]} for row in csv.DictReader(handle)]
    with manifest.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return replace(config, corpus=replace(config.corpus, manifest=str(manifest)))


def test_sets_are_spread_and_apart(run: RunConfig, tracks) -> None:
    material = load_compared_sets(run, 100)
    assert len(material.trained) == 16 and len(material.decoys) == len(material.reference) == len(material.others) == 8
    assert not set(material.reference) & set(material.others)
    assert {track.collection for track in material.decoys} == {"high", "low"}
    assert all(track.is_decoy for track in material.decoys) and not any(t.is_decoy for t in material.trained)
    prompts = material.make_prompts()
    assert [p.text for p in prompts] == [t.caption for t in material.decoys] and len({p.seed for p in prompts}) == 8
    assert sorted(spread_over_collections(tracks, len(tracks))) == list(range(len(tracks)))


def test_features_are_of_the_recording_s_own_length(run: RunConfig) -> None:
    """Decoded or as recorded: shapes, and a second look at the cache is the same to the bit."""
    material = load_compared_sets(run, 8)
    one, again = (extract_from_latents(material.model, material.decoy_items, material.cache, "decoys") for _ in "12")
    assert one.clap.shape[0] == len(one.onset_rate) == 8 and one.pitch_classes.shape == (8, 12)
    assert all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(again).values(), strict=True))
    recorded = extract_from_audio(material.model, material.trained[:3], material.cache, "tracks")
    assert np.allclose(np.linalg.norm(recorded.clap, axis=1), 1, atol=1e-5) and recorded.onset_rate.min() > 1


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


def test_the_page_of_spectrograms(run: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_spectrograms(run, tmp_path / "page.png")
    said = capsys.readouterr().out.splitlines()
    levelled = [line for line in said if "dBFS, peak" in line]
    assert len(levelled) == 6 * 2 + 3 + 3 * 2 and all("clipped" in x or "silent" in x or "ok" in x for x in levelled)
    assert (tmp_path / "page.png").stat().st_size < 450_000
    assert Image.open(tmp_path / "page.png").width > 800


def test_levels_are_named() -> None:
    assert describe_levels(np.zeros((1, 100), dtype=np.float32)).endswith("silent")
    assert describe_levels(np.ones((1, 100), dtype=np.float32)) == "   0.0 dBFS, peak 1.00, clipped"
    assert describe_levels(np.full((1, 100), 0.1, dtype=np.float32)) == " -20.0 dBFS, peak 0.10, ok"
