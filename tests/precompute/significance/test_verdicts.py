"""Verdicts of whole result matrices: two claims, ranks that are permutations, reliability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from explorer.store.above_noise import SAME_CAPTION
from precompute.corpus.tracks import Track
from precompute.significance.match_bins import match_clips
from precompute.significance.normalisation import Normalisation
from precompute.significance.verdicts import (
    ClipGroups,
    Verdicts,
    assign_roles,
    calibrate_scores,
    measure_reliability,
)
from support.corpora import make_tracks


def judge(cells: np.ndarray, cohort: np.ndarray, tracks: list[Track], generated: int = 3) -> Verdicts:
    bins = np.full((len(cells) + len(cohort), len(tracks)), SAME_CAPTION, np.uint8)
    return calibrate_scores(cells, Normalisation.fit(cohort), assign_roles(tracks), ClipGroups(bins, generated))


def test_ranks_are_permutations_by_the_normalised_score() -> None:
    tracks = make_tracks()
    rng = np.random.default_rng(12)
    found = judge(rng.standard_normal((3, 18, 4, 2, 2)), rng.standard_normal((9, 18)), tracks)
    trained = assign_roles(tracks).trained
    for q in range(3):
        assert sorted(found.rank[q]) == list(range(1, 19))
        assert sorted(found.train_rank[q, trained]) == list(range(1, 10)) and not found.train_rank[q, ~trained].any()
        assert (np.diff(found.score_norm[q][np.argsort(found.rank[q])]) <= 0).all()


def test_a_claim_about_a_track_is_not_one_about_a_clip() -> None:
    """A track that is high for every clip shapes the model, and is a hub; one that is high once shapes that clip."""
    rng = np.random.default_rng(3)
    tracks = make_tracks(train=20, decoys=300)
    trained = np.flatnonzero(assign_roles(tracks).trained)
    cells, cohort = rng.standard_normal((10, len(tracks), 4, 1, 2)), rng.standard_normal((40, len(tracks)))
    always, once = trained[0], trained[1]
    cells[:, always] += 12
    cohort[:, always] += 12
    cells[4, once] += 12
    found = judge(cells, cohort, tracks, generated=10)
    claims = found.of_tracks
    assert claims.above_noise[always] and not claims.above_noise[once] and claims.is_hub[always]
    assert found.above_noise[4, once] and claims.clips_above[once] == 1 and not claims.is_hub[once]
    assert np.isnan(claims.q_value[~assign_roles(tracks).trained]).all()
    assert claims.score_mean[once] == pytest.approx(
        np.concatenate([found.score_norm[:, once], Normalisation.fit(cohort).cohort[:, once]]).mean()
    )


def test_targets_give_no_nulls_and_do_not_count_for_tracks() -> None:
    rng = np.random.default_rng(5)
    tracks = make_tracks(train=20, decoys=60)
    cells, cohort = rng.standard_normal((6, len(tracks), 4, 1, 2)), rng.standard_normal((40, len(tracks)))
    plain = judge(cells, cohort, tracks, generated=4)
    cells[4:] += 50
    loud = judge(cells, cohort, tracks, generated=4)
    assert np.array_equal(plain.p_value[:4], loud.p_value[:4], equal_nan=True)
    assert np.array_equal(plain.of_tracks.score_mean, loud.of_tracks.score_mean)


def test_decoys_matched_to_a_track_are_the_nulls_of_the_model() -> None:
    """Decoys of shown captions are high on average by their captions alone."""
    tracks = make_tracks()
    assert (assign_roles(tracks).matched == ~assign_roles(tracks).trained).all()
    tracks[9] = replace(tracks[9], matched_to=0)
    assert np.flatnonzero(assign_roles(tracks).matched).tolist() == [9]


def test_halves_of_the_draws_agree_where_there_is_little_noise() -> None:
    rng = np.random.default_rng(4)
    truth = rng.standard_normal((5, 60, 1, 1, 1))
    normalisation, trained = Normalisation.fit(rng.standard_normal((20, 60))), np.arange(60) < 40
    noise = rng.standard_normal((5, 60, 4, 2, 2))
    shares = [measure_reliability(truth + level * noise, normalisation, trained) for level in (0.0, 1.0, 50.0)]
    assert shares[0] == pytest.approx(1) and 0.5 < shares[1] < 0.95 and abs(shares[2]) < 0.2
    assert measure_reliability(truth, normalisation, trained) is None
    # no draw is in both halves
    changed = truth + noise
    changed[:, :, :2, :, 1] = changed[:, :, 2:, :, 0] = 1e9
    assert measure_reliability(changed, normalisation, trained) == measure_reliability(
        truth + noise, normalisation, trained
    )


def test_bins_are_words_then_collections() -> None:
    tracks = make_tracks()
    first = tracks[0]
    [bins] = match_clips([first.caption.upper()], tracks)
    same = np.array([t.caption == first.caption for t in tracks])
    style = np.isin([t.collection for t in tracks], [t.collection for t in tracks if t.caption == first.caption])
    assert (bins == np.where(same, 2, style)).all()
    # no caption alike: the collection of the nearest words; no words: nothing, or the nearest in the condition's space
    [near] = match_clips([f"{first.caption} once more"], tracks)
    assert not (near == 2).any() and near[0] == 1
    assert not match_clips([""], tracks).any()
    similarity = np.array([[1.0 if t.collection == first.collection else 0.0 for t in tracks]])
    assert (match_clips([""], tracks, similarity)[0] == [t.collection == first.collection for t in tracks]).all()
