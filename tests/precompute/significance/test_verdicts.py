"""Verdicts of whole result matrices: planted tracks stay out of the statistics, ranks are permutations."""

from __future__ import annotations

import numpy as np

from precompute.corpus.tracks import Track
from precompute.significance.verdicts import Verdicts, calibrate_scores, fit_normalisation, mask_tracks
from support.corpora import make_tracks


def judge(cells: np.ndarray, cohort: np.ndarray, tracks: list[Track]) -> Verdicts:
    masks = mask_tracks(tracks)
    return calibrate_scores(cells, fit_normalisation(cohort, masks), masks)


def test_planted_tracks_stay_out_of_the_statistics() -> None:
    tracks = make_tracks()
    is_train, is_decoy, trained = mask_tracks(tracks)
    assert (is_train.sum(), is_decoy.sum(), trained.sum()) == (8, 8, 9)
    rng = np.random.default_rng(11)
    cells, cohort = rng.standard_normal((3, 18, 4, 2, 2)), rng.standard_normal((9, 18))
    plain = judge(cells, cohort, tracks)
    cells[:, 16:] += 1000.0
    cohort[:, 16:] *= 3.0
    loud = judge(cells, cohort, tracks)
    regular = slice(0, 16)
    for name in ("score_norm", "q_value", "above_noise"):
        assert (getattr(plain, name)[:, regular] == getattr(loud, name)[:, regular]).all()
    assert (loud.rank[:, 16:] <= 2).all()
    assert (loud.train_rank[:, 16] == 1).all() and (loud.train_rank[:, 17] == 0).all()


def test_calibrated_ranks_are_permutations() -> None:
    tracks = make_tracks()
    rng = np.random.default_rng(12)
    found = judge(rng.standard_normal((3, 18, 4, 2, 2)), rng.standard_normal((9, 18)), tracks)
    trained = mask_tracks(tracks)[2]
    for q in range(3):
        assert sorted(found.rank[q]) == list(range(1, 19))
        assert sorted(found.train_rank[q, trained]) == list(range(1, 10))
        assert (np.diff(found.score_norm[q][np.argsort(found.rank[q])]) <= 0).all()
