"""Measures of a set of clips beside a set of decoys, from features: distances, adherence, rhythm, pitch, copying.

Clip q and decoy q have the same caption and length, so both sets have N items in one order and a bootstrap draws them
together. Every measure is given for the decoys too: real recordings of the same kind that the model never heard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from precompute.evaluate.quality.distances import (
    Estimate,
    bootstrap,
    compute_frechet_distance,
    compute_kernel,
    compute_weighted_kernel_distance,
    estimate_mean,
    find_nearest_distances,
    fit_principal_basis,
    rescale_to,
    scale_to_unit_length,
    standardise,
    take_interval,
)
from precompute.evaluate.quality.features import Features

SPACES = ("clap", "descriptors")
LEAST_TRACKS = 4  # training tracks of an instrument that the classifier learns
NEAR = 0.05  # quantile of the decoys' distances below which a clip is called near


@dataclass(frozen=True)
class Measurement:
    """One measured number."""

    measure: str
    space: str  # clap | descriptors | a band of frequencies | "" where it is of none
    of: str  # the set that was measured; of a comparison: clips
    value: float
    low: float
    high: float

    @classmethod
    def from_estimate(cls, measure: str, space: str, of: str, estimate: Estimate) -> Measurement:
        """A measurement with the value and interval of an estimate."""
        return cls(measure, space, of, estimate.value, estimate.low, estimate.high)


def project_into(space: str, features: Features, reference: Features) -> np.ndarray:
    """[N, S]: CLAP embeddings of length √S, or descriptors in standard deviations of the reference."""
    if space == "clap":
        return scale_to_unit_length(features.clap)
    return standardise(features.descriptors, reference.descriptors)


def measure_distances(space: str, reference: Features, sets: dict[str, Features]) -> list[Measurement]:
    """`frechet` and `kernel` of each set to the reference, all of N items.

    The kernel distance is of rows scaled to one length: a single outlier would decide a cubic kernel otherwise. Where
    clips and decoys are among the sets: `frechet_ratio` (clips / decoys), `kernel_difference` (clips - decoys), and
    `kernel_ratio` where the decoys' kernel distance is above 0 beyond its interval: its expectation is near 0, and a
    ratio to nothing means nothing.
    """
    base = project_into(space, reference, reference)
    rows = {name: project_into(space, features, reference) for name, features in sets.items()}
    basis = fit_principal_basis(base)
    flat = basis.project(base)
    projected = {name: basis.project(values) for name, values in rows.items()}
    directed = {name: scale_to_unit_length(values) for name, values in rows.items()}
    within_base = compute_kernel(scale_to_unit_length(base), scale_to_unit_length(base))
    kernels = {
        name: (compute_kernel(values, values), compute_kernel(scale_to_unit_length(base), values))
        for name, values in directed.items()
    }

    def measure(on_base: np.ndarray, on_set: np.ndarray) -> list[float]:
        frechet = [compute_frechet_distance(flat, values, on_base, on_set) for values in projected.values()]
        return frechet + [
            compute_weighted_kernel_distance(within_base, within, between, on_base, on_set)
            for within, between in kernels.values()
        ]

    count = len(base)
    values = np.array(measure(np.ones(count), np.ones(count)))
    drawn = bootstrap(measure, [count, count])
    drawn[:, : len(sets)] = rescale_to(drawn[:, : len(sets)], values[: len(sets)])  # the Fréchet distances
    keys = [(name, of) for name in ("frechet", "kernel") for of in sets]
    estimates = {key: (float(values[i]), drawn[:, i]) for i, key in enumerate(keys)}
    if {"clips", "decoys"} <= set(sets):
        clips, decoys = estimates["frechet", "clips"], estimates["frechet", "decoys"]
        estimates["frechet_ratio", "clips"] = (_divide(clips[0], decoys[0]), _divide(clips[1], decoys[1]))
        clips, decoys = estimates["kernel", "clips"], estimates["kernel", "decoys"]
        estimates["kernel_difference", "clips"] = (clips[0] - decoys[0], clips[1] - decoys[1])
        if take_interval(decoys[1])[0] > 0:
            estimates["kernel_ratio", "clips"] = (_divide(clips[0], decoys[0]), _divide(clips[1], decoys[1]))
    return [
        Measurement(name, space, of, value, *take_interval(draws)) for (name, of), (value, draws) in estimates.items()
    ]


def _divide(one: Any, other: Any) -> Any:
    """Ratio of two distances, or of draws of them; a draw of a kernel distance can be 0 or below."""
    return one / np.maximum(other, 1e-12)


def measure_nearness(space: str, trained: Features, decoys: Features, clips: Features) -> list[Measurement]:
    """Nearness of the sets to single training tracks [M]: a model that copies has clips nearer than any decoy.

    `nearest`: median distance to the nearest training track. `near_share`: share of clips that are nearer than the
    decoys' 5th percentile; 0.05 = as unheard recordings.
    """
    base = project_into(space, trained, trained)
    distances = {
        name: find_nearest_distances(project_into(space, features, trained), base)
        for name, features in (("decoys", decoys), ("clips", clips))
    }
    rows = []
    for name, values in distances.items():

        def median(weights: np.ndarray, values: np.ndarray = values) -> list[float]:
            return [float(np.median(np.repeat(values, weights.astype(int))))]

        rows.append(
            Measurement(
                "nearest", space, name, float(np.median(values)), *take_interval(bootstrap(median, [len(values)])[:, 0])
            )
        )
    near = distances["clips"] < np.quantile(distances["decoys"], NEAR)
    return [*rows, Measurement.from_estimate("near_share", space, "clips", estimate_mean(near))]


def measure_adherence(
    trained: Features, trained_labels: Sequence[str], decoys: Features, clips: Features, labels: Sequence[str]
) -> list[Measurement]:
    """Share of clips q in which an instrument classifier hears the instrument of the caption, labels [N].

    Logistic regression (L2, C = 1) on standardise descriptors, fitted on training tracks [M]; instruments with fewer
    than 4 training tracks are left out. `accuracy`, `times_chance` of decoys and clips; `chance` is the larger of 1 / K
    and the share of the commonest label. Empty where fewer than 2 instruments are left.
    """
    counts = Counter(trained_labels)
    known = {label for label, number in counts.items() if number >= LEAST_TRACKS}
    fitted = [row for row, label in enumerate(trained_labels) if label in known]
    asked = [row for row, label in enumerate(labels) if label in known]
    if len(known) < 2 or not asked:
        return []
    base = trained.descriptors[fitted]
    classifier = LogisticRegression(max_iter=2000)
    classifier.fit(standardise(base, base), [trained_labels[row] for row in fitted])
    wanted = np.array([labels[row] for row in asked])
    chance = max(1 / len(known), Counter(wanted.tolist()).most_common(1)[0][1] / len(asked))
    rows = [Measurement("chance", "", "instruments", chance, chance, chance)]
    for name, features in (("decoys", decoys), ("clips", clips)):
        heard = classifier.predict(standardise(features.descriptors[asked], base))
        share = estimate_mean(heard == wanted)
        rows.append(Measurement.from_estimate("accuracy", "", name, share))
        rows.append(
            Measurement("times_chance", "", name, share.value / chance, share.low / chance, share.high / chance)
        )
    return rows


def describe_collections(
    trained: Features, trained_in: Sequence[str], decoys: Features, clips: Features, collections: Sequence[str]
) -> list[dict[str, Any]]:
    """Onsets per second and mean pitch-class histogram (from C) of each collection that has training tracks and decoys.

    `trained_in` [M], `collections` [N]: of each training track, and of each decoy and its clip. `pitch_distance`: total
    variation to the tracks' histogram, 0 (equal) to 1.
    """
    table: list[dict[str, Any]] = []
    for collection in sorted(set(trained_in) & set(collections)):
        sets = {
            "tracks": trained[[row for row, name in enumerate(trained_in) if name == collection]],
            "decoys": decoys[[row for row, name in enumerate(collections) if name == collection]],
            "clips": clips[[row for row, name in enumerate(collections) if name == collection]],
        }
        pitches = {name: features.pitch_classes.mean(0) for name, features in sets.items()}
        table.append(
            {
                "collection": collection,
                "count": {name: len(features.onset_rate) for name, features in sets.items()},
                "onset_rate": {name: float(features.onset_rate.mean()) for name, features in sets.items()},
                "pitch_classes": {name: histogram.tolist() for name, histogram in pitches.items()},
                "pitch_distance": {
                    name: float(np.abs(pitches[name] - pitches["tracks"]).sum() / 2) for name in ("decoys", "clips")
                },
            }
        )
    return table


def average_over_collections(table: list[dict[str, Any]]) -> list[Measurement]:
    """Means over collections, each counting once; empty where there is none.

    `onset_rate`; `onset_deviation`, its absolute difference from the tracks'; `pitch_distance`.
    """
    if not table:
        return []
    rates = {name: np.array([line["onset_rate"][name] for line in table]) for name in ("tracks", "decoys", "clips")}
    rows = [Measurement.from_estimate("onset_rate", "", name, estimate_mean(values)) for name, values in rates.items()]
    for name in ("decoys", "clips"):
        deviation = estimate_mean(np.abs(rates[name] - rates["tracks"]))
        rows.append(Measurement.from_estimate("onset_deviation", "", name, deviation))
        pitch = estimate_mean(np.array([line["pitch_distance"][name] for line in table]))
        rows.append(Measurement.from_estimate("pitch_distance", "", name, pitch))
    return rows
