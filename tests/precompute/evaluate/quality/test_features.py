"""Sets of tracks and their features, on the tiny model."""

from __future__ import annotations

import numpy as np

from precompute.config.run import RunConfig
from precompute.evaluate.quality.features import (
    extract_from_audio,
    extract_from_latents,
    load_compared_sets,
    spread_over_collections,
)


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
