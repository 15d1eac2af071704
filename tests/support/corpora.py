"""Made-up corpora for tests of statistics: masks and tracks without sound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from precompute.corpus.tracks import Track


def mask_halves(n_train: int, n_decoy: int, planted: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Masks: training tracks first, then decoys, then planted ones, which are in neither."""
    place = np.arange(n_train + n_decoy + planted)
    return place < n_train, (place >= n_train) & (place < n_train + n_decoy)


def make_track(number: int, split: str = "train", planted: str = "") -> Track:
    """A track that says nothing but its number, split and length of 1 + number seconds."""
    texts = dict.fromkeys(
        "title composer collection rights_holder licence_composition licence_encoding licence_rendering"
        " licence_evidence source instrument caption".split(),
        "x",
    )
    return Track(
        number,
        f"work {number}",
        **texts,
        split=split,
        duration_s=1.0 + number,
        audition="full",
        path=None,
        planted=planted,
    )


def make_tracks(train: int = 8, decoys: int = 8) -> list[Track]:
    """Regular training tracks, regular decoys, and a planted one of each; in two collections, each of two captions."""
    regular = [make_track(i) for i in range(train)] + [make_track(100 + i, "decoy") for i in range(decoys)]
    planted = [make_track(990, planted="rare"), make_track(991, "decoy", planted="rare")]
    return [replace(t, caption=f"a piece {i % 4}", collection=f"book {i % 2}") for i, t in enumerate(regular)] + planted
