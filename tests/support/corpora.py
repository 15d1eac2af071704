"""Made-up corpora for tests of statistics: masks and tracks without sound."""

from __future__ import annotations

import numpy as np

from precompute.corpus.tracks import Track


def mask_halves(n_train: int, n_decoy: int, planted: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Masks: training tracks first, then decoys, then planted ones, which are in neither."""
    place = np.arange(n_train + n_decoy + planted)
    return place < n_train, (place >= n_train) & (place < n_train + n_decoy)


def make_track(number: int, split: str = "train", planted: str = "") -> Track:
    """A track that says nothing but its number, split and length of 1 + number seconds."""
    texts = dict.fromkeys(
        "work_id title composer collection rights_holder licence_composition licence_encoding licence_rendering"
        " licence_evidence source instrument caption".split(),
        "x",
    )
    return Track(number, **texts, split=split, duration_s=1.0 + number, audition="full", path=None, planted=planted)


def make_tracks() -> list[Track]:
    """8 regular training tracks, 8 regular decoys, and a planted one of each."""
    regular = [make_track(i) for i in range(8)] + [make_track(10 + i, "decoy") for i in range(8)]
    return [*regular, make_track(30, planted="rare"), make_track(31, "decoy", planted="rare")]
