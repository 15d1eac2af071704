"""Measures of clips beside decoys, on made-up features."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.evaluate.quality.distances import (
    compute_frechet_distance,
    compute_kernel_distance,
    scale_to_unit_length,
)
from precompute.evaluate.quality.features import (
    Features,
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
